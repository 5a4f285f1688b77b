package devicereport

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"pinreset/events"
)

// Version is the version of the report's form.
const Version = 1

// Limits of a report.
const (
	MaxBytes    = 64 << 10 // the whole, as it is sent
	MaxStatus   = 32 << 10 // the text of dsregcmd, in bytes
	MaxRegistry = 100      // values of the registry
	MaxEvents   = 500
	MaxResets   = 10
	MaxLimits   = 20 // limitations of the lock screen

	maxValue = 2048 // one value of the registry, in characters
	maxText  = 300  // one line of text
)

// Report is what a device says of itself.
type Report struct {
	Version int `json:"version"` // 1
	// Sequence is greater than in every earlier report of the device. Milliseconds since 1970 are a good one.
	Sequence    int64     `json:"sequence"`
	CollectedAt time.Time `json:"collectedAt"`         // by the device's clock
	Agent       string    `json:"agent,omitempty"`     // who collected it, for people
	Edition     string    `json:"edition,omitempty"`   // EditionID of Windows
	OSVersion   string    `json:"osVersion,omitempty"` // "10.0.22631.3447"
	Status      string    `json:"dsregcmd,omitempty"`  // what `dsregcmd /status` printed, run as the user

	Registry []Value `json:"registry,omitempty"`
	Events   []Event `json:"events,omitempty"`
	// EventsRead says that the logs were read, so that an event which is not listed did not happen lately.
	EventsRead bool       `json:"eventsRead,omitempty"`
	Resets     []PINReset `json:"pinResets,omitempty"`

	DomainController Told `json:"domainController,omitempty"` // whether one answers
	Federation       Told `json:"federation,omitempty"`       // whether the federation service answers
	// LockScreen are limitations that no single value of the registry tells, by their id in package readiness.
	LockScreen []Limit `json:"lockScreen,omitempty"`
}

// Told is a yes, a no, or "", which is that nobody looked.
type Told string

// What can be told.
const (
	Yes Told = "yes"
	No  Told = "no"
)

// Limit tells whether a limitation of the lock screen holds.
type Limit struct {
	ID    string `json:"id"`
	Holds Told   `json:"holds"`
}

// State is what was found of a value of the registry.
type State string

// States of a value.
const (
	Set    State = "set"
	Absent State = "absent" // looked, and it is not there
	Denied State = "denied" // it could not be read
)

// Value is one value of the registry. Keys and names are compared without case.
type Value struct {
	Key   string `json:"key"`  // `HKLM\SOFTWARE\…`; also HKCU and HKU
	Name  string `json:"name"` // "EnablePinRecovery"
	State State  `json:"state"`
	Data  string `json:"data,omitempty"` // a number in decimal digits, or a text
}

// Event is one entry of a Windows event log.
type Event struct {
	Log string    `json:"log"` // "Microsoft-Windows-HelloForBusiness/Operational"
	ID  int       `json:"id"`
	At  time.Time `json:"at"`
}

// PINReset is a reset of the user's PIN that the agent knows the end of.
type PINReset struct {
	At      time.Time `json:"at"`
	Outcome Outcome   `json:"outcome"`
	// Kind is "non-destructive" or "destructive"; "" where it is not known.
	Kind Kind `json:"kind,omitempty"`
	// Code is of a failure: "0x801C044D", "CAA20004", "AADSTS650052", or what the user saw.
	Code string `json:"code,omitempty"`
}

// Outcome is how a PIN reset ended.
type Outcome string

// Outcomes.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
)

// Kind is what a PIN reset does to the user's keys.
type Kind string

// Kinds.
const (
	NonDestructive Kind = "non-destructive" // keys kept
	Destructive    Kind = "destructive"     // new keys
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of a report, for agents of others.
func Schema() []byte { return bytes.Clone(schema) }

var (
	versionPattern = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,6}){1,3}$`)
	wordPattern    = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	// Made at its first use: so large a count takes milliseconds, which every start of the program would pay.
	keyPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(?i:HKLM|HKCU|HKU)\\[^\x00-\x1f]{1,400}$`) })
)

