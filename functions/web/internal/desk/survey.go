package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// TenantAudit is one audit of a tenant as it is shown. The audit log is another thing: see [Room.Audit].
type TenantAudit struct {
	ID          string              `json:"id"`
	TenantID    string              `json:"tenantId"`
	Outcome     string              `json:"outcome" enum:"pending,audited,partly,notaudited" doc:"notaudited: nothing could be read, so nothing is known and nothing is missing"`
	State       readiness.State     `json:"state,omitempty" doc:"Where the tenant stands with non-destructive PIN reset"`
	Cause       string              `json:"cause" enum:"schedule,operator,portal,notification,device,rollout"`
	RunID       string              `json:"runId,omitempty" doc:"The run over all tenants that it belongs to"`
	Reason      string              `json:"reason,omitempty"`
	By          events.Actor        `json:"by"`
	At          time.Time           `json:"at" doc:"When it ended; when it was asked for, while it is pending"`
	Since       time.Time           `json:"since,omitzero" doc:"The audit before, which it is compared with"`
	Code        fault.Code          `json:"code,omitempty" doc:"Why nothing could be read"`
	CodeTitle   string              `json:"codeTitle,omitempty"`
	Diagnostics string              `json:"diagnostics,omitempty" doc:"Path of the page of a tenant that could not be read"`
	Parts       []survey.Part       `json:"parts" nullable:"false" doc:"What was to be read, and what could not be"`
	Coverage    *readiness.Coverage `json:"coverage,omitempty" doc:"Devices by what Intune says of them; absent where they could not be read"`
	Status      *survey.Status      `json:"status,omitempty" doc:"What devices made of the policy; absent where nothing tells"`
	Drift       []survey.Drift      `json:"drift" nullable:"false" doc:"What is no longer as it was, to the worse"`
	Changes     []survey.Change     `json:"changes" nullable:"false" doc:"All differences to the audit before"`
	Lost        []readiness.Loss    `json:"lost,omitempty" nullable:"false" doc:"What was read and is too much to be kept, so that the next audit does not compare with it"`
	Requests    int                 `json:"requests" doc:"Reads that Microsoft Graph counts"`
	Throttled   int                 `json:"throttled" doc:"Of these, those that were answered with 429"`
}

// LatestAudit is the last audit of a tenant with how it developed.
type LatestAudit struct {
	Tenant   string         `json:"tenant" doc:"The tenant's name"`
	TenantID string         `json:"tenantId"`
	Kind     tenant.Kind    `json:"kind" enum:"entra,on-premises" doc:"Of a tenant on premises there is nothing to read: it is never audited"`
	Audit    *TenantAudit   `json:"audit,omitempty" doc:"Absent for a tenant that was never audited"`
	Trend    []survey.Point `json:"trend" nullable:"false" doc:"The tenant at its audits, oldest first"`
}

// AuditStart asks for an audit.
type AuditStart struct {
	Reason string `json:"reason,omitempty" doc:"Why, for the audit log; at most 500 characters"`
}

// AuditRun is an audit of all tenants.
type AuditRun struct {
	ID      string `json:"id"`
	Tenants int    `json:"tenants" doc:"How many have got their message so far"`
	Sent    bool   `json:"sent" doc:"Whether all have"`
}

// GraphPace is how much of Microsoft Graph's limits pinreset uses, over all tenants, since the process began.
type GraphPace struct {
	Families []PaceFamily `json:"families" nullable:"false"`
}

// PaceFamily is a group of resources that share a limit.
type PaceFamily struct {
	Family    graph.Family `json:"family"`
	Calls     int          `json:"calls" doc:"Parts of batches count each"`
	Throttled int          `json:"throttled" doc:"Answers of 429"`
	Waiting   int          `json:"waiting" doc:"Tenants that Graph told to wait"`
	Percent   int          `json:"percent" doc:"Share of the limit that the busiest tenant uses now"`
}

