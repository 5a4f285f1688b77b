package policy

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Mark is what the description of a policy says that pinreset created. Whoever takes it out takes the policy over.
const Mark = "managed by pinreset"

// Name is the name of a policy that pinreset creates.
const Name = "PIN recovery"

// Shape is one of the ways in which the setting can be made.
type Shape string

// Shapes.
const (
	OMAURI             Shape = "oma-uri"             // custom profile with an OMA-URI
	SettingsCatalog    Shape = "settings-catalog"    // settings catalog
	IdentityProtection Shape = "identity-protection" // device configuration profile of the type identity protection
	AccountProtection  Shape = "account-protection"  // endpoint security › account protection, which is a settings catalog policy with a template
	Intent             Shape = "intent"              // endpoint security in its older form: read, never written
	GroupPolicy        Shape = "group-policy"        // not in Graph: only a device can tell
)

// Shapes that pinreset can create, the default first.
var Shapes = []Shape{OMAURI, SettingsCatalog, IdentityProtection, AccountProtection}

// Creatable reports whether pinreset can create a policy of the shape.
func (s Shape) Creatable() bool { return s.spec().create }

// Store is the collection of Graph that holds policies of the shape; "" for those that Graph does not hold.
func (s Shape) Store() Store { return s.spec().store }

// HasDeviceStatus reports whether Graph tells, for a policy of the shape, how each device took it (the navigation property
// deviceStatuses). Where it does not, only reports of devices can.
func (s Shape) HasDeviceStatus() bool { return s.spec().store == DeviceConfigurations }

// Title is the name of the shape for people, as Intune's admin centre has it.
func (s Shape) Title() string {
	if t := s.spec().title; t != "" {
		return t
	}
	return string(s)
}

type spec struct {
	store  Store
	create bool
	title  string
}

func (s Shape) spec() spec {
	switch s {
	case OMAURI:
		return spec{DeviceConfigurations, true, "Custom profile (OMA-URI)"}
	case IdentityProtection:
		return spec{DeviceConfigurations, true, "Identity protection profile"}
	case SettingsCatalog:
		return spec{ConfigurationPolicies, true, "Settings catalog"}
	case AccountProtection:
		return spec{ConfigurationPolicies, true, "Endpoint security › Account protection"}
	case Intent:
		return spec{Intents, false, "Endpoint security › Account protection (older form)"}
	case GroupPolicy:
		return spec{title: "Group Policy"}
	}
	return spec{}
}

// Store is a collection of Graph below /deviceManagement that holds policies. All are read from beta: v1.0 does not know
// identity protection profiles, the settings catalog, intents and the filters of assignments.
type Store string

// Stores.
const (
	DeviceConfigurations  Store = "deviceConfigurations"
	ConfigurationPolicies Store = "configurationPolicies"
	Intents               Store = "intents"
)

// Stores are all of them. Whoever has read fewer does not know what a tenant has.
var Stores = []Store{DeviceConfigurations, ConfigurationPolicies, Intents}

// Path is the store's path after the version.
func (s Store) Path() string { return "/deviceManagement/" + string(s) }

// Value is what a policy sets: on, off, or what could not be read. The zero value is Unknown.
type Value int8

// Values.
const (
	Unknown Value = iota // encrypted, or of a form that is not known
	On
	Off
)

func valueOf(on bool) Value {
	if on {
		return On
	}
	return Off
}

func (v Value) String() string {
	switch v {
	case On:
		return "on"
	case Off:
		return "off"
	}
	return "unknown"
}

// MarshalText writes on, off or unknown.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads what MarshalText writes; nothing means unknown.
func (v *Value) UnmarshalText(text []byte) error {
	switch string(text) {
	case "on":
		*v = On
	case "off":
		*v = Off
	case "unknown", "":
		*v = Unknown
	default:
		return fmt.Errorf("value %q is none of on, off, unknown", text)
	}
	return nil
}

// Scope is whether a setting is made for the device or for its user.
type Scope string

// Scopes.
const (
	Device Scope = "device"
	User   Scope = "user"
)

// Setting is what a policy sets.
type Setting string

// Settings.
const (
	PINRecovery Setting = "pin-recovery" // EnablePinRecovery
	// WebSignInAllowList is ConfigureWebSignInAllowedUrls: the domains that the sign-in before a PIN reset may open.
	WebSignInAllowList Setting = "web-sign-in-allow-list"
)

// Ref names a policy in Graph.
type Ref struct {
	Store Store  `json:"store"`
	ID    string `json:"id"` // a GUID
}

// Path is the policy's path after the version.
func (r Ref) Path() string { return r.Store.Path() + "/" + r.ID }

// Found is one setting of one policy as it was found in a tenant. A policy that makes two of the settings, or one for devices
// and for users, is found twice.
type Found struct {
	ID       string    `json:"id"` // of the policy; empty for Group Policy
	Name     string    `json:"name"`
	Shape    Shape     `json:"shape"`
	Setting  Setting   `json:"setting"`
	Scope    Scope     `json:"scope"`
	Value    Value     `json:"value"`              // of PINRecovery
	List     string    `json:"list,omitempty"`     // of WebSignInAllowList, as it is written
	Misspelt bool      `json:"misspelt,omitempty"` // not as the CSP's page has it: Windows does not take it, or not for certain. Value is what was meant.
	Mine     bool      `json:"mine,omitempty"`     // the description has our Mark
	Modified time.Time `json:"modified"`           // lastModifiedDateTime, zero where it is not known

	// Assignments are all that the policy has.
	Assignments []Assignment `json:"assignments"`
	// Findings are what is wrong with this policy alone. [Lint] returns them with those that show beside others.
	Findings []Finding `json:"findings,omitempty"`

	// whole is what a write of the value has to give back. It is not stored: a value is written right after it was read.
	whole *original
}

// original is a policy as it was read: for an OMA-URI profile its omaSettings, for a catalog policy its settings and its
// fields.
type original struct {
	fields   map[string]json.RawMessage
	settings []json.RawMessage
}

// Ref names the policy.
func (f Found) Ref() Ref { return Ref{f.Shape.Store(), f.ID} }

// Assigned reports whether the policy has any target that is not an exclusion.
func (f Found) Assigned() bool {
	for _, a := range f.Assignments {
		if a.Kind != ExcludeGroup {
			return true
		}
	}
	return false
}

// Effective is what the policy makes of the setting on the devices that it reaches: its value, or Unknown if it is misspelt.
// An unassigned policy reaches none; ask [Found.Assigned].
func (f Found) Effective() Value {
	if f.Misspelt {
		return Unknown
	}
	return f.Value
}

// Ours is the policy of the shape that pinreset created for PIN recovery. Of several, which a lost answer may have left, it is
// the one with the lowest id, so that every reader takes the same.
func Ours(found []Found, shape Shape) (ours Found, ok bool) {
	for _, f := range found {
		if f.Mine && f.Shape == shape && f.Setting == PINRecovery && f.Scope == Device && !f.Misspelt &&
			(!ok || strings.Compare(f.ID, ours.ID) < 0) {
			ours, ok = f, true
		}
	}
	return ours, ok
}
