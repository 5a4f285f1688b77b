package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/devicereport"
	"pinreset/shared/diag"
	"pinreset/shared/policy"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// planAudits lets the timer run, somebody ask, and tenants opt into remedies.
func (w *world) planAudits(id string) {
	for range 1 + w.rng.IntN(3) {
		w.at(start.Add(w.upTo(30*time.Hour)), "ask for an audit", func() { w.audit(id, 3) })
	}
	if w.chance(0.5) {
		w.at(start.Add(w.upTo(time.Hour)), "opt into remedies", func() { w.optIn(id) })
	}
}

// planAuditTimer lets the audits' timer run as often as a process does that is started now and then.
func (w *world) planAuditTimer() {
	for range 2 + w.rng.IntN(6) {
		w.at(start.Add(w.upTo(max(w.stop.Sub(start), 30*time.Hour))), "audit timer", w.auditTick)
	}
	// What is not sent yet. The program's timer never ends; this one goes on until after the clock's leaps of a week, which bring all that
	// was planned before at once.
	const week = 7 * 24 * time.Hour
	for _, late := range []time.Duration{time.Minute, 13 * time.Hour, week + 24*time.Hour, week + 25*time.Hour, 2*week + 24*time.Hour, 2*week + 25*time.Hour} {
		w.at(w.stop.Add(late), "audit timer", w.auditTick)
	}
}

func (w *world) auditTick() {
	w.api("audit timer", "", "", w.auditTick, func(ctx context.Context) error { return w.audits.Tick(ctx) })
}

// audit asks for an audit of a tenant, as the API does.
func (w *world) audit(tenantID string, tries int) {
	again := func() { w.audit(tenantID, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("audit", tenantID, "", again, func(ctx context.Context) error {
		id := ""
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			id = u.NewID()
			_, err := survey.Accept(ctx, u, events.TenantAuditRequested{RequestID: id, Cause: events.AuditByOperator, Reason: "asked", By: operator})
			return err
		})
		if err == nil {
			w.model.audited = append(w.model.audited, work.Key{Partition: tenantID, Row: id})
		}
		return err
	})
}

func (w *world) optIn(tenantID string) {
	w.api("settings", tenantID, "", func() { w.optIn(tenantID) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			s, err := tenant.ReadSettings(ctx, u)
			if err != nil {
				return err
			}
			s.RemediatePolicy = true
			w.model.opted[tenantID] = true // from the moment on in which it may be stored
			return tenant.WriteSettings(u, s)
		})
	})
}

// wroteReport judges an audit's report in the commit that brings it.
func (w *world) wroteReport(b work.Batch, wr work.Write) {
	var r survey.Report
	w.decode(wr, &r)
	before, known := w.model.reports.put(work.Key{Partition: b.Partition, Row: r.ID}, r)
	if r.Outcome == survey.Pending || known && before.Outcome != survey.Pending && before.Outcome != events.AuditNot {
		if known && before.Outcome != survey.Pending && before.Outcome != r.Outcome {
			w.violate("I15: audit %s had ended %s and is %s", r.ID, before.Outcome, r.Outcome)
		}
		return
	}
	w.note("audit", r.ID, r.Outcome, string(r.Code), strings.Join(r.Unread(), ","))
	w.tally.audits++
	drifts := 0
	completed, failed := false, false
	for _, m := range b.Messages {
		if requestOf(m.Body) != r.ID {
			continue
		}
		switch kindOf(m.Body) {
		case events.TenantDriftFound{}.Kind():
			drifts++
		case events.TenantAuditCompleted{}.Kind():
			completed = true
		case events.FailureRaised{}.Kind():
			failed = true
		}
	}
	w.tally.drifts += int64(drifts)
	switch unread := len(r.Unread()); {
	case drifts != len(r.Drift):
		w.violate("I15: audit %s has %d drifts and tells of %d", r.ID, len(r.Drift), drifts)
	case !completed && !failed:
		w.violate("I15: audit %s ended %s and nobody is told", r.ID, r.Outcome)
	case r.Outcome == events.AuditNot && (r.Code == "" || r.Diagnostics == ""):
		w.violate("I15: tenant %s was not audited and audit %s does not say why", b.Partition, r.ID)
	case r.Outcome == events.AuditWhole && (unread > 0 || len(r.Parts) == 0), r.Outcome == events.AuditPartly && (unread == 0 || unread == len(r.Parts)):
		w.violate("I15: audit %s is %s with %d parts of %d unread", r.ID, r.Outcome, unread, len(r.Parts))
	}
	if r.Outcome != events.AuditWhole {
		w.tally.unread++
	}
}

