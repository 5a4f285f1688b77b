// Package tenantaudit reads a tenant and says where it stands: Microsoft's two PIN reset applications, the policies that turn PIN
// recovery on in every store of Intune, and what devices made of them; beside what was there at the audit before.
//
//	timer, operator, portal, notification, device, rollout or consent → requested → read → report, facts, drift
//
// An audit reads in one batch of v1.0 and one of beta, and what these show to be worth a further look in a batch more of each. What Graph
// has a delta query for, the two applications and their delegated grants, is followed from audit to audit, and read whole once a
// day and wherever the token is too old. Every part that can't be read is unread with the reason: it is never taken for missing, and
// it is compared again when it can be read. What is kept of a tenant is bounded; what is lost by that is counted in the report.
// Nothing is written to the tenant. Where the tenant opted into it, a rolled-out policy that was removed, changed or unassigned
// is put right by asking for its rollout again, under that function's own guard.
//
// Nothing here can't be repeated: report, facts, drift events and the request for a remedy are one commit, after the last read. A tenant
// that is slow or throttled goes to the back of its queue by a fault.After and keeps nobody waiting.
package tenantaudit

import (
	"context"
	"errors"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/portal"
	"pinreset/shared/readiness"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// cloud is what an audit needs of Graph.
type cloud interface {
	Batch(ctx context.Context, tenant, version string, requests []graph.BatchRequest) ([]graph.BatchResponse, error)
	Pages(ctx context.Context, tenant, version string, first graph.BatchResponse, visit func(element []byte) error) (called int, delta string, err error)
	ServicePrincipal(ctx context.Context, tenant, appID string) (graph.ServicePrincipal, error)
}

// Schedule says how patient an audit is.
type Schedule struct {
	// Patience is how long a read that Graph puts off is tried again, from the request on. After it, the part is unread.
	Patience time.Duration
	// Whole is the longest time for which settings of a policy whose date has not changed are taken as they were.
	Whole time.Duration
	// Longest is how long one audit reads, below the deadline of a run. What a slow or very large tenant has not answered by
	// then is unread.
	Longest time.Duration
}

// DefaultSchedule gives a throttled tenant a quarter of an hour.
var DefaultSchedule = Schedule{Patience: 15 * time.Minute, Whole: 24 * time.Hour, Longest: 35 * time.Second}

// Handler handles audits of one tenant.
type Handler struct {
	Cloud    cloud
	Store    work.Store // for the register of tenants
	Place    readiness.Cloud
	Schedule Schedule
	// SignIn gets the token that the calls to a tenant need. With it an audit makes two calls at the same time, one to each version of
	// Graph, where no read rests on the other's answer: that halves the time that an audit waits, and with it how many must wait at once for
	// the same pace. What keeps it from signing in, the calls say themselves. Without it, one call follows the other.
	SignIn func(ctx context.Context, tenant string) error
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "tenantaudit", Queue: survey.Queue, Handlers: []dispatch.Handler{dispatch.On(h.requested, failed)}}
}

func (h *Handler) requested(ctx context.Context, u *work.Unit, e events.Event, d events.TenantAuditRequested) error {
	t, err := tenant.Get(ctx, h.Store, u.Partition())
	switch {
	case errors.Is(err, work.ErrNotFound):
		return nil // offboarded meanwhile: nothing of it is to be kept
	case err != nil:
		return err
	case t.InEntra() != nil:
		return t.InEntra()
	}
	report, err := survey.Read(ctx, u, d.RequestID)
	switch {
	case errors.Is(err, work.ErrNotFound):
		report = survey.Report{ID: d.RequestID, Cause: d.Cause, RunID: d.RunID, Reason: d.Reason, By: d.By}
	case err != nil:
		return err
	case report.Outcome != survey.Pending && report.Outcome != events.AuditNot:
		return nil // done; its message was sent again
	}
	last, err := survey.ReadLast(ctx, u)
	if err != nil {
		return err
	}
	l := &look{cloud: h.Cloud, tenant: u.Partition(), place: h.Place, now: u.Now(), last: last, signIn: h.SignIn}
	l.whole = last.Whole.IsZero() || u.Now().Sub(last.Whole) >= h.Schedule.Whole
	within, cancel := context.WithTimeout(ctx, h.Schedule.Longest)
	defer cancel()
	l.read(within)
	if err := ctx.Err(); err != nil {
		return err
	}
	if l.wait != nil && u.Now().Before(e.Time.Add(h.Schedule.Patience)) {
		return l.wait
	}
	if err := l.reported(ctx, u); err != nil {
		return err
	}
	return h.conclude(ctx, u, report, l)
}

