// Package consent brings a tenant from "added" to "proven": pinreset's own application first, then Microsoft's two PIN reset
// applications, each proven by reading the tenant's directory and never by a landing page.
//
//	added or requested → look → not all there? look again, ever later, until the deadline
//	callback came back → look at once
//	all there, twice   → proven
//
// A look reads and changes nothing, so it may be repeated at will. Creating the two service principals through Graph is done
// only when it was asked for; the call is an upsert, so it may be repeated too.
package consent

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
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// directory is what consent needs of Graph.
type directory interface {
	Prove(ctx context.Context, tenant string) error
	ProvePrivileged(ctx context.Context, tenant string) error
	ServicePrincipal(ctx context.Context, tenant, appID string) (graph.ServicePrincipal, error)
	CreateServicePrincipal(ctx context.Context, tenant, appID string) (graph.ServicePrincipal, error)
	PermissionGrants(ctx context.Context, tenant, servicePrincipal string) ([]graph.PermissionGrant, error)
	AppRoleAssignments(ctx context.Context, tenant, servicePrincipal string) ([]graph.AppRoleAssignment, error)
}

// Schedule says how often the directory is read.
type Schedule struct {
	First    time.Duration // after a start or a callback
	Longest  time.Duration // between two looks; the delay doubles up to it
	Deadline time.Duration // after which an unfinished consent has failed
}

// DefaultSchedule suits a person who clicks through the links: Microsoft publishes no bound for replication, and an
// administrator may need days to get to it.
var DefaultSchedule = Schedule{First: 2 * time.Second, Longest: 5 * time.Minute, Deadline: 72 * time.Hour}

// Handler handles the events of a tenant's consent.
type Handler struct {
	Directory  directory
	Store      work.Store // for the register of tenants
	App        string     // client id of pinreset's application
	Privileged string     // client id of the second one; "" when there is none
	Schedule   Schedule
	// Audit stages the request of the unit's tenant's audit, due at the time. Nil asks for none.
	Audit func(ctx context.Context, u *work.Unit, due time.Time) error
}

// settle is how long after a consent was proven the tenant is audited: a replica that is behind would show less of it.
const settle = time.Minute

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "consent", Queue: onboarding.Queue, Handlers: []dispatch.Handler{
		dispatch.On(h.added, failed[events.TenantAdded]),
		dispatch.On(h.requested, failed[events.ConsentRequested]),
		dispatch.On(h.returned, declined),
		dispatch.On(h.look, failed[events.ConsentCheckDue]),
	}}
}

func (h *Handler) added(ctx context.Context, u *work.Unit, e events.Event, d events.TenantAdded) error {
	if d.Domain != "" { // there is no directory to consent in
		return audit.Append(u, audit.Entry{Actor: d.By, Action: audit.TenantAdded, RequestID: d.RequestID,
			Change: map[string]string{"displayName": d.DisplayName, "kind": string(tenant.OnPremises), "domain": d.Domain}})
	}
	err := h.start(ctx, u, events.ConsentRequested{RequestID: d.RequestID, CreateServicePrincipals: d.CreateServicePrincipals, By: d.By})
	if err != nil {
		return err
	}
	return audit.Append(u, audit.Entry{Actor: d.By, Action: audit.TenantAdded, RequestID: d.RequestID,
		Change: map[string]string{"displayName": d.DisplayName}})
}

func (h *Handler) requested(ctx context.Context, u *work.Unit, _ events.Event, d events.ConsentRequested) error {
	return h.start(ctx, u, d)
}

// start begins a consent run, in place of one that is under way.
func (h *Handler) start(ctx context.Context, u *work.Unit, d events.ConsentRequested) error {
	if t, err := tenant.Get(ctx, h.Store, u.Partition()); errors.Is(err, work.ErrNotFound) {
		return fault.Permanent(fault.TenantUnknown, err)
	} else if err = cmp.Or(err, t.InEntra()); err != nil {
		return err
	}
	if _, err := onboarding.Read(ctx, u); err != nil && !errors.Is(err, work.ErrNotFound) {
		return err
	}
	c := onboarding.Consent{
		RequestID: d.RequestID, State: onboarding.Pending, CreateServicePrincipals: d.CreateServicePrincipals,
		StartedAt: u.Now(), Deadline: u.Now().Add(h.Schedule.Deadline), Steps: h.steps(),
	}
	if err := h.lookAgain(ctx, u, &c, 0); err != nil {
		return err
	}
	return errors.Join(
		onboarding.Write(u, c),
		audit.Append(u, audit.Entry{Actor: d.By, Action: audit.ConsentRequested, RequestID: d.RequestID, Reason: d.Reason}))
}

