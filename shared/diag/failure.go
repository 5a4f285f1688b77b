package diag

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Row prefixes in a tenant's partition.
const (
	AttemptPrefix = "attempt|" // attempt|{request}|{id}: in the order they happened
	FailurePrefix = "failure|" // newest first
	LetterPrefix  = "deadletter|"
	EventPrefix   = "event|" // what was announced, newest first
	PagePrefix    = "diag|"  // diag|{id}: look-up of a failure by its diagnostics id
)

// Attempt is one run of a handler, as stored.
type Attempt struct {
	RequestID    string    `json:"requestId"`
	Function     string    `json:"function"`
	Kind         string    `json:"kind"`
	MessageID    string    `json:"messageId"`
	Delivery     int       `json:"delivery"`
	QueuedAt     time.Time `json:"queuedAt"`
	StartedAt    time.Time `json:"startedAt"`
	Milliseconds float64   `json:"milliseconds"`
	Verdict      string    `json:"verdict"`          // done, waiting, failed, retry
	Code         string    `json:"code,omitempty"`   // of a verdict with one
	Detail       string    `json:"detail,omitempty"` // the error's text
	Steps        []Step    `json:"steps,omitempty"`
	Dropped      int       `json:"dropped,omitempty"` // steps beyond MaxSteps
}

// Failure is a request that ended without its result.
type Failure struct {
	ID         string     `json:"id"` // diagnostics id: short, to be read aloud; not a credential
	RequestID  string     `json:"requestId"`
	Function   string     `json:"function"`
	Kind       string     `json:"kind"`
	DeviceID   string     `json:"deviceId,omitempty"`
	Code       fault.Code `json:"code"`
	Detail     string     `json:"detail,omitempty"`
	At         time.Time  `json:"at"`
	DeadLetter string     `json:"deadLetter,omitempty"` // id of the dead letter, where the message was set aside
}

// DeadLetter is a message that was set aside.
type DeadLetter struct {
	ID          string     `json:"id"`
	Queue       work.Queue `json:"queue"`
	MessageID   string     `json:"messageId"`
	RequestID   string     `json:"requestId,omitempty"`
	Kind        string     `json:"kind,omitempty"`
	Reason      fault.Code `json:"reason"`
	Detail      string     `json:"detail"`
	Deliveries  int        `json:"deliveries"`
	At          time.Time  `json:"at"`
	Diagnostics string     `json:"diagnostics"`
	Body        []byte     `json:"body"`
}

// alphabet has no characters that are mistaken for each other when read aloud or copied.
const alphabet = "2346789BCDFGHJKMPQRTVWXY"

// IDFor returns the diagnostics id of a request: the same for the same request, so that a failure recorded twice is one.
func IDFor(tenant, request string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + request))
	id := make([]byte, 8)
	for i := range id {
		id[i] = alphabet[(int(sum[2*i])<<8|int(sum[2*i+1]))%len(alphabet)]
	}
	return string(id)
}

// Link is where the failure's page and its JSON form are, below the server's own address.
func Link(tenant, id string) string { return "/tenants/" + tenant + "/diag/" + id }

// AppendAttempt stages the record of a run.
func AppendAttempt(u *work.Unit, a Attempt) error {
	return u.Put(AttemptPrefix+a.RequestID+"|"+u.NewID(), a)
}

// Keep stages a failure with its page and no event: of something that was found for a request beside its result. about tells apart what
// was found for the same request.
func Keep(u *work.Unit, about string, f Failure) (Failure, error) {
	f.ID, f.At = IDFor(u.Partition(), f.RequestID+" "+about), u.Now()
	if err := u.Put(PagePrefix+f.ID, f); err != nil {
		return f, err
	}
	return f, u.Put(FailurePrefix+work.Descending(u.NewID()), f)
}

// Raise stages the failure and its event. The caller sets everything but the id and the time.
func Raise(ctx context.Context, u *work.Unit, f Failure) (Failure, error) {
	f.ID, f.At = IDFor(u.Partition(), f.RequestID), u.Now()
	if err := u.Put(PagePrefix+f.ID, f); err != nil {
		return f, err
	}
	if err := u.Put(FailurePrefix+work.Descending(u.NewID()), f); err != nil {
		return f, err
	}
	entry := fault.Lookup(f.Code)
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.FailureRaised{
		RequestID: f.RequestID, Function: f.Function, DeviceID: f.DeviceID, Code: string(f.Code),
		Title: entry.Title, Cause: entry.Cause, Fix: entry.Fix, LearnMore: entry.LearnMore,
		Diagnostics: Link(u.Partition(), f.ID),
	})
	return f, err
}

// Page is everything a person needs to understand a failure.
type Page struct {
	Failure
	Tenant    string    `json:"tenant"`
	Link      string    `json:"link"`
	Title     string    `json:"title"`
	Cause     string    `json:"cause"`
	Fix       []string  `json:"fix"`
	LearnMore []string  `json:"learnMore"`
	Timeline  []Attempt `json:"timeline"`
	// Truncated says that the timeline has more attempts than the page shows: the first and the last ones are here.
	Truncated bool `json:"truncated,omitempty"`
}

// Attempts shown on a page at each end of a long timeline.
const shownEnds = 60

// Load builds the page of a diagnostics id, or returns work.ErrNotFound.
func Load(ctx context.Context, s work.Store, tenant, id string) (Page, error) {
	var f Failure
	row, err := s.Get(ctx, work.Key{Partition: tenant, Row: PagePrefix + id})
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Page{}, fmt.Errorf("read diagnostics %s: %w", id, err)
	}
	if err := json.Unmarshal(row.Value, &f); err != nil {
		return Page{}, fmt.Errorf("decode diagnostics %s: %w", id, err)
	}
	timeline, err := Timeline(ctx, s, tenant, f.RequestID)
	if err != nil {
		return Page{}, err
	}
	e := fault.Lookup(f.Code)
	p := Page{
		Failure: f, Tenant: tenant, Link: Link(tenant, f.ID),
		Title: e.Title, Cause: e.Cause, Fix: e.Fix, LearnMore: e.LearnMore, Timeline: timeline,
	}
	if len(timeline) > 2*shownEnds {
		p.Timeline = slices.Concat(timeline[:shownEnds], timeline[len(timeline)-shownEnds:])
		p.Truncated = true
	}
	return p, nil
}

// Timeline returns the attempts of a request in the order they happened.
func Timeline(ctx context.Context, s work.Store, tenant, request string) ([]Attempt, error) {
	var attempts []Attempt
	q := work.Query{Partition: tenant, Prefix: AttemptPrefix + request + "|", Limit: 500}
	for {
		p, err := s.List(ctx, q)
		if err != nil {
			return nil, fmt.Errorf("list attempts of %s: %w", request, err)
		}
		for _, row := range p.Rows {
			var a Attempt
			if err := json.Unmarshal(row.Value, &a); err != nil {
				return nil, fmt.Errorf("decode %s: %w", row.Row, err)
			}
			attempts = append(attempts, a)
		}
		if q.Page = p.Next; q.Page == "" {
			return attempts, nil
		}
	}
}
