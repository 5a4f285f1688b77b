package portal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
)

// Record is one thing that somebody did, as far as it was understood. Members that the record lacks are zero.
type Record struct {
	ID        string // Intune's; one made from the record's bytes where it has none that can be used
	Tenant    string // "" where the record does not say
	At        time.Time
	Activity  string // activityType, or the name of the operation
	Operation string // activityOperationType: Create, Delete, Patch, Action, …
	Result    string
	Category  string
	Actor     Actor
	Resources []Resource
	Raw       json.RawMessage
}

// Actor is who did it.
type Actor struct {
	User   string // user principal name
	UserID string
	AppID  string
	App    string // display name
}

// Name is what to call the actor.
func (a Actor) Name() string {
	for _, name := range []string{a.User, a.App, a.UserID, a.AppID} {
		if name != "" {
			return printable(name, events.MaxActorName)
		}
	}
	return ""
}

// Resource is what it was done to.
type Resource struct{ ID, Name, Type string }

// Kind is what a record is about, as far as that matters to pinreset.
type Kind string

// Kinds of records.
const (
	ResetPasscode   Kind = "reset"     // a device's passcode was reset
	PolicyChange    Kind = "policy"    // a policy was made, changed, assigned or deleted
	PrincipalChange Kind = "principal" // a service principal, or a permission of one, was changed
	Other           Kind = "other"     // something else, or something that nobody knows
)

// Kind tells by the names of the activity and of what it was done to. Microsoft publishes no list of them, so parts are matched
// and not whole names.
func (r Record) Kind() Kind {
	has := func(text string, parts ...string) bool {
		text = squeezed(text)
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	if has(r.Activity, "resetpasscode") {
		return ResetPasscode
	}
	types := r.Activity
	for _, x := range r.Resources {
		types += "|" + x.Type
	}
	switch {
	case has(r.Operation, "get", "read") || strings.HasPrefix(squeezed(r.Activity), "get"):
		return Other
	case has(types, "serviceprincipal", "permissiongrant", "approleassignment", "consenttoapplication"):
		return PrincipalChange
	case has(types, "deviceconfiguration", "configurationpolicy", "managementintent", "deviceintent", "endpointsecurity", "grouppolicyconfiguration"):
		return PolicyChange
	}
	return Other
}

// squeezed is the text in lower case and without what names are variously joined by.
func squeezed(s string) string {
	return strings.NewReplacer(" ", "", "_", "", "-", "", ".", "").Replace(strings.ToLower(s))
}

// Succeeded reports whether it was done. A record that does not say so was: most of them are of things that were.
func (r Record) Succeeded() bool {
	s := squeezed(r.Result)
	return s == "" || s == "0" || strings.HasPrefix(s, "succe")
}

// Device is the managed device that it was done to, "" where the record names none.
func (r Record) Device() string {
	for _, x := range r.Resources {
		if events.IsGUID(x.ID) && (x.Type == "" || strings.Contains(squeezed(x.Type), "device")) {
			return strings.ToLower(x.ID)
		}
	}
	return ""
}

// wire is both forms at once. encoding/json matches names in any case.
type wire struct {
	ID            string    `json:"id"`
	AuditEventID  string    `json:"AuditEventId"`
	TenantID      string    `json:"tenantId"`
	Time          time.Time `json:"time"`
	ActivityAt    time.Time `json:"activityDateTime"`
	ActivityDate  time.Time `json:"ActivityDate"`
	Activity      string    `json:"activityType"`
	ActivityName  string    `json:"activity"`
	DisplayName   string    `json:"displayName"`
	OperationName string    `json:"operationName"`
	Operation     string    `json:"activityOperationType"`
	Result        any       `json:"activityResult"`
	ResultStatus  any       `json:"ActivityResultStatus"`
	ResultType    any       `json:"resultType"`
	Category      any       `json:"category"`
	Actor         struct {
		UPN     string `json:"userPrincipalName"`
		UPNToo  string `json:"UPN"`
		UserID  string `json:"userId"`
		Object  string `json:"ObjectId"`
		AppID   string `json:"applicationId"`
		AppToo  string `json:"Application"`
		AppName string `json:"applicationDisplayName"`
		NameToo string `json:"ApplicationName"`
	} `json:"actor"`
	Resources []struct {
		ID   string `json:"resourceId"`
		Name string `json:"displayName"`
		Type string `json:"auditResourceType"`
	} `json:"resources"`
	TargetIDs   []string        `json:"TargetObjectIds"`
	TargetNames []string        `json:"TargetDisplayNames"`
	Properties  json.RawMessage `json:"properties"`
}

// Parse returns the records in raw, a JSON object: one, or those of a wrapper.
func Parse(raw json.RawMessage) []Record {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) == nil {
		for name, value := range members {
			var list []json.RawMessage
			if strings.EqualFold(name, "records") && json.Unmarshal(value, &list) == nil {
				records := make([]Record, 0, len(list))
				for _, one := range list {
					records = append(records, parseOne(one))
				}
				return records
			}
		}
	}
	return []Record{parseOne(raw)}
}

