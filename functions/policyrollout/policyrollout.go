// Package policyrollout rolls EnablePinRecovery out to a tenant, watches devices take it, and takes it back:
//
//	requested → the tenant's turn → guard → read all stores → found ours: adopt it
//	                                                        → none: intent on stable storage → create
//	          → value true → read assignments → merge → guard → write → read back and compare
//	          → in place: look at the devices, ever later → everywhere, or watched long enough
//	rollback  → value false → read back → wait for devices, or the deadline → unassign, delete where asked → what may stay
//
// The guard: with the policy on and one of Microsoft's two PIN reset applications missing, a user's PIN reset fails instead of
// falling back to the destructive one. So nothing is created or assigned unless both service principals are read back as
// present and enabled at that moment, whatever was proven earlier. There is no way round it.
//
// Creating a policy is not repeatable: Intune makes a second one. The intent is committed before the call, and whoever finds
// an intent without a result reads the tenant's list and adopts what is there by its setting and its mark. Assigning replaces
// the whole set, so it is read whole, merged, written and read back; a read that fails ends the run before any write. All
// other writes may be repeated. What is as asked already is not written: the same request twice makes no write at all.
//
// Facts: Microsoft's pages "PIN reset", "PassportForWork CSP" and "Assign device profiles in Microsoft Intune". That
// unassigning may leave the old value on devices is said by the last one, hence false first.
package policyrollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/rollout"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// directory is what the guard needs of Graph.
type directory interface {
	ServicePrincipal(ctx context.Context, tenant, appID string) (graph.ServicePrincipal, error)
}

// Schedule says when devices are looked at, and how long things may take.
type Schedule struct {
	Looks []time.Duration // delays between looks at devices; the last one repeats
	Watch time.Duration   // how long devices are watched; its end is no failure
	// Withdraw is how long a rollback waits for devices to report the false before it goes on without them.
	Withdraw time.Duration
	// Trace is how long a policy may take to show up in the list after a create without a clear answer. It is longer than a
	// call may take. Only after it the create is made again.
	Trace time.Duration
	Turn  time.Duration // between two attempts to get the tenant's turn
	// Replicas is how long after a proven consent a missing service principal is taken for a replica that is behind.
	Replicas time.Duration
}

// DefaultSchedule follows Intune's rhythm: devices that are on check in about every eight hours.
var DefaultSchedule = Schedule{
	Looks: []time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 8 * time.Hour, 24 * time.Hour},
	Watch: 14 * 24 * time.Hour, Withdraw: 7 * 24 * time.Hour, Trace: 2 * time.Minute, Turn: 15 * time.Second, Replicas: 15 * time.Minute,
}

// Handler handles the events of a rollout.
type Handler struct {
	Directory directory
	Policies  policies
	Store     work.Store
	Links     onboarding.Links // of Microsoft's two applications
	Schedule  Schedule
	// Audit stages the request of the unit's tenant's audit, due at the time. Nil asks for none.
	Audit func(ctx context.Context, u *work.Unit, due time.Time) error
}

// settle is how long after the last write the tenant is audited: a list of policies may be behind it.
const settle = time.Minute

func (h *Handler) audit(ctx context.Context, u *work.Unit) error {
	if h.Audit == nil {
		return nil
	}
	return h.Audit(ctx, u, u.Now().Add(settle))
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "policyrollout", Queue: rollout.Queue, Handlers: []dispatch.Handler{
		dispatch.On(h.requested, h.failedRollout),
		dispatch.On(h.look, h.failedLook),
		dispatch.On(h.rollback, h.failedRollback),
	}}
}

