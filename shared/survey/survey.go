// Package survey is the domain of audits: what one reading of a tenant found, what has drifted since the reading before, how
// that developed, and the runs that audit every tenant.
//
// The word is survey because package audit is another thing, the log of who did what; people only ever see "audit".
//
// The rows of a tenant: one for its last audit, with what is known of the tenant and the development, and one for each report.
// Facts about readiness are that package's own row. A run over all tenants is a row of the register's partition, and is
// what makes it resumable: see [Run].
//
// The package reads no tenant (the function tenantaudit does) and decides on no readiness.
package survey

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/readiness"
	"pinreset/shared/work"
)

// Queue is where audits wait. Those of a run over all tenants wait on its bulk side.
const Queue work.Queue = "audit"

// Pending is the outcome of an audit that has not ended. The others are those of events.TenantAuditCompleted.
const Pending = "pending"

// Names of the parts of an audit.
const (
	PartService        = "service"        // the application PIN Reset Service, and what it holds
	PartClient         = "client"         // the application PIN Reset Client, and what it holds
	PartDomains        = "domains"        // verified domains
	PartConfigurations = "configurations" // device configuration profiles
	PartCatalog        = "catalog"        // settings catalog, with endpoint security
	PartIntents        = "intents"        // endpoint security in its older form
	PartDevices        = "devices"        // managed devices
	PartStatus         = "status"         // what devices made of the policy
)

// Part is one thing that was to be read.
type Part struct {
	Name string     `json:"name"`
	Read bool       `json:"read"`
	Code fault.Code `json:"code,omitempty"` // why it could not be
	Text string     `json:"text,omitempty"`
}

// Change is a difference to the audit before.
type Change struct {
	What   string `json:"what"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Drift is a change to the worse.
type Drift struct {
	Code        fault.Code `json:"code"`
	Detail      string     `json:"detail"`
	PolicyID    string     `json:"policyId,omitempty"`
	RemedyID    string     `json:"remedyId,omitempty"` // the rollout that puts it right
	Diagnostics string     `json:"diagnostics,omitempty"`
}

// Report is one audit of a tenant.
type Report struct {
	ID      string       `json:"id"`
	Cause   string       `json:"cause"`
	RunID   string       `json:"runId,omitempty"`
	Reason  string       `json:"reason,omitempty"`
	By      events.Actor `json:"by,omitzero"`
	At      time.Time    `json:"at"` // of the end; before it, of the request
	Outcome string       `json:"outcome"`

	State       readiness.State `json:"state,omitempty"`       // where the tenant stands
	Code        fault.Code      `json:"code,omitempty"`        // why nothing could be read
	Diagnostics string          `json:"diagnostics,omitempty"` // of an audit that read nothing
	Since       time.Time       `json:"since,omitzero"`        // the audit before that is compared with
	Parts       []Part          `json:"parts,omitempty"`

	Coverage *readiness.Coverage `json:"coverage,omitempty"` // nil: devices could not be read
	Status   *Status             `json:"status,omitempty"`   // nil: nothing tells what devices made of the policy
	Drift    []Drift             `json:"drift,omitempty"`
	Changes  []Change            `json:"changes,omitempty"`
	// Lost is what was read and is not kept for the next audit to compare with, because there is too much of it.
	Lost []readiness.Loss `json:"lost,omitempty"`

	Requests  int `json:"requests"`  // reads that Graph counts, parts of batches each
	Throttled int `json:"throttled"` // of these, answered with 429
}

// Status is what devices made of the tenant's policies, as Intune counts it, or where it does not as devices report themselves.
// NotApplicable are beside the others.
type Status struct {
	Source        string `json:"source,omitempty"` // "devices": their own reports, and one without the value may not be meant; else Intune
	Pending       int    `json:"pending"`
	Succeeded     int    `json:"succeeded"`
	Failed        int    `json:"failed"`
	NotApplicable int    `json:"notApplicable"`
}

// Targeted is the number of devices that a policy applies to.
func (s Status) Targeted() int { return s.Pending + s.Succeeded + s.Failed }

// Unread returns the names of the parts that could not be read.
func (r Report) Unread() []string {
	var names []string
	for _, p := range r.Parts {
		if !p.Read {
			names = append(names, p.Name)
		}
	}
	return names
}

// Prefix is the row prefix of reports; they list newest first.
const Prefix = "survey|"

func row(id string) string { return Prefix + work.Descending(id) }

// Read returns a report of the unit's tenant, or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit, id string) (Report, error) {
	var r Report
	err := u.Get(ctx, row(id), &r)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	return r, err
}

// Write stages a report.
func Write(u *work.Unit, r Report) error { return u.Put(row(r.ID), r) }

// List returns a page of a tenant's reports, newest first.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (reports []Report, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list audits of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var r Report
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		reports = append(reports, r)
	}
	return reports, p.Next, nil
}

// Accept stages an audit that somebody waits for: its pending report and its message.
func Accept(ctx context.Context, u *work.Unit, want events.TenantAuditRequested) (Report, error) {
	r := Report{ID: want.RequestID, Cause: want.Cause, RunID: want.RunID, Reason: want.Reason, By: want.By, At: u.Now(), Outcome: Pending}
	if err := u.Create(row(r.ID), r); err != nil {
		return r, err
	}
	_, err := u.Send(ctx, Queue, time.Time{}, want)
	return r, err
}