// recordID is what a row may be named by, and an event may carry.
var recordID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

func parseOne(raw json.RawMessage) Record {
	r := Record{Raw: raw}
	lenient(raw, &r, 0)
	if r.ID = strings.ToLower(r.ID); !recordID.MatchString(r.ID) {
		sum := sha256.Sum256(raw)
		r.ID = "sha256-" + hex.EncodeToString(sum[:16])
	}
	return r
}

// lenient lays over r what raw says, member by member: one of another type than expected hides none of the others.
func lenient(raw json.RawMessage, r *Record, depth int) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return
	}
	var w wire
	for name, value := range members {
		one, err := json.Marshal(map[string]json.RawMessage{name: value})
		if err == nil {
			_ = json.Unmarshal(one, &w) // what does not fit stays zero
		}
	}
	over(&r.ID, w.AuditEventID, w.ID)
	over(&r.Tenant, strings.ToLower(w.TenantID))
	over(&r.Activity, w.Activity, w.ActivityName, w.OperationName, w.DisplayName)
	over(&r.Operation, w.Operation)
	over(&r.Result, text(w.Result), text(w.ResultStatus), text(w.ResultType))
	over(&r.Category, text(w.Category))
	over(&r.Actor.User, w.Actor.UPN, w.Actor.UPNToo)
	over(&r.Actor.UserID, w.Actor.UserID, w.Actor.Object)
	over(&r.Actor.AppID, strings.ToLower(w.Actor.AppID), strings.ToLower(w.Actor.AppToo))
	over(&r.Actor.App, w.Actor.AppName, w.Actor.NameToo)
	for _, at := range []time.Time{w.ActivityAt, w.ActivityDate, w.Time} {
		if !at.IsZero() {
			r.At = at.UTC()
			break
		}
	}
	for _, x := range w.Resources {
		r.Resources = append(r.Resources, Resource{x.ID, x.Name, x.Type})
	}
	for i, id := range w.TargetIDs {
		x := Resource{ID: id}
		if i < len(w.TargetNames) {
			x.Name = w.TargetNames[i]
		}
		r.Resources = append(r.Resources, x)
	}
	if len(w.Properties) > 0 && depth == 0 {
		inner := w.Properties
		var quoted string
		if json.Unmarshal(inner, &quoted) == nil {
			inner = json.RawMessage(quoted)
		}
		lenient(inner, r, depth+1)
	}
}

// over sets the value to the first that is not empty.
func over(value *string, candidates ...string) {
	for _, c := range candidates {
		if c != "" {
			*value = c
			return
		}
	}
}

// text is a value that may be a text or a number.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// printable cuts a foreign text to what a row and a page can hold.
func printable(s string, longest int) string {
	s = strings.Map(func(c rune) rune {
		if events.CheckText("", string(c), 1, false) != nil {
			return -1
		}
		return c
	}, strings.ToValidUTF8(s, ""))
	if r := []rune(s); len(r) > longest {
		return string(r[:longest])
	}
	return s
}
