package desk

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Offboarding asks to end the care for a tenant.
type Offboarding struct {
	Confirm     string `json:"confirm" doc:"The tenant's id again"`
	LeavePolicy bool   `json:"leavePolicy,omitempty" doc:"Offboard although a rollout stands; its policy stays on, and taking consent away then would break PIN resets"`
	Reason      string `json:"reason" doc:"Why, for the audit log; at most 500 characters"`
}

// Offboarded says what was erased.
type Offboarded struct {
	Rows     int `json:"rows" doc:"Rows erased: settings, consent, devices, resets, failures, the audit log"`
	Messages int `json:"messages" doc:"Messages erased, waiting and done"`
	Keys     int `json:"keys" doc:"Keys of codes destroyed"`
	Tokens   int `json:"tokens" doc:"Tokens revoked, or narrowed to their other tenants"`
	Left     int `json:"left" doc:"Rows of the tenant found afterwards; 0, or it is an error"`
}

// Offboard erases all that is kept of the tenant: nothing of it is left but the entry of the system's own log, which names its
// id. Nothing is written to its directory or its devices; what an administrator there consented to stays until it is taken
// back there. While a rollout stands it is refused, unless that is asked for: its policy would stay on with nobody to look after
// it. It is to be rolled back first, which writes false and gives devices time. It may be repeated until it has succeeded: the register's entry, without which nobody can enter the room, goes
// after everything else.
func (r *Room) Offboard(ctx context.Context, in Offboarding) (done Offboarded, err error) {
	if err := needEverywhere(r.who, identity.TenantOnboard); err != nil {
		return done, err
	}
	if strings.ToLower(in.Confirm) != r.ID() {
		return done, invalid("body.confirm", "must be the tenant's id")
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return done, err
	}
	d := r.desk
	if d.o.Eraser == nil || d.o.Keys == nil {
		return done, problem.Refuse(fault.Unavailable, "This store can't erase a tenant.")
	}
	if err := r.noRollout(ctx, in.LeavePolicy); err != nil {
		return done, err
	}
	// Recorded before it is begun: what is erased can't tell any more that it was.
	if err := r.recordOffboarding(ctx, map[string]string{"state": "begun"}, in.Reason); err != nil {
		return done, err
	}
	if done.Tokens, err = r.forgetTokens(ctx); err != nil {
		return done, err
	}
	// Keys first: from here on no code opens, whatever else fails.
	if done.Keys, _, err = d.o.Keys.ErasePartition(ctx, r.ID()); err != nil {
		return done, fmt.Errorf("erase keys of %s: %w", r.ID(), err)
	}
	if err := r.erase(ctx, &done); err != nil {
		return done, err
	}
	if err := r.unregister(ctx); err != nil {
		return done, err
	}
	// Requests that were in the room, and runs at work, may have written since: nobody enters it now, so the second pass is
	// the last.
	if err := r.erase(ctx, &done); err != nil {
		return done, err
	}
	more, _, err := d.o.Keys.ErasePartition(ctx, r.ID())
	if err != nil {
		return done, fmt.Errorf("erase keys of %s: %w", r.ID(), err)
	}
	done.Keys += more
	left, err := d.o.Store.List(ctx, work.Query{Partition: r.ID()})
	if err != nil {
		return done, err
	}
	if done.Left = len(left.Rows); done.Left > 0 {
		return done, fmt.Errorf("offboard %s: %d rows are left", r.ID(), done.Left)
	}
	return done, r.recordOffboarding(ctx, map[string]string{
		"state": "done", "rows": strconv.Itoa(done.Rows), "messages": strconv.Itoa(done.Messages),
		"keys": strconv.Itoa(done.Keys), "tokens": strconv.Itoa(done.Tokens),
	}, in.Reason)
}

// noRollout refuses while a rollout stands, or is being written or taken back, unless its policy is to be left.
func (r *Room) noRollout(ctx context.Context, leave bool) error {
	if leave {
		return nil
	}
	u := r.unit()
	standing, err := rollout.Current(ctx, u)
	if errors.Is(err, work.ErrNotFound) {
		standing, err = rollout.Holder(ctx, u)
	}
	switch {
	case err != nil:
		return err
	case standing.ID == "":
		return nil
	}
	return problem.Refuse(fault.StateConflict, "Rollout "+standing.ID+" is "+string(standing.State)+
		": roll it back first, which writes false and gives devices time, or ask to leave the policy.")
}

func (r *Room) recordOffboarding(ctx context.Context, change map[string]string, reason string) error {
	change["tenant"] = r.ID()
	return r.desk.change(ctx, dispatch.SystemPartition, func(u *work.Unit) error {
		return audit.Append(u, audit.Entry{Actor: r.who.Operator(), Action: audit.TenantOffboarded, Reason: reason, Change: change})
	})
}

func (r *Room) erase(ctx context.Context, done *Offboarded) error {
	rows, messages, err := r.desk.o.Eraser.ErasePartition(ctx, r.ID())
	if err != nil {
		return fmt.Errorf("erase %s: %w", r.ID(), err)
	}
	done.Rows, done.Messages = done.Rows+rows, done.Messages+messages
	return nil
}

func (r *Room) forgetTokens(ctx context.Context) (n int, err error) {
	for page := ""; ; {
		tokens, next, err := r.desk.o.Tokens.List(ctx, 0, page)
		if err != nil {
			return n, err
		}
		for _, t := range tokens {
			changed := false
			err := r.desk.change(ctx, identity.Partition, func(u *work.Unit) (err error) {
				changed, err = r.desk.o.Tokens.Forget(ctx, u, t.ID, r.ID(), r.who.Operator())
				return err
			})
			if err != nil && !errors.Is(err, work.ErrNotFound) {
				return n, err
			}
			if changed {
				n++
			}
		}
		if page = next; page == "" {
			return n, nil
		}
	}
}

// unregister takes the tenant's entry from the register, and the answers to requests that were about it.
func (r *Room) unregister(ctx context.Context) error {
	for page := ""; ; {
		p, err := r.desk.o.Store.List(ctx, work.Query{Partition: tenant.Partition, Page: page})
		if err != nil {
			return err
		}
		for _, row := range p.Rows {
			if events.IsGUID(row.Row) || !strings.Contains(string(row.Value), r.ID()) {
				continue
			}
			b := work.Batch{Partition: tenant.Partition, Writes: []work.Write{{Row: row.Row, Delete: true}}}
			if err := r.desk.o.Store.Commit(ctx, b); err != nil {
				return err
			}
		}
		if page = p.Next; page == "" {
			break
		}
	}
	b := work.Batch{Partition: tenant.Partition, Writes: []work.Write{{Row: r.ID(), Delete: true}}}
	if err := r.desk.o.Store.Commit(ctx, b); err != nil {
		return fmt.Errorf("take %s from the register: %w", r.ID(), err)
	}
	return nil
}
