package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// RunPrefix is the row prefix of runs, in the register's partition; they list newest first.
const RunPrefix = "auditrun|"

// pageOfRun is how many tenants one commit of a run sends messages to, below the limits of one transaction.
const pageOfRun = 80

// Run is an audit of every tenant of the register: one bulk message for each that is in Entra. It is sent a page at a time, and each page's
// messages are committed together with the place in the register, so a crash between two pages loses nothing and repeats
// nothing. Messages have ids made of the run's: whoever sends a page twice adds nothing.
type Run struct {
	ID      string       `json:"id"`
	Cause   string       `json:"cause"`
	Reason  string       `json:"reason,omitempty"`
	By      events.Actor `json:"by"`
	At      time.Time    `json:"at"`
	Page    string       `json:"page,omitempty"` // where in the register to go on
	Tenants int          `json:"tenants"`        // that have got their message
	Sent    bool         `json:"sent"`           // to all of them
}

func runRow(id string) string { return RunPrefix + work.Descending(id) }

// StartRun stages a run on a unit of the register. One that is there already makes the commit fail with work.ErrConflict.
func StartRun(u *work.Unit, id, cause, reason string, by events.Actor) (Run, error) {
	r := Run{ID: id, Cause: cause, Reason: reason, By: by, At: u.Now()}
	return r, u.Create(runRow(id), r)
}

// ReadRun returns a run, or work.ErrNotFound. The unit is one of the register.
func ReadRun(ctx context.Context, u *work.Unit, id string) (Run, error) {
	var r Run
	err := u.Get(ctx, runRow(id), &r)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	return r, err
}

// Runs returns a page of the runs, newest first.
func Runs(ctx context.Context, s work.Store, limit int, page string) (runs []Run, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant.Partition, Prefix: RunPrefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list audit runs: %w", err)
	}
	for _, row := range p.Rows {
		var r Run
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		runs = append(runs, r)
	}
	return runs, p.Next, nil
}

// Send stages the messages of the run's next page and its new place, on a unit of the register. It does nothing for a run that
// is sent.
func Send(ctx context.Context, s work.Store, u *work.Unit, id string) (Run, error) {
	r, err := ReadRun(ctx, u, id)
	if err != nil || r.Sent {
		return r, err
	}
	tenants, next, err := tenant.List(ctx, s, pageOfRun, r.Page)
	if errors.Is(err, work.ErrBadPage) {
		// The store gives out other tokens now: from the beginning. Who has got the message already gets no second one.
		r.Tenants = 0
		tenants, next, err = tenant.List(ctx, s, pageOfRun, "")
	}
	if err != nil {
		return r, err
	}
	for _, t := range tenants {
		if t.InEntra() != nil {
			continue // there is nothing to read in Graph
		}
		r.Tenants++
		err := u.Forward(Queue.Bulk(), time.Time{}, events.Event{ID: "audit." + r.ID, Tenant: t.ID, Time: u.Now(), TraceParent: events.TraceFrom(ctx),
			Data: events.TenantAuditRequested{RequestID: r.ID, Cause: r.Cause, RunID: r.ID, Reason: r.Reason, By: r.By}})
		if err != nil {
			return r, err
		}
	}
	r.Page, r.Sent = next, next == ""
	return r, u.Put(runRow(r.ID), r)
}
