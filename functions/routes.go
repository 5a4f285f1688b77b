package main

import (
	"context"
	"log/slog"
	"time"

	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/bulkreset"
	"pinreset/functions/consent"
	"pinreset/functions/devicereport"
	"pinreset/functions/graphsubscription"
	"pinreset/functions/housekeeping"
	"pinreset/functions/notification"
	"pinreset/functions/passcodereset"
	"pinreset/functions/policyrollout"
	"pinreset/functions/portalaction"
	"pinreset/functions/tenantaudit"
	reports "pinreset/shared/devicereport"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph"
	"pinreset/shared/host/local"
	"pinreset/shared/notice"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/readiness"
	"pinreset/shared/rollout"
	"pinreset/shared/secret"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/work"
)

// pace is how often handlers look again; the demo and the tests have less patience than Microsoft's cloud needs.
type pace struct {
	consent consent.Schedule
	reset   passcodereset.Schedule
	rollout policyrollout.Schedule
	audit   tenantaudit.Schedule
}

var defaultPace = pace{
	consent: consent.DefaultSchedule, reset: passcodereset.DefaultSchedule, rollout: policyrollout.DefaultSchedule, audit: tenantaudit.DefaultSchedule,
}

// needs is what handlers are made of.
type needs struct {
	store      work.Store
	graph      *graph.Client
	vault      *secret.Vault
	app        string // client ids
	privileged string
	place      readiness.Cloud
	links      onboarding.Links
	outbound   outbound
	callback   string // where Graph sends its notifications; "" where it can't reach this server
	pace       pace
	logger     *slog.Logger
	metrics    *metrics
}

// routes is the table of functions: what runs, and for which queue.
func routes(n needs) []dispatch.Route {
	return []dispatch.Route{
		(&consent.Handler{Directory: n.graph, Store: n.store, App: n.app, Privileged: n.privileged, Schedule: n.pace.consent, Audit: auditBy(events.AuditByConsent)}).Route(),
		(&passcodereset.Handler{Devices: n.graph, Vault: n.vault, Store: n.store, Schedule: n.pace.reset, Called: n.metrics.called}).Route(),
		(&bulkreset.Handler{Intune: n.graph, Store: n.store}).Route(),
		(&portalaction.Handler{Intune: n.graph, Store: n.store, Own: []string{n.app, n.privileged}, Audit: auditBy(events.AuditByPortal), Counted: n.metrics.record}).Route(),
		(&policyrollout.Handler{Directory: n.graph, Policies: n.graph, Store: n.store, Links: n.links, Schedule: n.pace.rollout, Audit: auditBy(events.AuditByRollout)}).Route(),
		(&announcement.Handler{Logger: n.logger, Kept: n.metrics.announced}).Route(),
		(&devicereport.Handler{}).Route(),
		(&tenantaudit.Handler{Cloud: n.graph, Store: n.store, Place: n.place, Schedule: n.pace.audit, SignIn: n.graph.SignIn}).Route(),
		(&graphsubscription.Handler{Graph: n.graph, Store: n.store, Callback: n.callback}).Route(),
		(&notification.Handler{Devices: n.graph, Seals: n.outbound.seals, Client: n.outbound.client, Mail: n.outbound.mail}).Route(),
		n.housekeeping().Route(),
	}
}

// auditBy stages the audit that a change asks for.
func auditBy(cause string) func(context.Context, *work.Unit, time.Time) error {
	return func(ctx context.Context, u *work.Unit, due time.Time) error {
		_, err := u.Send(ctx, survey.Queue, due, events.TenantAuditRequested{RequestID: u.NewID(), Cause: cause, By: events.Pinreset()})
		return err
	}
}

func (n needs) housekeeping() *housekeeping.Handler {
	return &housekeeping.Handler{Vault: n.vault, Keep: housekeeping.DefaultKeep, Schedule: housekeeping.DefaultSchedule}
}

// queues says how many deliveries run at once. People's queues and bulk queues have workers of their own.
var queues = []local.Queue{
	{Name: onboarding.Queue, Workers: 8},
	{Name: passcode.Queue, Workers: 32},
	{Name: passcode.Queue.Bulk(), Workers: 16},
	{Name: passcode.BulkQueue.Bulk(), Workers: 2},
	{Name: portal.Queue.Bulk(), Workers: 4},
	{Name: rollout.Queue, Workers: 32},
	{Name: reports.Queue, Workers: 8},
	{Name: work.Announcements, Workers: 8},
	{Name: notice.Queue, Workers: 16},
	{Name: survey.Queue, Workers: 8},
	// Most of an audit is waiting for answers. A goroutine that waits costs next to nothing.
	{Name: survey.Queue.Bulk(), Workers: 352},
	{Name: subscription.Queue.Bulk(), Workers: 4},
	{Name: housekeeping.Queue.Bulk(), Workers: 2},
}

// shutdown is how long requests and runs under way get to end. Runs give their messages back at once, so it is generous.
const shutdown = 2 * time.Second
