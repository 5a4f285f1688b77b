package events

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MaxBytes bounds an event. Events carry references, never content, so a larger one is a mistake or an attack.
const MaxBytes = 64 << 10

// TypePrefix starts every event type; the rest is the kind: noun, verb and version.
const TypePrefix = "dev.pinreset."

// sourcePrefix starts every event's source; the rest is the tenant's id.
const sourcePrefix = "/tenants/"

// Data is the payload of one kind of event. Implementations are plain structs with value receivers.
type Data interface {
	Kind() string     // "passcode.reset.requested.v1"
	Request() string  // id of the request that the event belongs to
	Validate() error  // a *FieldError for the first field that is wrong
	subject() Subject // what the event is about, within the tenant
}

// Subject is the CloudEvents subject: "" for the tenant itself, or "devices/{id}".
type Subject string

// Event is a CloudEvent 1.0. Its source names the tenant: "/tenants/{id}".
type Event struct {
	ID          string    // dedup key
	Tenant      string    // the tenant's id, a GUID in lower case
	Time        time.Time // UTC
	TraceParent string    // W3C trace context, "" when there is none
	Data        Data
}

// FieldError names the field that is wrong, as a path from the event's root ("data.by.kind", "data.fix[2]"). From a
// payload's own Validate the path starts at the payload ("by.kind").
type FieldError struct {
	Field   string
	Problem string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// Errors of Parse beside *FieldError.
var (
	ErrTooLarge = fmt.Errorf("event is larger than %d bytes", MaxBytes)
	ErrNotJSON  = errors.New("event is not one JSON object")
)

// envelope is the structured JSON form as pinreset writes it.
type envelope struct {
	SpecVersion     string          `json:"specversion"`
	ID              string          `json:"id"`
	Type            string          `json:"type"`
	Source          string          `json:"source"`
	Subject         string          `json:"subject,omitempty"`
	Time            time.Time       `json:"time"`
	TraceParent     string          `json:"traceparent,omitempty"`
	DataContentType string          `json:"datacontenttype,omitempty"`
	DataSchema      string          `json:"dataschema,omitempty"`
	Data            json.RawMessage `json:"data"`
}

// MarshalJSON encodes the event in structured mode.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Data == nil {
		return nil, &FieldError{"data", "is missing"}
	}
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", e.Data.Kind(), err)
	}
	return json.Marshal(envelope{
		SpecVersion: "1.0", ID: e.ID, Type: TypePrefix + e.Data.Kind(), Source: sourcePrefix + e.Tenant,
		Subject: string(e.Data.subject()), Time: e.Time.UTC(), TraceParent: e.TraceParent,
		DataContentType: "application/json", DataSchema: SchemaID(e.Data.Kind()), Data: data,
	})
}

// Parse decodes and validates an event. Its error is a *FieldError where a field is wrong, ErrTooLarge, or ErrNotJSON.
// Unknown fields in the data are refused: a misspelt optional field would otherwise be lost without a word. Names are
// compared as they are written, and one that is there twice is refused. The tenant's id may come in upper case and is
// lowered; ids of devices and applications may not.
func Parse(raw []byte) (Event, error) {
	if len(raw) > MaxBytes {
		return Event{}, ErrTooLarge
	}
	attrs, rawData, err := attributes(raw)
	if err != nil {
		return Event{}, err
	}
	e := Event{ID: attrs["id"], TraceParent: attrs["traceparent"]}
	if attrs["specversion"] != "1.0" {
		return e, &FieldError{"specversion", `must be "1.0"`}
	}
	if t := attrs["datacontenttype"]; t != "" && t != "application/json" {
		return e, &FieldError{"datacontenttype", "must be application/json"}
	}
	tenant, ok := strings.CutPrefix(attrs["source"], sourcePrefix)
	if !ok || !IsGUID(tenant) {
		return e, &FieldError{"source", sourceProblem}
	}
	e.Tenant = strings.ToLower(tenant)
	if text := attrs["time"]; text != "" {
		if e.Time, err = instant(text); err != nil {
			return e, &FieldError{"time", err.Error()}
		}
	}
	name, ok := strings.CutPrefix(attrs["type"], TypePrefix)
	k, known := kinds[name]
	if !ok || !known {
		return e, &FieldError{"type", fmt.Sprintf("%q is not a known kind of event", clip(attrs["type"]))}
	}
	if len(rawData) == 0 {
		return e, &FieldError{"data", "is missing"}
	}
	if e.Data, err = k.decode(rawData); err != nil {
		return e, err
	}
	if err := e.Validate(); err != nil {
		return e, err
	}
	if s := attrs["subject"]; s != "" && s != string(e.Data.subject()) {
		return e, &FieldError{"subject", fmt.Sprintf("must be %q, as the data says", e.Data.subject())}
	}
	return e, nil
}

// Validate checks an event made in Go by the rules that Parse applies. Its error is a *FieldError.
func (e Event) Validate() error {
	switch {
	case !idPattern.MatchString(e.ID):
		return &FieldError{"id", idProblem}
	case !isLowerGUID(e.Tenant):
		return &FieldError{"source", sourceProblem}
	case e.Time.IsZero():
		return &FieldError{"time", "is missing"}
	case e.TraceParent != "" && !tracePattern.MatchString(e.TraceParent):
		return &FieldError{"traceparent", "is not a W3C trace context"}
	case e.Data == nil:
		return &FieldError{"data", "is missing"}
	}
	return inData(e.Data.Validate())
}

// inData prefixes the field of a payload's problem with its place in the event.
func inData(err error) error {
	if field, ok := errors.AsType[*FieldError](err); ok {
		return &FieldError{join("data", field.Field), field.Problem}
	}
	return err
}

// Kinds returns the names of all kinds, sorted.
func Kinds() []string {
	names := make([]string, 0, len(kinds))
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// FromOutside reports whether the kind is a request that a system beside pinreset may send. All other kinds are results, or
// reminders that pinreset sends to itself.
func FromOutside(kind string) bool { return kinds[kind].request }