// conclude stages everything that follows from what was read.
func (h *Handler) conclude(ctx context.Context, u *work.Unit, r survey.Report, l *look) error {
	verdict := readiness.Tenant(l.facts)
	r.At, r.Since, r.State, r.Parts, r.Requests, r.Throttled = u.Now(), l.last.Report.At, verdict.State, l.parts, l.requests, l.throttled
	r.Outcome, r.Code, r.Diagnostics, r.Drift, r.Changes = events.AuditWhole, "", "", nil, nil
	if c, ok := l.facts.Coverage.Get(); ok {
		r.Coverage = &c
	}
	r.Status = l.status
	switch unread := r.Unread(); {
	case len(unread) == len(r.Parts):
		r.Outcome, r.Code = events.AuditNot, worst(r.Parts)
	case len(unread) > 0:
		r.Outcome = events.AuditPartly
	}
	next := survey.Last{Trend: l.last.Trend, Known: l.known(), Status: l.last.Status, Told: l.last.Told, Looked: l.looked, Whole: l.last.Whole, Delta: l.delta, Grants: l.keptGrants()}
	if l.whole && r.Outcome == events.AuditWhole {
		next.Whole = u.Now()
	}
	if l.status != nil {
		next.Status = l.status
	}
	if r.Outcome == events.AuditNot {
		if err := notAudited(ctx, u, &r, l.last); err != nil {
			return err
		}
	} else if err := h.compare(ctx, u, &r, l, &next); err != nil {
		return err
	}
	next.Report = r
	var err error
	if next, err = next.Fit(); err != nil {
		return err
	}
	r = next.Report
	facts, _, err := l.facts.Within(readiness.MaxFacts)
	if err != nil {
		return err
	}
	codes := make([]string, 0, len(r.Drift))
	for _, d := range r.Drift {
		codes = append(codes, string(d.Code))
	}
	slices.Sort(codes)
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.TenantAuditCompleted{
		RequestID: r.ID, Cause: r.Cause, Outcome: r.Outcome, State: string(r.State), Code: string(r.Code), Unread: r.Unread(),
		Drift: slices.Compact(codes), Diagnostics: r.Diagnostics,
	})
	err = errors.Join(err, survey.Write(u, r), survey.WriteLast(u, next), readiness.WriteTenant(u, facts))
	if r.Outcome != events.AuditNot && r.Cause != events.AuditByPortal {
		// What people did in Intune's own portal and nobody told of.
		_, sent := u.Send(ctx, portal.Queue.Bulk(), time.Time{}, events.PortalCatchUpDue{RequestID: r.ID})
		err = errors.Join(err, sent)
	}
	if !slices.Equal(subscription.Groups(foundIn(next.Known)), subscription.Groups(foundIn(l.last.Known))) {
		err = errors.Join(err, askToSubscribe(ctx, u))
	}
	if r.Cause == events.AuditByOperator && r.RunID == "" {
		err = errors.Join(err, audit.Append(u, audit.Entry{Actor: r.By, Action: audit.TenantAudited, RequestID: r.ID, Reason: r.Reason}))
	}
	return err
}

// askToSubscribe: policies are assigned to other groups now, of which Graph is to tell where the tenant opted into it.
func askToSubscribe(ctx context.Context, u *work.Unit) error {
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil || !settings.GraphNotifications {
		return err
	}
	return subscription.Ask(ctx, u)
}

// notAudited tells of a tenant of which nothing could be read, with a page. A tenant for which the same was told the last time is not told
// of again: its page is the earlier one.
func notAudited(ctx context.Context, u *work.Unit, r *survey.Report, last survey.Last) error {
	if last.Report.Outcome == events.AuditNot && last.Report.Code == r.Code && last.Report.Diagnostics != "" {
		r.Diagnostics = last.Report.Diagnostics
		return nil
	}
	f, err := diag.Raise(ctx, u, diag.Failure{RequestID: r.ID, Function: "tenantaudit", Kind: events.TenantAuditRequested{}.Kind(), Code: r.Code,
		Detail: "the tenant was not audited: " + text(r.Parts)})
	r.Diagnostics = diag.Link(u.Partition(), f.ID)
	return err
}

// worst is the code that most says why nothing could be read: of the first part, unless another one is permanent.
func worst(parts []survey.Part) fault.Code {
	code := fault.NotAudited
	for i, p := range parts {
		if i == 0 || p.Code == fault.AppNotConsented || p.Code == fault.GraphForbidden {
			code = p.Code
		}
	}
	return code
}

func text(parts []survey.Part) string {
	if len(parts) == 0 {
		return "nothing was read"
	}
	return parts[0].Text
}

// failed stages the end of an audit that gave up by a fault of its own.
func failed(ctx context.Context, u *work.Unit, d events.TenantAuditRequested, code fault.Code) error {
	r, err := survey.Read(ctx, u, d.RequestID)
	switch {
	case errors.Is(err, work.ErrNotFound):
		r = survey.Report{ID: d.RequestID, Cause: d.Cause, RunID: d.RunID, Reason: d.Reason, By: d.By}
	case err != nil:
		return err
	case r.Outcome != survey.Pending:
		return nil
	}
	r.At, r.Outcome, r.State, r.Code = u.Now(), events.AuditNot, readiness.Undetermined, code
	r.Diagnostics = diag.Link(u.Partition(), diag.IDFor(u.Partition(), d.RequestID))
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.TenantAuditCompleted{
		RequestID: r.ID, Cause: r.Cause, Outcome: r.Outcome, State: string(r.State), Code: string(r.Code), Diagnostics: r.Diagnostics,
	})
	return errors.Join(err, survey.Write(u, r))
}