func (h *Handler) requested(ctx context.Context, u *work.Unit, _ events.Event, d events.PolicyRolloutRequested) error {
	r, err := rollout.Read(ctx, u, d.RequestID)
	if errors.Is(err, work.ErrNotFound) {
		if r, err = h.adopt(ctx, u, d); err == nil {
			r, err = rollout.Record(u, d)
		}
	}
	// Its dead letter was replayed. One that failed in its rollback is that one's to take up.
	reopens := err == nil && r.State == rollout.Failed && r.FailureCode == fault.AttemptsExhausted && r.FailedIn != rollout.Withdrawing
	if reopens {
		r, err = rollout.Reopen(ctx, u, r)
	}
	if err != nil {
		return err
	}
	switch {
	case reopens:
		return h.reopened(ctx, u, r)
	case placing(r):
		return h.place(ctx, u, r)
	default:
		return nil // delivered again after its work was done
	}
}

// reopened goes on with a rollout that was opened again, in a run of its own. A run that was overtaken by the one which failed
// takes its message for a replayed one too: this commit is refused to it, while one between its steps would hold.
func (h *Handler) reopened(ctx context.Context, u *work.Unit, r rollout.Rollout) error {
	return h.lookAgain(ctx, u, r, 0, time.Time{})
}

// placing reports whether the rollout is in a state that its request takes up.
func placing(r rollout.Rollout) bool {
	return r.State == rollout.Accepted || r.State == rollout.Creating || r.State == rollout.Assigning
}

// adopt checks a request that arrived as a message and not through our own interface.
func (h *Handler) adopt(ctx context.Context, u *work.Unit, d events.PolicyRolloutRequested) (rollout.Rollout, error) {
	if t, err := tenant.Get(ctx, h.Store, u.Partition()); errors.Is(err, work.ErrNotFound) {
		return rollout.Rollout{}, fault.Permanent(fault.TenantUnknown, err)
	} else if err = cmp.Or(err, t.InEntra()); err != nil {
		return rollout.Rollout{}, err
	}
	return rollout.Rollout{}, nil
}

// look goes on with a rollout or a rollback from wherever it is.
func (h *Handler) look(ctx context.Context, u *work.Unit, e events.Event, d events.PolicyRolloutCheckDue) error {
	r, err := rollout.Read(ctx, u, d.RolloutID)
	if errors.Is(err, work.ErrNotFound) || err == nil && (!r.Open() || r.Run() != d.RequestID || r.CheckID != e.ID) {
		return nil // ended meanwhile, or a later reminder has taken over
	}
	if err != nil {
		return err
	}
	switch r.State {
	case rollout.Watching:
		return h.watch(ctx, u, r)
	case rollout.Withdrawing:
		return h.withdraw(ctx, u, r)
	default:
		return h.place(ctx, u, r)
	}
}

func (h *Handler) rollback(ctx context.Context, u *work.Unit, _ events.Event, d events.PolicyRollbackRequested) error {
	r, err := rollout.Withdraw(ctx, u, d)
	switch {
	case errors.Is(err, work.ErrNotFound):
		return fault.Permanent(fault.NotFound, err)
	case errors.Is(err, rollout.ErrNothing):
		return fault.Permanent(fault.StateConflict, err)
	case errors.Is(err, rollout.ErrBusy):
		return fault.After(h.Schedule.Turn, fault.WaitingForTurn, err)
	case err != nil:
		return err
	}
	if r.State == rollout.Failed && r.FailureCode == fault.AttemptsExhausted && r.FailedIn == rollout.Withdrawing {
		if r, err = rollout.Reopen(ctx, u, r); err != nil { // its dead letter was replayed
			return err
		}
		return h.reopened(ctx, u, r)
	}
	if r.State != rollout.Withdrawing || !r.Rollback.FalseAt.IsZero() {
		return nil // delivered again after its work was done, or its reminders have taken over
	}
	// One that came as a message has its turn on stable storage before anything is written.
	if err := u.Checkpoint(ctx); err != nil {
		return fmt.Errorf("record rollback of %s: %w", r.ID, err)
	}
	return h.withdraw(ctx, u, r)
}

