package client

import (
	"context"
	"iter"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
)

// TenantAudit is one audit of a tenant.
type TenantAudit struct {
	ID          string              `json:"id"`
	TenantID    string              `json:"tenantId"`
	Outcome     string              `json:"outcome"` // survey.Pending, or one of events.TenantAuditCompleted
	State       readiness.State     `json:"state,omitempty"`
	Cause       string              `json:"cause"`
	RunID       string              `json:"runId,omitempty"`
	Reason      string              `json:"reason,omitempty"`
	By          events.Actor        `json:"by"`
	At          time.Time           `json:"at"`
	Since       time.Time           `json:"since,omitzero"` // the audit that it is compared with
	Code        fault.Code          `json:"code,omitempty"` // why nothing could be read
	CodeTitle   string              `json:"codeTitle,omitempty"`
	Diagnostics string              `json:"diagnostics,omitempty"`
	Parts       []survey.Part       `json:"parts"`
	Coverage    *readiness.Coverage `json:"coverage,omitempty"` // nil: could not be read
	Status      *survey.Status      `json:"status,omitempty"`   // nil: nothing tells
	Drift       []survey.Drift      `json:"drift"`
	Changes     []survey.Change     `json:"changes"`
	Lost        []readiness.Loss    `json:"lost"` // too much to be kept for the next audit
	Requests    int                 `json:"requests"`
	Throttled   int                 `json:"throttled"`
}

// LatestAudit is the last audit of a tenant; nil where there was none.
type LatestAudit struct {
	Tenant   string         `json:"tenant"` // its name
	TenantID string         `json:"tenantId"`
	Kind     tenant.Kind    `json:"kind"` // on premises there is nothing to read
	Audit    *TenantAudit   `json:"audit,omitempty"`
	Trend    []survey.Point `json:"trend"`
}

// AuditRun is an audit of every tenant.
type AuditRun struct {
	ID      string `json:"id"`
	Tenants int    `json:"tenants"` // that have got their message
	Sent    bool   `json:"sent"`    // to all of them
}

// Pace is how much of Microsoft Graph's limits is used.
type Pace struct {
	Families []PaceFamily `json:"families"`
}

// PaceFamily is a group of resources that share a limit.
type PaceFamily struct {
	Family    string `json:"family"`
	Calls     int    `json:"calls"`
	Throttled int    `json:"throttled"`
	Waiting   int    `json:"waiting"`
	Percent   int    `json:"percent"`
}

type auditStart struct {
	Reason string `json:"reason,omitempty"`
}

// StartAudit asks for an audit of a tenant. It is pending until it was done.
func (c *Client) StartAudit(ctx context.Context, tenant, reason string) (a TenantAudit, err error) {
	_, err = c.do(ctx, post(auditStart{reason}, "v1", "tenants", tenant, "audits"), &a)
	return a, err
}

// StartAudits asks for an audit of every tenant.
func (c *Client) StartAudits(ctx context.Context, reason string) (r AuditRun, err error) {
	_, err = c.do(ctx, post(auditStart{reason}, "v1", "audits"), &r)
	return r, err
}

// AuditRun reads how far an audit of every tenant is on its way.
func (c *Client) AuditRun(ctx context.Context, id string) (r AuditRun, err error) {
	_, err = c.do(ctx, get("v1", "audits", "runs", id), &r)
	return r, err
}

// TenantAudits lists a tenant's audits, newest first.
func (c *Client) TenantAudits(ctx context.Context, tenant string) iter.Seq2[TenantAudit, error] {
	return pages[TenantAudit](ctx, c, nil, "v1", "tenants", tenant, "audits")
}

// TenantAudit reads one audit.
func (c *Client) TenantAudit(ctx context.Context, tenant, id string) (a TenantAudit, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "audits", id), &a)
	return a, err
}

// LatestAudits lists the last audit of each tenant in the token's scope.
func (c *Client) LatestAudits(ctx context.Context) iter.Seq2[LatestAudit, error] {
	return pages[LatestAudit](ctx, c, nil, "v1", "audits")
}

// Pace reads how much of Graph's limits is used.
func (c *Client) Pace(ctx context.Context) (p Pace, err error) {
	_, err = c.do(ctx, get("v1", "audits", "pace"), &p)
	return p, err
}

// WaitAudit reads an audit until it has ended, and returns it.
func (c *Client) WaitAudit(ctx context.Context, tenant, id string) (TenantAudit, error) {
	var last TenantAudit
	err := c.poll(ctx, func() (done bool, err error) {
		a, err := c.TenantAudit(ctx, tenant, id)
		if err == nil {
			last = a
		}
		return a.Outcome != survey.Pending, err
	})
	return last, err
}

// WaitAudits waits until every tenant has the run's audit behind it. seen is told how many have, of how many.
func (c *Client) WaitAudits(ctx context.Context, run string, seen func(done, of int)) error {
	return c.poll(ctx, func() (bool, error) {
		r, err := c.AuditRun(ctx, run)
		if err != nil {
			return false, err
		}
		done := 0
		for t, err := range c.LatestAudits(ctx) {
			if err != nil {
				return false, err
			}
			if t.Audit != nil && (t.Audit.RunID == run || t.Audit.ID > run) { // ids are in the order of time
				done++
			}
		}
		if seen != nil {
			seen(done, r.Tenants)
		}
		return r.Sent && done >= r.Tenants, nil
	})
}
