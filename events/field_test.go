package events_test

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
)

// rule is what a field's values are like: how to make a good one, and some that must be refused.
type rule struct {
	good func(*rand.Rand) any
	bad  []any
}

// rules has a line for each field of each kind, by the name that the field has everywhere or by kind and path. A field
// without one fails the tests.
var rules = map[string]rule{
	"requestId":               idRule(),
	"deviceId":                guidRule(),
	"app":                     guidRule(),
	"domain":                  domainRule(),
	"task":                    idRule(),
	"page":                    textRule(1000, false),
	"serviceServicePrincipal": guidRule(),
	"clientServicePrincipal":  guidRule(),
	"by.kind":                 enumRule(events.Operator, events.Sender, events.System),
	"by.id":                   idRule(),
	"by.name":                 textRule(200, false),
	"function":                idRule(),
	"linkBy":                  idRule(),
	"code":                    idRule(),
	"displayName":             textRule(120, true),
	"ticket":                  textRule(64, false),
	"error":                   textRule(80, false),
	"title":                   textRule(200, true),
	"outcome":                 enumRule(events.OutcomePasscode, events.OutcomeRemoved, events.OutcomeObserved),
	"recordId":                idRule(),
	"resetId":                 idRule(),
	"what":                    enumRule(events.NoticeResetStarted, events.NoticeResetEnded, events.NoticePasscodeRevealed),
	"actor":                   enumRule(events.NoticeByOperator, events.NoticeByUser, events.NoticeBySystem),
	"at":                      timeRule(),
	"channel":                 optionalRule(events.NoticeByWebhook, events.NoticeByTeams, events.NoticeByMailUser, events.NoticeByMailContact),
	"startedAt":               timeRule(),
	"record":                  objectRule(),
	"expiresAt":               timeRule(),
	"fix[]":                   textRule(500, true),
	"learnMore[]":             linkRule("https://", "http://example.com/a", "/diag/7KQ4MXWD"),
	"names[]":                 idRule(),
	"resetAt":                 timeRule(),
	"keys":                    enumRule(events.KeysKept, events.KeysReplaced, events.KeysUnknown),
	"diagnostics":             linkRule("/d", "//example.com/a", `/\example.com`, "/", "diag/7KQ4MXWD", "javascript:alert(1)"),
	"createServicePrincipals": boolRule(),
	"shape":                   enumRule(events.ShapeOMAURI, events.ShapeSettingsCatalog, events.ShapeIdentityProtection, events.ShapeAccountProtection),
	"rolloutId":               idRule(),
	"policyId":                guidRule(),
	"include[]":               guidRule(),
	"exclude[]":               guidRule(),
	"allDevices":              boolRule(),
	"allUsers":                boolRule(),
	"unassign":                boolRule(),
	"delete":                  boolRule(),
	"planHash":                idRule(),

	"cause":    textRule(1000, true),
	"detail":   textRule(500, true),
	"state":    idRule(),
	"runId":    idRule(),
	"remedyId": idRule(),
	"unread[]": idRule(),
	"drift[]":  idRule(),

	"tenant.audit.requested.v1 cause":                      causeRule(),
	"tenant.audit.requested.v1 reason":                     textRule(500, false),
	"tenant.audit.completed.v1 cause":                      causeRule(),
	"tenant.audit.completed.v1 outcome":                    enumRule(events.AuditWhole, events.AuditPartly, events.AuditNot),
	"tenant.consent.completed.v1 servicePrincipalsCreated": boolRule(),
	"passcode.reset.requested.v1 reason":                   textRule(500, true),
	"policy.rollout.requested.v1 reason":                   textRule(500, true),
	"policy.rollback.requested.v1 reason":                  textRule(500, true),
	"policy.rollout.completed.v1 outcome":                  enumRule(events.RolloutEverywhere, events.RolloutWatched, events.RolloutUnknown, events.RolloutTakenBack),
	"tenant.consent.requested.v1 reason":                   textRule(500, false),
	"passcode.reset.cancelled.v1 reason":                   textRule(500, false),
	"notification.due.v1 outcome":                          optionalRule(events.NoticeIssued, events.NoticeRemoved, events.NoticeObserved, events.NoticeFailed, events.NoticeCancelled),
	"passcode.bulk.ended.v1 outcome":                       enumRule(events.BulkPlanned, events.BulkDone, events.BulkCancelled),
}

// bounds of lists, least and most.
var bounds = map[string][2]int{"names": {1, 64}, "fix": {1, 10}, "learnMore": {0, 10}, "include": {0, 200}, "exclude": {0, 200}, "unread": {0, 64}, "drift": {0, 64}}