// wroteFacts judges what an audit says of a tenant: nothing that was there all the while is missing.
func (w *world) wroteFacts(b work.Batch, wr work.Write) {
	var f readiness.TenantFacts
	w.decode(wr, &f)
	d := w.cloud.tenants[b.Partition]
	from := w.cur.started.Add(-replicaLag)
	for app, of := range map[string]interface {
		Get() (readiness.ServicePrincipal, bool)
	}{bothApps[0]: f.Service, bothApps[1]: f.Client} {
		if sp, read := of.Get(); read && !sp.Present && d.present(app, from) {
			w.violate("I16: application %s of tenant %s is there and is shown missing", app, b.Partition)
		}
	}
	always := slices.Clone(d.policies(from))
	for _, s := range d.history {
		if s.at.After(from) {
			always = slices.DeleteFunc(always, func(f policy.Found) bool {
				return !slices.ContainsFunc(s.list, func(g policy.Found) bool { return g.ID == f.ID })
			})
		}
	}
	for _, there := range always {
		found, read := f.Policies[there.Shape.Store()].Get()
		if read && !slices.ContainsFunc(found, func(g policy.Found) bool { return g.ID == there.ID }) {
			w.violate("I16: policy %s of tenant %s is there and is shown missing", there.ID, b.Partition)
		}
	}
	for _, store := range policy.Stores {
		found, _ := f.Policies[store].Get()
		for _, g := range found {
			if !slices.ContainsFunc(d.history, func(s snapshot) bool {
				return slices.ContainsFunc(s.list, func(o policy.Found) bool { return o.ID == g.ID && o.Value == g.Value && o.Mine == g.Mine })
			}) {
				w.violate("I16: an audit of tenant %s shows policy %s as it never was", b.Partition, g.ID)
			}
		}
	}
}

// endAudits is called at the end of a world.
func (w *world) endAudits() {
	m := &w.model
	for _, key := range m.audited {
		if _, there := m.reports.rows[key]; !there {
			w.violate("I1: audit %s was accepted and is not there", key.Row)
		}
	}
	byRun := map[string]int{}
	for _, key := range m.reports.order {
		r := m.reports.rows[key]
		if r.Outcome == survey.Pending {
			w.violate("I9: audit %s is still pending", r.ID)
		}
		if r.Outcome == events.AuditNot && w.keeps(key) {
			id := r.Diagnostics[strings.LastIndex(r.Diagnostics, "/")+1:]
			if page, err := diag.Load(context.Background(), w.store, key.Partition, id); err != nil || page.Link != r.Diagnostics {
				w.violate("I9: tenant %s was not audited and the page %q can't be read: %v", key.Partition, r.Diagnostics, err)
			}
		}
		byRun[r.RunID]++
	}
	for page := ""; ; {
		runs, next, err := survey.Runs(context.Background(), w.store, 100, page)
		if err != nil {
			panic(err) // memory
		}
		for _, run := range runs {
			w.tally.auditRuns++
			if n := byRun[run.ID]; !run.Sent || run.Tenants != len(w.cloud.tenants) || n != run.Tenants {
				w.violate("I15: run %s (sent %t) is for %d tenants of %d, and %d have a report", run.ID, run.Sent, run.Tenants, len(w.cloud.tenants), n)
			}
		}
		if page = next; page == "" {
			break
		}
	}
	for _, key := range m.reported {
		row, err := w.store.Get(context.Background(), key)
		var s devicereport.Stored
		if err != nil || json.Unmarshal(row.Value, &s) != nil || s.Read == nil {
			w.violate("I17: report %s of a device was accepted and was not read: %v", key.Row, err)
		}
	}
}

// keeps reports whether the audit's report is still there. The upkeep forgets it in the round in which its page is as old.
func (w *world) keeps(report work.Key) bool {
	_, err := survey.Read(context.Background(), work.NewUnit(w.store, report.Partition, w.now, w.newID), report.Row)
	return !errors.Is(err, work.ErrNotFound)
}

