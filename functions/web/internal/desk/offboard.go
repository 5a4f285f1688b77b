package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/rollout"
	"pinreset/shared/subscription"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Offboarding asks to end the care for a tenant.
type Offboarding struct {
	Confirm     string `json:"confirm" doc:"The tenant's id again"`
	LeavePolicy bool   `json:"leavePolicy,omitempty" doc:"Do not write false to the policy of a rollout that stands; it stays on, and taking consent away then would break PIN resets"`
	Reason      string `json:"reason" doc:"Why, for the audit log; at most 500 characters"`
}

// States of an offboarding.
const (
	OffboardErased      = "erased"
	OffboardWithdrawing = "withdrawing"
)

// Offboarded says what was erased, or that a rollout is taken back first.
type Offboarded struct {
	State         string `json:"state" enum:"erased,withdrawing" doc:"withdrawing: nothing is erased yet; ask again once the rollout's rollback has written false"`
	Rollout       string `json:"rollout,omitempty" doc:"The rollout that is being taken back"`
	Rows          int    `json:"rows" doc:"Rows erased: settings, consent, devices, resets, failures, the audit log"`
	Messages      int    `json:"messages" doc:"Messages erased, waiting and done"`
	Keys          int    `json:"keys" doc:"Keys of codes destroyed"`
	Tokens        int    `json:"tokens" doc:"Tokens revoked, or narrowed to their other tenants"`
	Subscriptions int    `json:"subscriptions" doc:"Subscriptions to change notifications that were ended at Graph"`
	Unended       int    `json:"unended" doc:"Subscriptions that Graph could not be asked to end; they end by themselves within a month"`
	Left          int    `json:"left" doc:"Rows of the tenant found afterwards; 0, or it is an error"`
}

// Offboard erases all that is kept of the tenant: nothing of it is left but the entry of the system's own log, which names its
// id. What an administrator of the tenant consented to stays until it is taken back there. While a rollout stands nothing is
// erased, unless its policy is to be left on: its rollback is started instead, which writes false to the policy, and the answer
// says so with status 202. The policy and its assignments stay then, with the value false, because devices keep true where they
// only lose the assignment. Nothing else is written to devices. It may be repeated until it has succeeded: the register's entry,
// without which nobody can enter the room, goes after everything else.
func (r *Room) Offboard(ctx context.Context, in Offboarding) (Answer[Offboarded], error) {
	var none Answer[Offboarded]
	if err := needEverywhere(r.who, identity.TenantOnboard); err != nil {
		return none, err
	}
	if strings.ToLower(in.Confirm) != r.ID() {
		return none, invalid("body.confirm", "must be the tenant's id")
	}
	if err := checkWhy(in.Reason, "", true); err != nil {
		return none, err
	}
	if r.desk.o.Eraser == nil || r.desk.o.Keys == nil {
		return none, problem.Refuse(fault.Unavailable, "This store can't erase a tenant.")
	}
	if !in.LeavePolicy {
		id, err := r.falseFirst(ctx, in.Reason)
		if err != nil {
			return none, err
		}
		if id != "" {
			return Answer[Offboarded]{Status: http.StatusAccepted, Location: r.rolloutPath(id), Body: Offboarded{State: OffboardWithdrawing, Rollout: id}}, nil
		}
	}
	done, err := r.eraseAll(ctx, in.Reason)
	if err != nil {
		return none, err
	}
	return Answer[Offboarded]{Status: http.StatusOK, Body: done}, nil
}

func (r *Room) eraseAll(ctx context.Context, reason string) (done Offboarded, err error) {
	d := r.desk
	done.State = OffboardErased
	// Recorded before it is begun: what is erased can't tell any more that it was.
	if err := r.recordOffboarding(ctx, map[string]string{"state": "begun"}, reason); err != nil {
		return done, err
	}
	if done.Tokens, err = r.forgetTokens(ctx); err != nil {
		return done, err
	}
	if _, err := d.o.People.Forget(ctx, r.ID()); err != nil {
		return done, err
	}
	if err := r.unsubscribe(ctx, &done); err != nil {
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
		"subscriptions": strconv.Itoa(done.Subscriptions), "unended": strconv.Itoa(done.Unended),
	}, reason)
}

// unsubscribe ends the tenant's change notifications at Graph. That one can't be ended holds nothing up: the consent may be gone, and
// it runs out by itself.
func (r *Room) unsubscribe(ctx context.Context, done *Offboarded) error {
	all, err := subscription.List(ctx, r.unit())
	if err != nil {
		return err
	}
	done.Subscriptions, done.Unended = 0, 0
	for _, s := range all {
		if s.ID == "" || r.desk.o.Subscriptions == nil {
			done.Unended++
			continue
		}
		if err := r.desk.o.Subscriptions.Unsubscribe(ctx, r.ID(), s.ID); err != nil && !errors.Is(err, graph.ErrNotFound) {
			if ctx.Err() != nil {
				return err
			}
			problem.Note(ctx, err)
			done.Unended++
			continue
		}
		done.Subscriptions++
	}
	return nil
}

// falseFirst sees to it that no policy of a rollout stays on: it starts the rollback of the rollout that stands, and gives the
// rollout's id until false was written and read back. From then on nothing more is to be done here. The assignments are left
// alone, because a device that is off now takes the false from them at its next contact.
func (r *Room) falseFirst(ctx context.Context, reason string) (id string, err error) {
	err = r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		id = ""
		standing, err := rollout.Holder(ctx, u)
		if err == nil && standing.ID == "" {
			standing, err = rollout.Current(ctx, u)
		}
		switch {
		case errors.Is(err, work.ErrNotFound):
			return nil
		case err != nil:
			return err
		case standing.State == rollout.Withdrawing && !standing.Rollback.FalseAt.IsZero():
			return nil
		case standing.State == rollout.Withdrawing:
			id = standing.ID
			return nil
		case standing.Writing():
			return problem.Refuse(fault.StateConflict, "Rollout "+standing.ID+" is "+string(standing.State)+
				": wait until its policy is in place, or ask to leave the policy.")
		}
		if err := r.Need(identity.PolicyWrite); err != nil {
			return err
		}
		asked := events.PolicyRollbackRequested{RequestID: u.NewID(), RolloutID: standing.ID, Reason: reason, By: r.who.Operator()}
		switch _, err := rollout.Withdraw(ctx, u, asked); {
		case errors.Is(err, rollout.ErrNothing):
			return nil
		case err != nil:
			return err
		}
		id = standing.ID
		_, err = u.Send(ctx, rollout.Queue, time.Time{}, asked)
		return err
	})
	if errors.Is(err, rollout.ErrBusy) {
		return "", problem.Refuse(fault.StateConflict, "Another rollout of the tenant is being written: wait until it is in place.")
	}
	return id, err
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