func ruleOf(t *testing.T, kind, path string) rule {
	t.Helper()
	if r, ok := rules[kind+" "+path]; ok {
		return r
	}
	r, ok := rules[path]
	if !ok {
		t.Fatalf("%s: field %s has no rule in this test", kind, path)
	}
	return r
}

const (
	idLetters = "ABCXYZabcxyz0189._:-"
	letters   = "aZ 09.,;<>&\"'\\/äßñ漢字😀\ufffd"
)

func pick(r *rand.Rand, from string, n int) string {
	set := []rune(from)
	out := make([]rune, n)
	for i := range out {
		out[i] = set[r.IntN(len(set))]
	}
	return string(out)
}

func idRule() rule {
	return rule{
		good: func(r *rand.Rand) any { return pick(r, idLetters, 1+r.IntN(64)) },
		bad:  []any{"", strings.Repeat("a", 65), "a b", "a/b", "a|b", "a\n", "a\x00", "a\u202e", "ä"},
	}
}

const hex = "0123456789abcdef"

func randomGUID(r *rand.Rand) string {
	return strings.Join([]string{pick(r, hex, 8), pick(r, hex, 4), pick(r, hex, 4), pick(r, hex, 4), pick(r, hex, 12)}, "-")
}

func guidRule() rule {
	const g = "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13"
	return rule{
		good: func(r *rand.Rand) any { return randomGUID(r) },
		bad: []any{"nope", g[1:], g + "0", strings.ReplaceAll(g, "-", ""), "{" + g + "}", strings.ToUpper(g), g + "\n",
			"\u202e" + g, strings.Replace(g, "3", "g", 1), strings.Repeat("0", 36)},
	}
}

func domainRule() rule {
	return rule{
		good: func(r *rand.Rand) any {
			return pick(r, hex, 1+r.IntN(63)) + "." + pick(r, hex, 1) + "-" + pick(r, hex, 1+r.IntN(61))
		},
		bad: []any{"", "corp", "Corp.example", ".corp.example", "corp..example", "corp.example.", "-a.example", "a-.example", "a b.example",
			"ä.example", "a_b.example", "corp.example\n", "\u202ecorp.example", strings.Repeat("a", 64) + ".example", strings.Repeat("a.", 127)},
	}
}

func textRule(longest int, required bool) rule {
	bad := []any{strings.Repeat("é", longest+1), "a\nb", "a\tb", "\x00", "a\x1b[31m", "a\x7f", "a\u0085b", "a\u202eb", "a\u2066b",
		"a\u200bb", "a\u2028b", "\ufeffa", "a\u061cb", "a\U000e0041b"}
	if required {
		bad = append(bad, "", " ", "\u00a0\u3000")
	}
	return rule{bad: bad, good: func(r *rand.Rand) any {
		if r.IntN(8) == 0 {
			return "x" + pick(r, letters, longest-1)
		}
		return "x" + pick(r, letters, r.IntN(longest))
	}}
}

func enumRule(values ...string) rule {
	return rule{
		good: func(r *rand.Rand) any { return values[r.IntN(len(values))] },
		bad:  []any{"", "other", strings.ToUpper(values[0]), values[0] + " ", values[0] + "\u202e"},
	}
}

// optionalRule is enumRule of a field that may be empty.
func optionalRule(values ...string) rule {
	r := enumRule(values...)
	r.bad = slices.DeleteFunc(r.bad, func(v any) bool { return v == "" })
	return r
}

// objectRule is that of an object of somebody else's: anything in it will do.
func objectRule() rule {
	return rule{good: func(r *rand.Rand) any { return map[string]any{"x" + pick(r, idLetters, 3): []any{nil, 7.0, "a"}} }}
}

func causeRule() rule {
	return enumRule(events.AuditBySchedule, events.AuditByOperator, events.AuditByPortal, events.AuditByNotification, events.AuditByDevice, events.AuditByRollout, events.AuditByConsent)
}

func boolRule() rule { return rule{good: func(*rand.Rand) any { return true }} }

func timeRule() rule {
	return rule{
		good: func(r *rand.Rand) any {
			return time.Unix(r.Int64N(1<<33), r.Int64N(1e9)).UTC().Format(time.RFC3339Nano)
		},
		bad: []any{"", "yesterday", "2026-11-22", "2026-11-22T08:14:03", "2026-13-22T08:14:03Z", "2026-11-22T08:14:03Z\n", "\u202e2026-11-22T08:14:03Z"},
	}
}

func linkRule(prefix string, bad ...any) rule {
	return rule{
		good: func(r *rand.Rand) any { return prefix + pick(r, "abc/?&=#%_-~!", 1+r.IntN(500)) },
		bad: append(bad, "", prefix, prefix+"a b", prefix+"a\n", prefix+"a\u202eb", prefix+"ä", "ftp://example.com/a",
			prefix+strings.Repeat("a", 501)),
	}
}