func (r *Room) shownAudit(s survey.Report) TenantAudit {
	a := TenantAudit{ID: s.ID, TenantID: r.ID(), Outcome: s.Outcome, State: s.State, Cause: s.Cause, RunID: s.RunID, Reason: s.Reason, By: s.By, At: s.At,
		Since: s.Since, Code: s.Code, CodeTitle: titleOf(s.Code), Diagnostics: s.Diagnostics, Parts: s.Parts, Coverage: s.Coverage, Status: s.Status,
		Drift: s.Drift, Changes: s.Changes, Lost: s.Lost, Requests: s.Requests, Throttled: s.Throttled}
	if a.Parts == nil {
		a.Parts = []survey.Part{}
	}
	if a.Drift == nil {
		a.Drift = []survey.Drift{}
	}
	if a.Changes == nil {
		a.Changes = []survey.Change{}
	}
	return a
}

// StartAudit asks for an audit of the room's tenant.
func (r *Room) StartAudit(ctx context.Context, key string, in AuditStart) (Answer[TenantAudit], error) {
	var none Answer[TenantAudit]
	if err := r.needInEntra(identity.AuditRun); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return none, err
	}
	c, err := r.call(key, "start audit", in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[TenantAudit], error) {
		s, err := survey.Accept(ctx, u, events.TenantAuditRequested{RequestID: u.NewID(), Cause: events.AuditByOperator, Reason: in.Reason, By: r.who.Operator()})
		return Answer[TenantAudit]{Status: http.StatusAccepted, Location: r.auditPath(s.ID), Body: r.shownAudit(s)}, err
	})
}

func (r *Room) auditPath(id string) string { return "/v1/tenants/" + r.ID() + "/audits/" + id }

func (r *Room) takeAudit(ctx context.Context, e events.Event, asked events.TenantAuditRequested, c call) (Answer[Accepted], error) {
	if err := r.needInEntra(identity.AuditRun); err != nil {
		return Answer[Accepted]{}, err
	}
	asked.By, asked.RunID = r.who.Sender(), ""
	if !slices.Contains([]string{events.AuditByPortal, events.AuditByNotification, events.AuditByDevice}, asked.Cause) {
		asked.Cause = events.AuditByOperator // the others are pinreset's own
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[Accepted], error) {
		// The sender chose the audit's id, so it may be taken.
		switch _, err := survey.Read(ctx, u, asked.RequestID); {
		case err == nil:
			return Answer[Accepted]{}, problem.Refuse(fault.StateConflict, "There is an audit with this requestId already.")
		case !errors.Is(err, work.ErrNotFound):
			return Answer[Accepted]{}, err
		}
		s, err := survey.Accept(ctx, u, asked)
		return accepted(e, s.ID, r.auditPath(s.ID)), err
	})
}

// Audits lists the tenant's audits, newest first.
func (r *Room) Audits(ctx context.Context, page Page) (List[TenantAudit], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[TenantAudit]{}, err
	}
	return paged(r, "audits", page, func(limit int, place string) (all []TenantAudit, next string, err error) {
		reports, next, err := survey.List(ctx, r.desk.o.Store, r.ID(), limit, place)
		for _, s := range reports {
			all = append(all, r.shownAudit(s))
		}
		return all, next, err
	})
}

// AuditReport shows one audit.
func (r *Room) AuditReport(ctx context.Context, id string) (TenantAudit, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return TenantAudit{}, err
	}
	s, err := survey.Read(ctx, r.unit(), id)
	if errors.Is(err, work.ErrNotFound) {
		return TenantAudit{}, missing(err)
	}
	return r.shownAudit(s), err
}