// auditBy stages the audit of a tenant that something changed, as the program does.
func auditBy(cause string) func(context.Context, *work.Unit, time.Time) error {
	return func(ctx context.Context, u *work.Unit, due time.Time) error {
		_, err := u.Send(ctx, survey.Queue, due, events.TenantAuditRequested{RequestID: u.NewID(), Cause: cause, By: events.Pinreset()})
		return err
	}
}

// auditCron is the program's own schedule.
var auditCron = func() tenantaudit.Cron {
	c, err := tenantaudit.ParseCron(tenantaudit.DefaultCron)
	if err != nil {
		panic(err) // a constant
	}
	return c
}()

// planReports lets a device tell of itself, and of the same PIN resets again and again.
func (w *world) planReports(tenantID, deviceID string) {
	var resets []devicereport.PINReset
	at := start.Add(w.upTo(4 * time.Hour))
	for n := range 2 + w.rng.IntN(5) {
		if w.chance(0.6) {
			resets = append(resets, devicereport.PINReset{At: at.Add(-w.upTo(time.Hour)).Truncate(time.Second), Outcome: pick(w, devicereport.Succeeded, devicereport.Failed), Kind: devicereport.NonDestructive})
			if last := &resets[len(resets)-1]; last.Outcome == devicereport.Failed {
				last.Code = pick(w, "0x801C044D", "CAA20004", "0xdeadbeef")
			}
		}
		sequence, tell := int64(n+1), slices.Clone(resets)
		w.at(at, "device reports", func() { w.report(tenantID, deviceID, sequence, tell, 3) })
		at = at.Add(pick(w, w.upTo(time.Minute), w.upTo(5*time.Hour)))
	}
}

// report accepts a device's report as the callback does once it has believed it.
func (w *world) report(tenantID, deviceID string, sequence int64, resets []devicereport.PINReset, tries int) {
	again := func() { w.report(tenantID, deviceID, sequence, resets, tries-1) }
	if tries == 0 {
		again = nil
	}
	body, err := json.Marshal(devicereport.Report{Version: devicereport.Version, Sequence: sequence, CollectedAt: w.now, Edition: "Enterprise", OSVersion: fmt.Sprintf("10.0.%d", sequence), Resets: resets})
	if err != nil {
		panic(err) // a report of our own
	}
	w.api("report", tenantID, "", again, func(ctx context.Context) error {
		id := ""
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			last, err := devicereport.LoadReporter(ctx, u, deviceID)
			if err != nil {
				return err
			}
			if sequence <= last.Sequence {
				id = ""
				return nil // late
			}
			id = u.NewID()
			_, err = u.Send(ctx, devicereport.Queue, time.Time{}, events.DeviceReported{RequestID: id, DeviceID: deviceID})
			return errors.Join(err,
				devicereport.Create(u, devicereport.Stored{ID: id, DeviceID: deviceID, KeyID: "k", At: u.Now(), Body: body}),
				devicereport.WriteReporter(u, deviceID, devicereport.Reporter{Sequence: sequence, At: u.Now(), KeyID: "k", ReportID: id}))
		})
		if err == nil && id != "" {
			w.tally.reports++
			w.model.reported = append(w.model.reported, work.Key{Partition: tenantID, Row: devicereport.Prefix + strings.ToLower(deviceID) + "|" + work.Descending(id)})
		}
		return err
	})
}

// wroteDevice judges the facts of a device: they are never those of an older report.
func (w *world) wroteDevice(b work.Batch, wr work.Write) {
	var f readiness.DeviceReport
	w.decode(wr, &f)
	key := work.Key{Partition: b.Partition, Row: wr.Row}
	if before := w.model.newest[key]; f.ReportID < before {
		w.violate("I17: the facts of %s go back from report %s to %s", wr.Row, before, f.ReportID)
	}
	w.model.newest[key] = f.ReportID
}

// toldOfPIN sees each announcement of a PIN reset's end: one for each.
func (w *world) toldOfPIN(m work.Message) {
	name := m.Partition + "|" + field(m.Body, `"deviceId":"`) + "|" + field(m.Body, `"resetAt":"`)
	if w.model.pins[name]++; w.model.pins[name] > 1 {
		w.violate("I17: the PIN reset %s is told of %d times", name, w.model.pins[name])
	}
	w.tally.pins++
}
