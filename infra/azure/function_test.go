package azure

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strconv"
	"strings"
)

// functions are the template's, as the page "ARM template functions" has them. None that reads a secret (listKeys and its like)
// is among them, so a template that calls one is refused.
var functions map[string]func(s *scope, args []expression) any

func init() { // and not where it is declared: parameters and variables are expanded by functions again
	functions = map[string]func(s *scope, args []expression) any{
		"parameters": func(s *scope, args []expression) any { return s.parameter(one(s, args)) },
		"variables":  func(s *scope, args []expression) any { return s.variable(one(s, args)) },
		"reference": func(s *scope, args []expression) any {
			return s.reference(one(s, args))
		},
		"resourceId": func(s *scope, args []expression) any { return s.resourceID(texts(s, args)) },
		"extensionResourceId": func(s *scope, args []expression) any {
			all := texts(s, args)
			return all[0] + "/providers/" + strings.Join(all[1:], "/")
		},
		"subscriptionResourceId": func(s *scope, args []expression) any {
			return "/subscriptions/sub/providers/" + strings.Join(texts(s, args), "/")
		},
		"resourceGroup": func(*scope, []expression) any {
			return map[string]any{"id": "/subscriptions/sub/resourceGroups/group", "location": "region"}
		},
		"subscription": func(*scope, []expression) any { return map[string]any{"tenantId": "home"} },
		"environment": func(*scope, []expression) any {
			return map[string]any{"suffixes": map[string]any{"storage": "core.windows.net"}}
		},
		"uniqueString": func(s *scope, args []expression) any { return digest(texts(s, args))[:13] },
		"guid":         func(s *scope, args []expression) any { return digest(texts(s, args)) },
		"concat":       func(s *scope, args []expression) any { return strings.Join(texts(s, args), "") },
		"format": func(s *scope, args []expression) any {
			all := texts(s, args)
			var pairs []string
			for i, v := range all[1:] {
				hole := "{" + strconv.Itoa(i) + "}"
				if !strings.Contains(all[0], hole) {
					refuse("format %q has no %s", all[0], hole)
				}
				pairs = append(pairs, hole, v)
			}
			if hole := "{" + strconv.Itoa(len(all)-1) + "}"; strings.Contains(all[0], hole) {
				refuse("format %q has nothing for %s", all[0], hole)
			}
			return strings.NewReplacer(pairs...).Replace(all[0])
		},
		"take": func(s *scope, args []expression) any { return asText(args[0](s))[:asInt(args[1](s))] },
		"if": func(s *scope, args []expression) any {
			if asBool(args[0](s)) {
				return args[1](s)
			}
			return args[2](s)
		},
		"not":   func(s *scope, args []expression) any { return !asBool(args[0](s)) },
		"empty": func(s *scope, args []expression) any { return len(asList(args[0](s))) == 0 },
		"length": func(s *scope, args []expression) any {
			return float64(len(asList(args[0](s))))
		},
		"createArray": func(s *scope, args []expression) any {
			all := []any{}
			for _, a := range args {
				all = append(all, a(s))
			}
			return all
		},
		"createObject": func(s *scope, args []expression) any {
			all := map[string]any{}
			for i := 0; i+1 < len(args); i += 2 {
				all[asText(args[i](s))] = args[i+1](s)
			}
			return all
		},
		"json": func(s *scope, args []expression) any {
			var v any
			if err := json.Unmarshal([]byte(one(s, args)), &v); err != nil {
				refuse("json: %v", err)
			}
			return v
		},
		"string": func(s *scope, args []expression) any {
			text, err := json.Marshal(args[0](s))
			if err != nil {
				refuse("string: %v", err)
			}
			return string(text)
		},
		"copyIndex": func(s *scope, args []expression) any {
			i, ok := s.index[strings.Join(texts(s, args), "")]
			if !ok {
				refuse("copyIndex outside of its loop")
			}
			return float64(i)
		},
		"map": func(s *scope, args []expression) any {
			all := []any{}
			for _, item := range asList(args[0](s)) {
				inner := *s
				inner.lambdas = map[string]any{"": item}
				all = append(all, args[1](&inner))
			}
			return all
		},
		"lambda": func(s *scope, args []expression) any {
			inner := *s
			inner.lambdas = map[string]any{asText(args[0](s)): s.lambdas[""]}
			return args[1](&inner)
		},
		"lambdaVariables": func(s *scope, args []expression) any {
			v, ok := s.lambdas[one(s, args)]
			if !ok {
				refuse("no such variable of a lambda")
			}
			return v
		},
		"cidrSubnet": func(s *scope, args []expression) any {
			network, err := netip.ParsePrefix(asText(args[0](s)))
			bits, at := asInt(args[1](s)), asInt(args[2](s))
			if err != nil || bits < network.Bits() || at >= 1<<(bits-network.Bits()) || bits < 24 {
				refuse("no subnet %d of /%d in %v", at, bits, args[0](s))
			}
			a := network.Masked().Addr().As4()
			a[3] += byte(at << (32 - bits))
			return netip.PrefixFrom(netip.AddrFrom4(a), bits).String()
		},
	}
}

func one(s *scope, args []expression) string {
	if len(args) != 1 {
		refuse("%d arguments, want one", len(args))
	}
	return asText(args[0](s))
}

func texts(s *scope, args []expression) []string {
	all := make([]string, len(args))
	for i, a := range args {
		all[i] = asText(a(s))
	}
	return all
}

// digest stands for Resource Manager's own hashes: the same for the same texts.
func digest(of []string) string {
	sum := sha256.Sum256([]byte(strings.Join(of, "\x00")))
	return hex.EncodeToString(sum[:16])
}
