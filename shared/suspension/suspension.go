// Package suspension stops somebody who asks for resets and codes faster than any work explains, for one tenant, until somebody who
// administers it lets the person go on.
//
// A budget (package budget) refuses what is too much and frees itself with time. Whoever goes on asking all the same, or whose budget is
// large and is used at once, is stopped here: what is counted are the resets and codes that were asked for, those that the budget
// refused too, together and within a window. A suspension ends by nothing but [Lift].
//
// It does not say who administers a tenant, nor what a suspended person may not do: its callers do.
package suspension

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

const (
	// Prefix is the row prefix of suspensions. Those that were lifted have a field "endedAt".
	Prefix = "suspended|"
	// PacePrefix is the row prefix of what was counted. Its rows have a field "expiresAt".
	PacePrefix = "pace|"
)

// Rate is what is suspicious: more than Above within the window.
type Rate struct {
	Above  int
	Within time.Duration
}

// Suspension is one person's, in one tenant; the last one, where there were several.
type Suspension struct {
	Who      events.Actor  `json:"who"`
	At       time.Time     `json:"at"`
	Asked    int           `json:"asked"` // so many
	Within   time.Duration `json:"within"`
	EndedAt  time.Time     `json:"endedAt,omitzero"`
	LiftedBy *events.Actor `json:"liftedBy,omitempty"`
}

// Active reports whether the person is stopped.
func (s Suspension) Active() bool { return !s.At.IsZero() && s.EndedAt.IsZero() }

// ErrTooFast: one more would be more than the rate; see [Suspend].
var ErrTooFast = errors.New("asked for more than any work explains")

type pace struct {
	Times     []time.Time `json:"times"` // within the window, oldest first
	ExpiresAt time.Time   `json:"expiresAt"`
}

// Count stages one more that somebody asked for, or returns ErrTooFast and stages nothing.
func Count(ctx context.Context, u *work.Unit, who string, r Rate) error {
	row := PacePrefix + who
	var p pace
	if err := u.Get(ctx, row, &p); err != nil && !errors.Is(err, work.ErrNotFound) {
		return fmt.Errorf("read pace of %s: %w", who, err)
	}
	for len(p.Times) > 0 && u.Now().Sub(p.Times[0]) >= r.Within {
		p.Times = p.Times[1:]
	}
	if len(p.Times) >= r.Above {
		return ErrTooFast
	}
	p.Times, p.ExpiresAt = append(p.Times, u.Now()), u.Now().Add(r.Within)
	return u.Put(row, p)
}

// Read returns the person's suspension in the unit's tenant; one who was never suspended has none.
func Read(ctx context.Context, u *work.Unit, who string) (Suspension, error) {
	var s Suspension
	err := u.Get(ctx, Prefix+who, &s)
	if errors.Is(err, work.ErrNotFound) || errors.Is(err, work.ErrBadKey) {
		return Suspension{}, nil
	}
	if err != nil {
		return Suspension{}, fmt.Errorf("read suspension of %s: %w", who, err)
	}
	return s, nil
}

// Suspend stages the suspension, its audit entry, and the failure that tells of it. Whoever is suspended already stays so, and nobody is
// told again.
func Suspend(ctx context.Context, u *work.Unit, who events.Actor, r Rate) error {
	s, err := Read(ctx, u, who.ID)
	if err != nil || s.Active() {
		return err
	}
	s = Suspension{Who: who, At: u.Now(), Asked: r.Above + 1, Within: r.Within}
	id := u.NewID()
	_, err = diag.Raise(ctx, u, diag.Failure{
		RequestID: id, Function: "web", Code: fault.PersonSuspended,
		Detail: fmt.Sprintf("%s (%s) asked for more than %d resets and codes within %d minutes.", who.Name, who.ID, r.Above, r.Within/time.Minute),
	})
	return errors.Join(err, u.Put(Prefix+who.ID, s), audit.Append(u, audit.Entry{
		Actor: events.Pinreset(), Action: audit.PersonSuspended, RequestID: id,
		Change: map[string]string{"person": who.ID, "name": who.Name, "asked": strconv.Itoa(s.Asked), "minutes": strconv.Itoa(int(r.Within / time.Minute))},
	}))
}

// Lift stages the end of a suspension, and what was counted is forgotten. It is work.ErrNotFound where the person is not suspended.
func Lift(ctx context.Context, u *work.Unit, who, reason string, by events.Actor) (Suspension, error) {
	s, err := Read(ctx, u, who)
	if err != nil {
		return s, err
	}
	if !s.Active() {
		return s, fmt.Errorf("lift suspension of %s: %w", who, work.ErrNotFound)
	}
	s.EndedAt, s.LiftedBy = u.Now(), &by
	u.Delete(PacePrefix + who)
	return s, errors.Join(u.Put(Prefix+who, s), audit.Append(u, audit.Entry{
		Actor: by, Action: audit.SuspensionLifted, Reason: reason, Change: map[string]string{"person": who, "name": s.Who.Name},
	}))
}

// List returns a page of a tenant's suspensions, those that were lifted included.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (all []Suspension, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list suspensions of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var one Suspension
		if err := json.Unmarshal(row.Value, &one); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		all = append(all, one)
	}
	return all, p.Next, nil
}
