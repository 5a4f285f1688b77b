// Package budget bounds how many resets a person starts and how many codes a person sees in a tenant, within an hour and within a day.
//
// What was spent is a row of the tenant's partition. It is written in the commit of what it was spent on, so that of two that are
// spent at once one is counted first, a commit that fails spends nothing, and there is no effect that was not counted. A person who
// works for several tenants has a budget in each.
//
// A budget does not say who is a person and how much is right: the caller does.
package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
)

// Prefix is the row prefix of what was spent. The rows' field "expiresAt" says from when on they may be deleted.
const Prefix = "budget|"

const (
	hour = time.Hour
	day  = 24 * time.Hour
)

// Kind is what is counted. Kinds are counted apart.
type Kind string

// Kinds.
const (
	Resets  Kind = "resets"
	Reveals Kind = "reveals"
)

// Limits are how many are allowed in any hour and in any 24 hours.
type Limits struct{ Hour, Day int }

// Exceeded is the error of a budget that is spent.
type Exceeded struct {
	Kind Kind
	Free time.Duration // until one is free again
}

func (e *Exceeded) Error() string { return fmt.Sprintf("budget of %s is spent", e.Kind) }

type spending struct {
	Times     []time.Time `json:"times"` // of the last day, oldest first
	ToldAt    time.Time   `json:"toldAt,omitzero"`
	ExpiresAt time.Time   `json:"expiresAt"`
}

// row is that of somebody's spending. The id is an actor's.
func row(kind Kind, who string) string { return Prefix + string(kind) + "|" + who }

func read(ctx context.Context, u *work.Unit, kind Kind, who string) (spending, error) {
	var s spending
	if err := u.Get(ctx, row(kind, who), &s); err != nil && !errors.Is(err, work.ErrNotFound) {
		return s, fmt.Errorf("read budget of %s: %w", who, err)
	}
	for len(s.Times) > 0 && u.Now().Sub(s.Times[0]) >= day {
		s.Times = s.Times[1:]
	}
	return s, nil
}

// Spend stages one of a kind as spent, or returns an *[Exceeded] and stages nothing.
func Spend(ctx context.Context, u *work.Unit, kind Kind, who string, limits Limits) error {
	s, err := read(ctx, u, kind, who)
	if err != nil {
		return err
	}
	free := max(until(s.Times, limits.Hour, hour, u.Now()), until(s.Times, limits.Day, day, u.Now()))
	if free > 0 {
		return &Exceeded{Kind: kind, Free: free}
	}
	s.Times = append(s.Times, u.Now())
	s.ExpiresAt = u.Now().Add(day)
	return u.Put(row(kind, who), s)
}

// until is how long it takes until fewer than limit of the times are within the window: 0 when they are now.
func until(times []time.Time, limit int, window time.Duration, now time.Time) time.Duration {
	if len(times) < limit {
		return 0
	}
	return max(0, window-now.Sub(times[len(times)-limit]))
}

// Tell reports whether somebody is to be told that the budget is spent, and stages that it was done: once an hour is enough.
func Tell(ctx context.Context, u *work.Unit, kind Kind, by events.Actor) (bool, error) {
	s, err := read(ctx, u, kind, by.ID)
	if err != nil || !s.ToldAt.IsZero() && u.Now().Sub(s.ToldAt) < hour {
		return false, err
	}
	s.ToldAt, s.ExpiresAt = u.Now(), u.Now().Add(day)
	return true, u.Put(row(kind, by.ID), s)
}