// Parse decodes and checks a report. Its error is an *events.FieldError where a field is wrong; what is no JSON object of this
// form, or too large, is ErrForm. Unknown fields are refused: an agent that believes to have said something must be told that it
// was not heard.
func Parse(raw []byte) (Report, error) {
	if len(raw) > MaxBytes {
		return Report{}, fmt.Errorf("%d bytes: %w", len(raw), ErrForm)
	}
	if !utf8.Valid(raw) {
		return Report{}, fmt.Errorf("not UTF-8: %w", ErrForm)
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	var r Report
	if err := d.Decode(&r); err != nil {
		return Report{}, fmt.Errorf("%w: %w", ErrForm, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Report{}, fmt.Errorf("more than one value: %w", ErrForm)
	}
	return r, r.Validate()
}

// ErrForm: the bytes are not one report.
var ErrForm = errors.New("not a device report")

// Validate applies the rules of [Parse] to a report made in Go.
func (r Report) Validate() error {
	switch {
	case r.Version != Version:
		return &events.FieldError{Field: "version", Problem: fmt.Sprintf("must be %d", Version)}
	case r.Sequence < 1:
		return &events.FieldError{Field: "sequence", Problem: "must be 1 or more"}
	case !goodTime(r.CollectedAt):
		return &events.FieldError{Field: "collectedAt", Problem: "must be a time of the years 2000 to 9999"}
	case r.Edition != "" && !wordPattern.MatchString(r.Edition):
		return &events.FieldError{Field: "edition", Problem: "must be a name such as Enterprise"}
	case r.OSVersion != "" && !versionPattern.MatchString(r.OSVersion):
		return &events.FieldError{Field: "osVersion", Problem: "must be numbers with dots"}
	case len(r.Status) > MaxStatus:
		return &events.FieldError{Field: "dsregcmd", Problem: fmt.Sprintf("must be text of at most %d bytes", MaxStatus)}
	case len(r.Registry) > MaxRegistry, len(r.Events) > MaxEvents, len(r.Resets) > MaxResets, len(r.LockScreen) > MaxLimits:
		return &events.FieldError{Field: "registry, events, pinResets or lockScreen", Problem: "has too many entries"}
	}
	if err := events.CheckText("agent", r.Agent, maxText, false); err != nil {
		return err
	}
	for i, v := range r.Registry {
		if err := v.validate(fmt.Sprintf("registry[%d]", i)); err != nil {
			return err
		}
	}
	for i, e := range r.Events {
		if !goodTime(e.At) || e.ID < 1 || e.ID > 65535 {
			return &events.FieldError{Field: fmt.Sprintf("events[%d]", i), Problem: "needs an id of 1 to 65535 and a time"}
		}
		if err := events.CheckText(fmt.Sprintf("events[%d].log", i), e.Log, maxText, true); err != nil {
			return err
		}
	}
	for i, p := range r.Resets {
		if err := p.validate(fmt.Sprintf("pinResets[%d]", i)); err != nil {
			return err
		}
	}
	for i, l := range r.LockScreen {
		if !wordPattern.MatchString(l.ID) || l.Holds != Yes && l.Holds != No {
			return &events.FieldError{Field: fmt.Sprintf("lockScreen[%d]", i), Problem: `needs an id, and "yes" or "no"`}
		}
	}
	for field, told := range map[string]Told{"domainController": r.DomainController, "federation": r.Federation} {
		if told != "" && told != Yes && told != No {
			return &events.FieldError{Field: field, Problem: `must be "yes" or "no"`}
		}
	}
	return nil
}

func (v Value) validate(field string) error {
	switch {
	case !keyPattern().MatchString(v.Key):
		return &events.FieldError{Field: field + ".key", Problem: `must begin with HKLM\, HKCU\ or HKU\`}
	case v.State != Set && v.State != Absent && v.State != Denied:
		return &events.FieldError{Field: field + ".state", Problem: "must be set, absent or denied"}
	case v.State != Set && v.Data != "":
		return &events.FieldError{Field: field + ".data", Problem: "is only for a value that is set"}
	}
	if err := events.CheckText(field+".name", v.Name, maxText, true); err != nil {
		return err
	}
	return events.CheckText(field+".data", v.Data, maxValue, false)
}

func (p PINReset) validate(field string) error {
	switch {
	case !goodTime(p.At):
		return &events.FieldError{Field: field + ".at", Problem: "must be a time"}
	case p.Outcome != Succeeded && p.Outcome != Failed:
		return &events.FieldError{Field: field + ".outcome", Problem: "must be succeeded or failed"}
	case p.Kind != "" && p.Kind != NonDestructive && p.Kind != Destructive:
		return &events.FieldError{Field: field + ".kind", Problem: "must be non-destructive or destructive"}
	case p.Outcome == Succeeded && p.Code != "":
		return &events.FieldError{Field: field + ".code", Problem: "is only for a failure"}
	}
	return events.CheckText(field+".code", p.Code, maxText, false)
}

func goodTime(t time.Time) bool { return t.UTC().Year() >= 2000 && t.UTC().Year() <= 9999 }

// same compares keys and names of the registry.
func same(a, b string) bool { return strings.EqualFold(a, b) }