func (h *Handler) steps() []onboarding.Step {
	steps := []onboarding.Step{{Name: onboarding.StepApp, AppID: h.App, Title: "pinreset"}}
	if h.Privileged != "" {
		steps = append(steps, onboarding.Step{Name: onboarding.StepPrivileged, AppID: h.Privileged, Title: "pinreset passcode reset"})
	}
	steps = append(steps,
		onboarding.Step{Name: onboarding.StepService, AppID: onboarding.ServiceAppID, Title: "Microsoft Pin Reset Service Production"},
		onboarding.Step{Name: onboarding.StepClient, AppID: onboarding.ClientAppID, Title: "Microsoft Pin Reset Client Production"})
	for i := range steps {
		steps[i].State, steps[i].Why = onboarding.StepWaiting, fault.WaitingForConsent
	}
	return steps
}

// returned: a browser came back from our own application's consent page. Whatever it says, only the directory counts; an
// error ends the run early because it is our own signed link that says so, and starting again costs a click.
func (h *Handler) returned(ctx context.Context, u *work.Unit, _ events.Event, d events.ConsentReturned) error {
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) || err == nil && (c.RequestID != d.RequestID || c.State != onboarding.Pending) {
		return nil // of an earlier run
	}
	if err != nil {
		return err
	}
	if d.Error != "" {
		return fault.Permanentf(fault.ConsentDeclined, "consent page of %s returned %s", d.App, d.Error)
	}
	c.Checks = 0 // somebody is at it: look often again
	if err := h.lookAgain(ctx, u, &c, 0); err != nil {
		return err
	}
	return onboarding.Write(u, c)
}

// look reads the directory and decides.
func (h *Handler) look(ctx context.Context, u *work.Unit, e events.Event, d events.ConsentCheckDue) error {
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) || err == nil && (c.CheckID != e.ID || c.State != onboarding.Pending) {
		return nil // a later reminder has taken over
	}
	if err != nil {
		return err
	}
	before := open(c)
	if err := h.read(ctx, u, &c); err != nil {
		return untilDeadline(u.Now(), c.Deadline, err)
	}
	c.Checks++
	switch {
	case c.Complete():
		return h.prove(ctx, u, c)
	case !u.Now().Before(c.Deadline):
		return timedOut(c)
	case open(c) < before || seen(c):
		c.Checks = min(c.Checks, 1) // progress: somebody is at it
	}
	if err := h.lookAgain(ctx, u, &c, h.delay(c.Checks)); err != nil {
		return err
	}
	return onboarding.Write(u, c)
}

// read looks at each step in order. Nothing can be read before our own application has a token.
func (h *Handler) read(ctx context.Context, u *work.Unit, c *onboarding.Consent) error {
	app, err := ours(u, c.Step(onboarding.StepApp), h.Directory.Prove(ctx, u.Partition()))
	if err != nil {
		return err
	}
	if second := c.Step(onboarding.StepPrivileged); second != nil {
		if _, err := ours(u, second, h.Directory.ProvePrivileged(ctx, u.Partition())); err != nil {
			return err
		}
	}
	if !app {
		return nil
	}
	for _, name := range []string{onboarding.StepService, onboarding.StepClient} {
		if err := h.readStep(ctx, u, c, c.Step(name)); err != nil {
			return err
		}
	}
	return nil
}

// ours notes what proving one of our own applications said. Having no token, or one without its permissions, is no fault: it
// is also what the first minutes after a consent look like.
func ours(u *work.Unit, s *onboarding.Step, proof error) (proven bool, err error) {
	switch code := fault.CodeOf(proof); {
	case proof == nil:
		mark(u, s, true)
		return true, nil
	case code == fault.AppNotConsented, code == fault.GraphForbidden:
		unmark(u, s, onboarding.StepWaiting, fault.WaitingForConsent)
		return false, nil
	default:
		return false, proof
	}
}