// LatestAudits lists the last audit of each tenant that the principal sees, in the order of their ids.
func (d *Desk) LatestAudits(ctx context.Context, who identity.Principal, page Page) (List[LatestAudit], error) {
	tenants, rooms, err := d.rooms(ctx, who, "audits", page)
	out := List[LatestAudit]{Items: []LatestAudit{}, Next: tenants}
	for _, r := range rooms {
		last, err := survey.ReadLast(ctx, r.unit())
		if err != nil {
			return List[LatestAudit]{}, fmt.Errorf("read last audit of %s: %w", r.ID(), err)
		}
		shown := LatestAudit{Tenant: r.Name(), TenantID: r.ID(), Kind: r.tenant.Kind, Trend: last.Trend}
		if shown.Trend == nil {
			shown.Trend = []survey.Point{}
		}
		if last.Report.ID != "" {
			a := r.shownAudit(last.Report)
			shown.Audit = &a
		}
		out.Items = append(out.Items, shown)
	}
	return out, err
}

// rooms returns a page of the tenants that the principal sees, each as a room.
func (d *Desk) rooms(ctx context.Context, who identity.Principal, list string, page Page) (next string, rooms []*Room, err error) {
	if err := needSomewhere(who, identity.TenantRead); err != nil {
		return "", nil, err
	}
	place, err := d.cursors.open(who.ID, tenant.Partition, list, page.Cursor)
	if err != nil {
		return "", nil, err
	}
	var found []tenant.Tenant
	if who.All {
		found, place, err = tenant.List(ctx, d.o.Store, page.limit(), place)
	} else {
		found, place, err = d.some(ctx, who.Where(identity.TenantRead), page.limit(), place)
	}
	for _, t := range found {
		rooms = append(rooms, &Room{desk: d, tenant: t, who: who.In(t.ID)})
	}
	return d.cursors.seal(who.ID, tenant.Partition, list, place), rooms, err
}

// StartAudits asks for an audit of every tenant. Their messages follow.
func (d *Desk) StartAudits(ctx context.Context, who identity.Principal, key string, in AuditStart) (Answer[AuditRun], error) {
	var none Answer[AuditRun]
	if err := needEverywhere(who, identity.AuditRun); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return none, err
	}
	c, err := callBy(who.ID, key, "start audits", in)
	if err != nil {
		return none, err
	}
	started, err := once(ctx, d, tenant.Partition, c, func(u *work.Unit) (Answer[AuditRun], error) {
		run, err := survey.StartRun(u, u.NewID(), events.AuditByOperator, in.Reason, who.Operator())
		return Answer[AuditRun]{Status: http.StatusAccepted, Location: "/v1/audits/runs/" + run.ID, Body: AuditRun{ID: run.ID}},
			errors.Join(err, audit.Append(u, audit.Entry{Actor: who.Operator(), Action: audit.AuditRunAsked, RequestID: run.ID, Reason: in.Reason}))
	})
	if err == nil {
		d.o.Wake()
	}
	return started, err
}

// Run shows how far the messages of an audit of all tenants are.
func (d *Desk) Run(ctx context.Context, who identity.Principal, id string) (AuditRun, error) {
	if err := needEverywhere(who, identity.TenantRead); err != nil {
		return AuditRun{}, err
	}
	run, err := survey.ReadRun(ctx, work.NewUnit(d.o.Store, tenant.Partition, d.o.Now(), d.o.NewID), id)
	if errors.Is(err, work.ErrNotFound) {
		return AuditRun{}, missing(err)
	}
	return AuditRun{ID: run.ID, Tenants: run.Tenants, Sent: run.Sent}, err
}

// Pace shows how much of Graph's limits is used.
func (d *Desk) Pace(who identity.Principal) (GraphPace, error) {
	if err := needEverywhere(who, identity.TenantRead); err != nil {
		return GraphPace{}, err
	}
	out := GraphPace{Families: []PaceFamily{}}
	if d.o.Pace == nil {
		return out, nil
	}
	for _, f := range d.o.Pace.Snapshot().Families {
		shown := PaceFamily{Family: f.Family, Calls: f.Calls, Throttled: f.Throttled, Waiting: f.Blocked}
		if f.Limit > 0 {
			shown.Percent = 100 * f.Used / f.Limit
		}
		out.Families = append(out.Families, shown)
	}
	return out, nil
}