// badCase is an event that Parse must refuse for the field.
type badCase struct {
	name   string
	event  map[string]any
	field  string
	onlyGo bool // JSON Schema has no words for it
}

var tally struct{ cases, both, onlyGo atomic.Int64 }

func (c badCase) run(t *testing.T) {
	t.Helper()
	raw := encode(t, c.event)
	_, err := events.Parse(raw)
	wantField(t, c.name, err, c.field)
	tally.cases.Add(1)
	switch err := schemaError(t, raw); {
	case c.onlyGo && err != nil:
		t.Errorf("%s: the schemas refuse it too: %v", c.name, err)
	case c.onlyGo:
		tally.onlyGo.Add(1)
	case err == nil:
		t.Errorf("%s: the schemas accept it", c.name)
	default:
		tally.both.Add(1)
	}
}

// wrongTypes are values of all JSON types but one.
func wrongTypes(want string) map[string]any {
	values := map[string]any{
		"null": nil, "number": 7, "boolean": true, "string": "text", "array": []any{"text"}, "object": map[string]any{"a": 1},
	}
	delete(values, want)
	return values
}

func TestBadEventsAreRefusedByField(t *testing.T) {
	t.Parallel()
	t.Cleanup(func() {
		cases, both, onlyGo := tally.cases.Load(), tally.both.Load(), tally.onlyGo.Load()
		t.Logf("%d bad events: %d refused by Parse and by the schemas, %d by Parse only", cases, both, onlyGo)
		if cases < 1000 || both+onlyGo != cases {
			t.Errorf("%d bad events, %d agreed upon", cases, both+onlyGo)
		}
	})
	t.Run("envelope", func(t *testing.T) {
		t.Parallel()
		for _, c := range badEnvelopes(t) {
			c.run(t)
		}
	})
	for _, kind := range events.Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			_, e := example(t, kind)
			for _, c := range badFields(t, kind, "", reflect.TypeOf(e.Data)) {
				c.run(t)
			}
		})
	}
}

// badFields makes the bad events of an object of the kind: the data itself, where the path is "", or one inside it.
func badFields(t *testing.T, kind, path string, typ reflect.Type) []badCase {
	t.Helper()
	var cases []badCase
	raw, _ := example(t, kind)
	add := func(name, field string, change func(object map[string]any)) {
		event := tree(t, raw)
		object := event["data"].(map[string]any)
		if path != "" {
			object = object[path].(map[string]any)
		}
		change(object)
		cases = append(cases, badCase{name: fmt.Sprintf("%s: %s %s", kind, field, name), event: event, field: "data." + field})
	}
	full := func(name string) string { return strings.TrimPrefix(path+"."+name, ".") }
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		field := full(name)
		set := func(what string, value any) {
			add(fmt.Sprintf("%s %.40q", what, fmt.Sprint(value)), field, func(o map[string]any) { o[name] = value })
		}
		if options == "" {
			add("missing", field, func(o map[string]any) { delete(o, name) })
		}
		upper := strings.ToUpper(name[:1]) + name[1:]
		add("by another case", full(upper), func(o map[string]any) { o[upper] = o[name]; delete(o, name) })

		jsonType := "string"
		switch f.Type.Kind() {
		case reflect.Bool:
			jsonType = "boolean"
		case reflect.Slice:
			if f.Type == reflect.TypeFor[events.Object]() {
				jsonType = "object"
				break
			}
			jsonType = "array"
			entry := ruleOf(t, kind, field+"[]")
			r := rand.New(rand.NewPCG(1, 2))
			for _, bad := range entry.bad {
				add(fmt.Sprintf("has %.40q", bad), field+"[1]", func(o map[string]any) { o[name] = []any{entry.good(r), bad} })
			}
			for typ, bad := range wrongTypes("string") {
				add("has a "+typ, field+"[0]", func(o map[string]any) { o[name] = []any{bad, entry.good(r)} })
			}
			b := bounds[field]
			if b[0] > 0 {
				set("empty", []any{})
			}
			many := make([]any, b[1]+1)
			for i := range many {
				many[i] = entry.good(r)
			}
			set("too long", many)
		case reflect.Struct:
			if f.Type != reflect.TypeFor[time.Time]() {
				jsonType = "object"
				cases = append(cases, badFields(t, kind, field, f.Type)...)
				break
			}
			fallthrough
		default:
			for _, bad := range ruleOf(t, kind, field).bad {
				if bad == "" && options != "" && f.Type.Kind() == reflect.String {
					continue // an optional text may be empty
				}
				set("bad", bad)
			}
		}
		for typ, bad := range wrongTypes(jsonType) {
			set("a "+typ, bad)
		}
	}
	add("unknown", full("surplus"), func(o map[string]any) { o["surplus"] = "x" })
	return cases
}