func (h *Handler) readStep(ctx context.Context, u *work.Unit, c *onboarding.Consent, s *onboarding.Step) error {
	tenantID := u.Partition()
	sp, err := h.Directory.ServicePrincipal(ctx, tenantID, s.AppID)
	if errors.Is(err, graph.ErrNotFound) && c.CreateServicePrincipals && s.State == onboarding.StepWaiting {
		diag.Decide(ctx, u.Now(), "creating the service principal of "+s.Title+" through Graph, as asked for")
		sp, err = h.Directory.CreateServicePrincipal(ctx, tenantID, s.AppID)
		switch {
		case err == nil, errors.Is(err, graph.ErrNotFound): // created, and perhaps not shown by the replica that answered
			c.Created = true
		case fault.CodeOf(err) == fault.GraphForbidden:
			diag.Decide(ctx, u.Now(), "pinreset may not create it (Application.ReadWrite.All was not granted): it waits for the administrator's consent")
			err = graph.ErrNotFound
		}
	}
	switch {
	case errors.Is(err, graph.ErrNotFound):
		why := fault.WaitingForConsent
		if s.State == onboarding.StepSeen || s.State == onboarding.StepProven {
			why = fault.WaitingForDirectory // it was there a moment ago: another replica answered
		}
		unmark(u, s, onboarding.StepWaiting, why)
		return nil
	case fault.CodeOf(err) == fault.GraphForbidden:
		unmark(u, s, onboarding.StepUnread, fault.GraphForbidden)
		return nil
	case err != nil:
		return fmt.Errorf("read %s: %w", s.Name, err)
	case !sp.Enabled():
		unmark(u, s, onboarding.StepDisabled, fault.ServicePrincipalOff)
		s.ServicePrincipal = sp.ID
		return nil
	}
	s.ServicePrincipal = sp.ID
	s.Grants, err = h.grants(ctx, tenantID, sp.ID)
	switch {
	case errors.Is(err, graph.ErrNotFound): // shown by one replica, not yet by another
		unmark(u, s, onboarding.StepWaiting, fault.WaitingForDirectory)
		return nil
	case err != nil:
		return fmt.Errorf("read grants of %s: %w", s.Name, err)
	}
	mark(u, s, false)
	return nil
}

// grants lists what a service principal holds. What Microsoft's two must hold is not published, so it is recorded and not
// judged.
func (h *Handler) grants(ctx context.Context, tenantID, sp string) ([]string, error) {
	delegated, err := h.Directory.PermissionGrants(ctx, tenantID, sp)
	if err != nil {
		return nil, err
	}
	roles, err := h.Directory.AppRoleAssignments(ctx, tenantID, sp)
	if err != nil {
		return nil, err
	}
	list := make([]string, 0, len(delegated)+len(roles))
	for _, g := range delegated {
		list = append(list, fmt.Sprintf("delegated on %s for %s: %s", g.ResourceID, g.ConsentType, g.Scope))
	}
	for _, r := range roles {
		list = append(list, fmt.Sprintf("role %s on %s", r.AppRoleID, r.ResourceDisplayName))
	}
	return list, nil
}

func (h *Handler) prove(ctx context.Context, u *work.Unit, c onboarding.Consent) error {
	c.State, c.ProvenAt, c.CheckID, c.NextCheck = onboarding.Proven, u.Now(), "", time.Time{}
	diag.Decide(ctx, u.Now(), "every application is present and enabled: consent is proven")
	_, err := u.Send(ctx, work.Announcements, time.Time{}, events.ConsentCompleted{
		RequestID: c.RequestID, ServicePrincipalsCreated: c.Created,
		ServiceServicePrincipal: c.Step(onboarding.StepService).ServicePrincipal,
		ClientServicePrincipal:  c.Step(onboarding.StepClient).ServicePrincipal,
	})
	if h.Audit != nil {
		err = errors.Join(err, h.Audit(ctx, u, u.Now().Add(settle)))
	}
	return errors.Join(err, onboarding.Write(u, c),
		audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.ConsentProven, RequestID: c.RequestID}))
}