// failedRollout stages the failed end of a rollout, and where consent was missing the links to it. A rollout that is in place is its
// reminders' to end: a request that is still on its way then has been overtaken by one that the upkeep sent in its stead.
func (h *Handler) failedRollout(ctx context.Context, u *work.Unit, d events.PolicyRolloutRequested, code fault.Code) error {
	if r, err := rollout.Read(ctx, u, d.RequestID); err == nil && !placing(r) {
		return nil
	}
	return h.failed(ctx, u, d.RequestID, d.RequestID, code)
}

func (h *Handler) failedLook(ctx context.Context, u *work.Unit, d events.PolicyRolloutCheckDue, code fault.Code) error {
	return h.failed(ctx, u, d.RolloutID, d.RequestID, code)
}

func (h *Handler) failedRollback(ctx context.Context, u *work.Unit, d events.PolicyRollbackRequested, code fault.Code) error {
	return h.failed(ctx, u, d.RolloutID, d.RequestID, code)
}

func (h *Handler) failed(ctx context.Context, u *work.Unit, id, run string, code fault.Code) error {
	r, err := rollout.Read(ctx, u, id)
	if errors.Is(err, work.ErrNotFound) || err == nil && (!r.Open() || r.Run() != run) {
		return nil
	}
	if err != nil {
		return err
	}
	r.FailureCode, r.FailedIn, r.Diagnostics = code, r.State, diag.Link(u.Partition(), diag.IDFor(u.Partition(), run))
	if code == fault.ConsentMissing {
		r.Links = h.links(u.Partition())
	}
	return errors.Join(rollout.End(ctx, u, r, rollout.Failed),
		audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.RolloutFailed, RequestID: run, Reason: string(code)}))
}

// note tells what was done, on the rollout and in the run's record.
func note(ctx context.Context, u *work.Unit, r *rollout.Rollout, format string, args ...any) {
	r.Note(u.Now(), format, args...)
	diag.Decide(ctx, u.Now(), fmt.Sprintf(format, args...))
}

// lookAgain stages the rollout and the reminder to go on with it, no later than the deadline where there is one.
func (h *Handler) lookAgain(ctx context.Context, u *work.Unit, r rollout.Rollout, delay time.Duration, deadline time.Time) error {
	at := u.Now().Add(delay)
	if !deadline.IsZero() && at.After(deadline) {
		at = deadline
	}
	id, err := u.Send(ctx, rollout.Queue, at, events.PolicyRolloutCheckDue{RequestID: r.Run(), RolloutID: r.ID})
	if err != nil {
		return err
	}
	r.CheckID, r.NextCheck = id, at
	return errors.Join(rollout.Answered(ctx, u, r.ID), rollout.Write(u, r))
}

// delay is how long to wait before the next look at devices.
func (h *Handler) delay(r rollout.Rollout) time.Duration {
	return h.Schedule.Looks[min(r.Checks, len(h.Schedule.Looks)-1)]
}

// wait notes on the rollout why it waits, where err is a wait, and returns err. A wait beyond the deadline is the end: nothing
// stays open because Graph is out of reach.
func wait(ctx context.Context, u *work.Unit, r rollout.Rollout, deadline time.Time, err error) error {
	v, ok := fault.As(err)
	if !ok || v.Permanent() {
		return err
	}
	left := deadline.Sub(u.Now())
	if left <= 0 {
		return fault.Permanent(v.Code, err)
	}
	delay := min(v.Delay, left)
	r.Why, r.NextCheck = v.Code, u.Now().Add(delay)
	if err := rollout.Write(u, r); err != nil {
		return err
	}
	if !errors.Is(err, graph.ErrOutcomeUnknown) && v.Code != fault.WaitingForTurn { // then something may be on its way
		if err := rollout.Answered(ctx, u, r.ID); err != nil {
			return err
		}
	}
	return fault.After(delay, v.Code, err)
}
