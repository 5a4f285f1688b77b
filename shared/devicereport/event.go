package devicereport

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Logs that tell of PIN reset.
const (
	HelloLog        = "Microsoft-Windows-HelloForBusiness/Operational"
	RegistrationLog = "Microsoft-Windows-User Device Registration/Admin"
)

// Numbers of events. All tell that something begins; those that tell how a recovery ended are not known.
const (
	eventRecoveryKey   = 3060 // HelloLog: a PIN recovery key is being made for the user
	eventRecovery      = 3130 // HelloLog: PIN recovery is attempting to change the user's PIN
	eventNewContainer  = 3555 // HelloLog: a container is being made
	eventContainerGone = 3611 // HelloLog: a container is being deleted
	eventKeyRegistered = 300  // RegistrationLog: a key was registered
)

// EventIDs are the numbers of a log that an agent is to report.
func EventIDs(log string) []int {
	switch log {
	case HelloLog:
		return []int{eventRecoveryKey, eventRecovery, eventNewContainer, eventContainerGone}
	case RegistrationLog:
		return []int{eventKeyRegistered, 301, 360, 362}
	}
	return nil
}

// window is how long one reset may take: the user signs in, with a second factor, between its first and its last event.
const window = 15 * time.Minute

// Trace is what the events tell of one PIN reset.
type Trace struct {
	At   time.Time // of its first event
	Kind Kind      // "" where the events fit neither
}

// Traces finds PIN resets in events. A recovery (3130) without a deleted container (3611), a new one (3555) or a registered key
// (300) within a quarter of an hour keeps the keys. All three together destroyed and made them anew. Anything between tells only
// that a reset was begun. Microsoft documents none of this; administrators have seen it so.
func Traces(all []Event) []Trace {
	all = slices.SortedStableFunc(slices.Values(all), func(a, b Event) int { return a.At.Compare(b.At) })
	var traces []Trace
	var until time.Time
	for _, first := range all {
		starts := first.is(HelloLog, eventRecovery) || first.is(HelloLog, eventContainerGone)
		if !starts || first.At.Before(until) {
			continue
		}
		until = first.At.Add(window)
		has := func(log string, id int) bool {
			return slices.ContainsFunc(all, func(e Event) bool {
				return e.is(log, id) && !e.At.Before(first.At) && e.At.Before(until)
			})
		}
		gone, made, key := has(HelloLog, eventContainerGone), has(HelloLog, eventNewContainer), has(RegistrationLog, eventKeyRegistered)
		switch {
		case gone && made && key:
			traces = append(traces, Trace{first.At, Destructive})
		case !gone && !made && !key:
			traces = append(traces, Trace{first.At, NonDestructive})
		case has(HelloLog, eventRecovery):
			traces = append(traces, Trace{first.At, ""})
		}
	}
	return traces
}

// Enrolled reports whether the events tell that a recovery key was begun for the user.
func Enrolled(all []Event) bool {
	return slices.ContainsFunc(all, func(e Event) bool { return e.is(HelloLog, eventRecoveryKey) })
}

func (e Event) is(log string, id int) bool { return e.ID == id && strings.EqualFold(e.Log, log) }

// ParseEvents reads what `wevtutil query-events LOG /format:xml` prints: one Event element after another, without a root.
func ParseEvents(log string, raw []byte) ([]Event, error) {
	d := xml.NewDecoder(strings.NewReader(Text(raw)))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // it is UTF-8 by now, whatever it says
	var all []Event
	for {
		var e struct {
			XMLName xml.Name `xml:"Event"`
			System  struct {
				EventID     int
				TimeCreated struct {
					SystemTime time.Time `xml:"SystemTime,attr"`
				}
			}
		}
		err := d.Decode(&e)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read events of %s: %w", log, err)
		}
		all = append(all, Event{Log: log, ID: e.System.EventID, At: e.System.TimeCreated.SystemTime.UTC()})
	}
}