// untilDeadline cuts a wait at the deadline, where it becomes the end: Graph being out of reach keeps no run open for ever.
func untilDeadline(now, deadline time.Time, err error) error {
	v, waits := fault.As(err)
	switch {
	case !waits || v.Permanent():
		return err
	case !now.Before(deadline):
		return fault.Permanent(fault.ConsentTimedOut, err)
	default:
		return fault.After(min(v.Delay, deadline.Sub(now)), v.Code, err)
	}
}

// timedOut says what was still open; the most telling code wins.
func timedOut(c onboarding.Consent) error {
	next := c.Next()
	switch {
	case next.State == onboarding.StepDisabled:
		return fault.Permanentf(fault.ServicePrincipalOff, "%s (%s) is disabled", next.Title, next.AppID)
	case next.Name == onboarding.StepApp || next.Name == onboarding.StepPrivileged:
		return fault.Permanentf(fault.AppNotConsented, "%s (%s) was not consented by %s", next.Title, next.AppID, c.Deadline.Format(time.RFC3339))
	default:
		return fault.Permanentf(fault.ConsentTimedOut, "%s (%s) did not appear by %s", next.Title, next.AppID, c.Deadline.Format(time.RFC3339))
	}
}

// failed stages the end of the run that d belongs to.
func failed[D events.Data](ctx context.Context, u *work.Unit, d D, code fault.Code) error {
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) || err == nil && (c.RequestID != d.Request() || c.State != onboarding.Pending) {
		return nil
	}
	if err != nil {
		return err
	}
	c.State, c.FailureCode, c.CheckID, c.NextCheck = onboarding.Failed, code, "", time.Time{}
	c.Diagnostics = diag.Link(u.Partition(), diag.IDFor(u.Partition(), c.RequestID))
	return onboarding.Write(u, c)
}

// declined stages the end of a run by an administrator's "no", and who had handed out the link.
func declined(ctx context.Context, u *work.Unit, d events.ConsentReturned, code fault.Code) error {
	by := events.Pinreset()
	if d.LinkBy != "" {
		by = events.Actor{Kind: events.Operator, ID: d.LinkBy}
	}
	return errors.Join(failed(ctx, u, d, code),
		audit.Append(u, audit.Entry{Actor: by, Action: audit.ConsentDeclined, RequestID: d.RequestID, Reason: "the consent page came back with " + d.Error}))
}

func (h *Handler) lookAgain(ctx context.Context, u *work.Unit, c *onboarding.Consent, delay time.Duration) error {
	at := u.Now().Add(delay)
	if at.After(c.Deadline) {
		at = c.Deadline
	}
	id, err := u.Send(ctx, onboarding.Queue, at, events.ConsentCheckDue{RequestID: c.RequestID})
	c.CheckID, c.NextCheck = id, at
	return err
}

func (h *Handler) delay(checks int) time.Duration {
	if checks > 12 {
		return h.Schedule.Longest
	}
	return min(h.Schedule.Longest, h.Schedule.First<<max(checks-1, 0))
}

// mark notes that a step was seen. It is proven by a token (once), or by two looks in a row.
func mark(u *work.Unit, s *onboarding.Step, once bool) {
	if s == nil {
		return
	}
	s.CheckedAt, s.Why = u.Now(), ""
	switch {
	case s.State == onboarding.StepProven:
	case once || s.State == onboarding.StepSeen:
		s.State, s.ProvenAt = onboarding.StepProven, u.Now()
	default:
		s.State, s.Why = onboarding.StepSeen, fault.WaitingForDirectory
	}
}

func unmark(u *work.Unit, s *onboarding.Step, state string, why fault.Code) {
	if s == nil {
		return
	}
	s.State, s.Why, s.CheckedAt, s.ProvenAt = state, why, u.Now(), time.Time{}
}

func open(c onboarding.Consent) int {
	n := 0
	for _, s := range c.Steps {
		if s.State != onboarding.StepProven {
			n++
		}
	}
	return n
}

func seen(c onboarding.Consent) bool {
	for _, s := range c.Steps {
		if s.State == onboarding.StepSeen {
			return true
		}
	}
	return false
}
