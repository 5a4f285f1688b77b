package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Call is one call of Graph, exactly as it is made.
type Call struct {
	Method  string          `json:"method"`
	Version string          `json:"version"` // v1.0 or beta
	Path    string          `json:"path"`    // after the version; {id} stands for what the call before creates
	Body    json.RawMessage `json:"body,omitempty"`
	Purpose string          `json:"purpose"` // a few words for people
}

// Write reports whether the call changes anything.
func (c Call) Write() bool { return c.Method != http.MethodGet }

const (
	v1   = "v1.0"
	beta = "beta"
)

// ErrShape says that a policy of this shape can't be created or written.
var ErrShape = errors.New("policies of this shape are not written")

// ErrNotWritable says that the value of a policy can't be changed without the risk of changing something else: what was read does
// not hold all that a write has to give back.
var ErrNotWritable = errors.New("the policy's value can't be changed alone")

// Create is the call that creates a policy of the shape, assigned to nobody. It must not be repeated: each one makes
// another policy. After an unclear answer, read the store and look for [Ours].
//
// An OMA-URI profile is created in v1.0, the others in beta, which alone knows them. The JSON has no more than what is
// needed: profiles created with further fields have been seen that could not be read afterwards.
func Create(tenantID string, shape Shape, v Value) (Call, error) {
	if v == Unknown {
		return Call{}, fmt.Errorf("create a policy with the value %s: %w", v, ErrNotWritable)
	}
	c := Call{Method: http.MethodPost, Version: beta, Path: shape.Store().Path(), Purpose: "create the policy, " + v.String() + ", assigned to nobody"}
	switch shape {
	case OMAURI:
		c.Version = v1
		c.Body = encode(customConfiguration{
			Type: "#microsoft.graph.windows10CustomConfiguration", Name: Name, Description: Mark,
			Settings: []omaSetting{ours(tenantID, v)},
		})
	case IdentityProtection:
		c.Body = encode(struct {
			Type        string `json:"@odata.type"`
			Name        string `json:"displayName"`
			Description string `json:"description"`
			Enabled     bool   `json:"pinRecoveryEnabled"`
		}{"#microsoft.graph." + identityProtectionType, Name, Mark, v == On})
	case SettingsCatalog, AccountProtection:
		c.Body = encode(catalogBody(shape, v))
	default:
		return Call{}, fmt.Errorf("create a policy of shape %q: %w", shape, ErrShape)
	}
	return c, nil
}

// SetValue is the call that changes the value of a policy that was read just now, and nothing else of it. It may be
// repeated. A policy whose settings were not read with it, and one with encrypted settings beside ours, is ErrNotWritable.
func SetValue(tenantID string, f Found, v Value) (Call, error) {
	if v == Unknown || f.Setting != PINRecovery || f.Misspelt {
		return Call{}, fmt.Errorf("set policy %s: %w", f.ID, ErrNotWritable)
	}
	c := Call{Method: http.MethodPatch, Version: beta, Path: f.Ref().Path(), Purpose: "turn the policy " + v.String()}
	var err error
	switch f.Shape {
	case OMAURI:
		c.Body, err = customWithValue(tenantID, f, v)
	case IdentityProtection:
		c.Body = encode(struct {
			Type    string `json:"@odata.type"`
			Enabled bool   `json:"pinRecoveryEnabled"`
		}{"#microsoft.graph." + identityProtectionType, v == On})
	case SettingsCatalog, AccountProtection:
		// Settings are a navigation property: a PATCH of the policy does not take them, a PUT replaces all of them.
		c.Method = http.MethodPut
		c.Body, err = catalogWithValue(f, v)
	default:
		err = ErrShape
	}
	if err != nil {
		return Call{}, fmt.Errorf("set policy %s: %w", f.ID, err)
	}
	return c, nil
}

// Assign is the call that replaces the whole set of a policy's assignments. It goes to beta also for a profile of v1.0,
// because v1.0 does not know filters and would drop them. An empty set takes the policy from everybody. It may be repeated.
func Assign(ref Ref, set []Assignment) Call {
	var b bytes.Buffer
	b.WriteString(`{"assignments":[`)
	for i, a := range set {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`{"target":`)
		b.Write(a.target())
		b.WriteByte('}')
	}
	b.WriteString(`]}`)
	return Call{Method: http.MethodPost, Version: beta, Path: ref.Path() + "/assign", Body: b.Bytes(),
		Purpose: fmt.Sprintf("assign it to the whole set of %d", len(set))}
}

// Delete is the call that deletes a policy. Devices may keep the value that they have: write off first, and give them time.
func Delete(ref Ref) Call {
	return Call{Method: http.MethodDelete, Version: beta, Path: ref.Path(), Purpose: "delete the policy"}
}

const identityProtectionType = "windowsIdentityProtectionConfiguration"

type customConfiguration struct {
	Type        string       `json:"@odata.type"`
	Name        string       `json:"displayName,omitempty"`
	Description string       `json:"description,omitempty"`
	Settings    []omaSetting `json:"omaSettings"`
}

type omaSetting struct {
	Type        string `json:"@odata.type"`
	Name        string `json:"displayName"`
	Description string `json:"description"`
	URI         string `json:"omaUri"`
	Value       bool   `json:"value"`
}

func ours(tenantID string, v Value) omaSetting {
	return omaSetting{Type: "#microsoft.graph.omaSettingBoolean", Name: "EnablePinRecovery", URI: URI(tenantID, Device), Value: v == On}
}

// customWithValue is the profile's settings with ours anew and the others byte for byte.
func customWithValue(tenantID string, f Found, v Value) (json.RawMessage, error) {
	if f.whole == nil {
		return nil, ErrNotWritable
	}
	settings := slices.Clone(f.whole.settings)
	replaced := 0
	for i, s := range settings {
		o, err := parseOMA(s)
		if err != nil || o.encrypted() {
			return nil, ErrNotWritable // what is shown in place of an encrypted value would be written in its place
		}
		if strings.EqualFold(strings.TrimSpace(o.URI), URI(tenantID, f.Scope)) {
			own := ours(tenantID, v)
			own.URI = URI(tenantID, f.Scope)
			settings[i] = encode(own)
			replaced++
		}
	}
	if replaced != 1 {
		return nil, ErrNotWritable
	}
	return joinRaw(`{"@odata.type":"#microsoft.graph.windows10CustomConfiguration","omaSettings":[`, settings, `]}`), nil
}

func joinRaw(before string, parts []json.RawMessage, after string) json.RawMessage {
	return slices.Concat([]byte(before), bytes.Join(rawBytes(parts), []byte(",")), []byte(after))
}

func rawBytes(parts []json.RawMessage) [][]byte {
	out := make([][]byte, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	return out
}

// encode is for values of this package's own types, which always encode.
func encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(fmt.Sprintf("policy: encode %T: %v", v, err))
	}
	return bytes.TrimRight(b.Bytes(), "\n")
}
