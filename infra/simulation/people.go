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
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// act is something that people or the world do at a time.
type act struct {
	at   time.Time
	what string
	do   func()
}

func (w *world) at(t time.Time, what string, do func()) {
	w.script = append(w.script, act{t, what, do})
	w.sortScript()
}

func (w *world) sortScript() {
	slices.SortStableFunc(w.script, func(a, b act) int { return a.at.Compare(b.at) })
}

var operator = events.Actor{Kind: events.Operator, ID: "op-1", Name: "Noor"}

// platforms are the devices there are, and whether a reset makes a code.
var platforms = []struct {
	facts graph.ManagedDevice
	code  bool
}{
	{graph.ManagedDevice{OperatingSystem: "Android", OSVersion: "14", EnrollmentType: "androidEnterpriseFullyManaged"}, true},
	{graph.ManagedDevice{OperatingSystem: "Android", OSVersion: "13", EnrollmentType: "androidEnterpriseCorporateWorkProfile"}, true},
	{graph.ManagedDevice{OperatingSystem: "Android", OSVersion: "12", EnrollmentType: "androidAOSPUserOwnedDeviceEnrollment"}, true},
	{graph.ManagedDevice{OperatingSystem: "Android", OSVersion: "15", ManagementAgent: "googleCloudDevicePolicyController"}, true},
	{graph.ManagedDevice{OperatingSystem: "iOS", OSVersion: "18.1", EnrollmentType: "appleBulkWithUser"}, false},
	{graph.ManagedDevice{OperatingSystem: "Windows", OSVersion: "10.0.22631"}, false},
}

// scene is what a seed's world is about.
type scene uint8

const (
	resets scene = iota
	rollouts
	audits  // beside rollouts, with devices that tell of themselves
	portals // people in Intune's own portal beside ours, and bulk resets
	upkeep  // resets and rollouts, with messages that are lost, and the upkeep that finds what they were for
)

// scenes are taken in turn by the seeds.
var scenes = [...]scene{resets, rollouts, audits, resets, rollouts, portals, resets, rollouts, audits, resets, rollouts, upkeep}

// plan writes the script of a seed.
func (w *world) plan() {
	w.stop = start.Add(pick(w, 2*time.Hour, 30*time.Hour, 8*24*time.Hour))
	if w.rate == 0 {
		w.stop = start
	}
	w.horizon = w.stop.Add(12 * 24 * time.Hour)
	for i := range pick(w, 1, 1, 2, 3) {
		w.planTenant(fmt.Sprintf("7e4a0000-0000-4000-8000-%012x", i+1))
	}
	if w.scene == audits {
		w.planAuditTimer()
	}
	if w.scene == upkeep {
		w.planUpkeep()
	}
	for _, late := range []time.Duration{time.Hour, 30 * time.Hour} {
		w.at(w.stop.Add(late), "replay dead letters", w.replayAll)
	}
}

func (w *world) planTenant(id string) {
	u := work.NewUnit(w.store, tenant.Partition, w.now, w.newID)
	if _, err := tenant.Add(u, id, "Contoso", operator); err != nil {
		panic(err) // a GUID
	}
	if err := u.Commit(context.Background()); err != nil {
		panic(err) // nothing goes wrong yet
	}
	d := &directory{principals: map[string]time.Time{}}
	w.cloud.tenants[id] = d
	switch {
	case w.scene == audits:
		w.planRollouts(id, d)
		w.planAudits(id)
		w.planSubscriptions(id)
		w.planReports(id, fmt.Sprintf("de%s-0000-4000-8000-%012x", id[30:], 1))
		return
	case w.scene == rollouts:
		w.planRollouts(id, d)
		return
	case w.scene == upkeep && w.chance(0.6):
		w.planRollouts(id, d)
	default:
		w.planConsent(id, d)
	}
	for i := range pick(w, 1, 1, 2, 3) {
		w.planDevice(id, fmt.Sprintf("de%s-0000-4000-8000-%012x", id[30:], i+1))
	}
	if w.scene == portals {
		for i := range w.rng.IntN(6) {
			w.planDevice(id, fmt.Sprintf("de%s-0000-4000-8000-%012x", id[30:], i+10))
		}
		w.planPortal(id)
		if w.chance(0.7) {
			w.planBulk(id)
		}
	}
	for range w.rng.IntN(2) {
		w.at(start.Add(w.upTo(26*time.Hour)), "settings", func() { w.settings(id) })
	}
}

func (w *world) planConsent(id string, d *directory) {
	if w.chance(0.4) {
		return
	}
	request := w.newID()
	creates := w.chance(0.4)
	w.at(start.Add(w.upTo(time.Hour)), "add tenant", func() {
		w.consent(id, events.TenantAdded{RequestID: request, DisplayName: "Contoso", CreateServicePrincipals: creates, By: operator})
	})
	if w.chance(0.9) {
		d.consented = start.Add(w.upTo(20 * time.Hour))
		if !creates {
			for _, app := range []string{onboarding.ServiceAppID, onboarding.ClientAppID} {
				if w.chance(0.95) {
					d.principals[app] = start.Add(w.upTo(22 * time.Hour))
				}
			}
		}
		if w.chance(0.1) {
			d.disabled = onboarding.ClientAppID
		}
		back := events.ConsentReturned{RequestID: request, App: appID}
		if w.chance(0.1) {
			back.Error = "access_denied"
		}
		w.at(d.consented.Add(w.upTo(time.Minute)), "consent returned", func() { w.consent(id, back) })
	}
	if w.chance(0.25) {
		again := w.newID()
		w.at(start.Add(w.upTo(26*time.Hour)), "consent again", func() {
			w.consent(id, events.ConsentRequested{RequestID: again, CreateServicePrincipals: creates, By: operator})
		})
	}
}

func (w *world) planDevice(tenantID, id string) {
	p := pick(w, platforms...)
	h := &handset{tenant: tenantID, facts: p.facts, code: p.code, online: true}
	h.facts.ID, h.facts.DeviceName, h.facts.UserID = id, "device", "user-1"
	h.facts.Enrolled, h.facts.LastSync = start.Add(-60*24*time.Hour), start
	w.cloud.devices[id] = h
	first := start.Add(w.upTo(10 * time.Hour))
	for n := range 1 + w.rng.IntN(2) {
		at := first.Add(time.Duration(n) * w.upTo(12*time.Hour))
		ask := w.accept
		if w.chance(0.15) {
			ask = w.send
		}
		w.at(at, "ask for a reset", func() { ask(tenantID, id, 3) })
		if w.chance(0.2) { // impatient, or two people at once
			w.at(at.Add(w.upTo(2*time.Minute)), "ask again", func() { w.accept(tenantID, id, 3) })
		}
		if w.chance(0.15) {
			w.at(at.Add(w.upTo(5*time.Minute)), "cancel", func() { w.cancel(tenantID, id) })
		}
	}
	if w.rate > 0 && w.chance(0.4) {
		w.planTrouble(h, first)
	}
}

// planTrouble lets something happen to a device about the time of its first reset.
func (w *world) planTrouble(h *handset, first time.Time) {
	m := pick(w, possible[device]...)
	hit := func(change func()) func() { return func() { w.hit(device, m); change() } }
	soon := first.Add(w.upTo(time.Minute))
	switch m {
	case offline:
		w.at(first.Add(-time.Minute), "device goes offline", hit(func() { h.online = false }))
		if w.chance(0.6) {
			w.at(first.Add(w.upTo(40*time.Hour)), "device comes back", func() { h.online = true; w.cloud.carryOut(h) })
		}
	case enrolledAgain:
		w.at(soon, "device enrols again", hit(func() { h.facts.Enrolled = w.now.Truncate(time.Second) }))
	case otherUser:
		w.at(soon, "device changes hands", hit(func() { h.facts.UserID = "user-2" }))
	case retired:
		w.at(soon, "device is retired", hit(func() { h.gone = true }))
	default:
		w.at(first.Add(-time.Minute), "device will misbehave", hit(func() { h.outcome = m }))
	}
}

// planReveals lets people look at a code that was issued: early, in the last second, at the very end, and whenever.
func (w *world) planReveals(tenantID string, r passcode.Reset) {
	ends := r.ExpiresAt.Add(-w.skew)
	for _, at := range []time.Time{w.now.Add(w.upTo(time.Minute)), ends.Add(-time.Second), ends, w.now.Add(w.upTo(8 * 24 * time.Hour))} {
		if w.chance(0.5) {
			w.at(later(at, w.now), "reveal", func() { w.reveal(tenantID, r.ID) })
		}
	}
}

// api runs what somebody asks the program for. An answer that is an error may make him ask again.
func (w *world) api(what, tenantID, request string, again func(), fn func(ctx context.Context) error) {
	w.spawn(&task{name: what, tenant: tenantID, request: request}, func(ctx context.Context) {
		err := fn(ctx)
		if err == nil {
			return
		}
		w.scan("an answer", []byte(err.Error()))
		if (errors.Is(err, errCrashed) || errors.Is(err, errUnavailable)) && again != nil && w.chance(0.7) {
			w.at(w.now.Add(w.upTo(time.Minute)), what+" again", again)
		}
	})
}

// persist stages and commits until nobody was faster, as the desk of the API does.
func (w *world) persist(ctx context.Context, tenantID string, fn func(u *work.Unit) error) error {
	var err error
	for range 20 {
		u := work.NewUnit(rowsOf{w}, tenantID, w.clock(), w.newID)
		if err = fn(u); err == nil {
			err = u.Commit(ctx)
		}
		if !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
	return err
}

func (w *world) consent(tenantID string, data events.Data) {
	w.api("consent", tenantID, data.Request(), func() { w.consent(tenantID, data) }, func(ctx context.Context) error {
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			_, err := u.Send(ctx, onboarding.Queue, time.Time{}, data)
			return err
		})
		if _, back := data.(events.ConsentReturned); err == nil && !back {
			w.tally.consents++
			w.model.consented = append(w.model.consented, work.Key{Partition: tenantID, Row: data.Request()})
		}
		return err
	})
}

// accept asks for a reset through the API.
func (w *world) accept(tenantID, deviceID string, tries int) {
	again := func() { w.accept(tenantID, deviceID, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("accept "+deviceID[:8], tenantID, "", again, func(ctx context.Context) error {
		var r passcode.Reset
		var existing bool
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			var err error
			r, existing, err = passcode.Accept(ctx, u, events.PasscodeResetRequested{RequestID: u.NewID(), DeviceID: deviceID, Reason: "forgot it", By: operator})
			return err
		})
		if err == nil {
			w.note("accepted", r.ID, fmt.Sprint(existing))
			w.model.accepted = append(w.model.accepted, work.Key{Partition: tenantID, Row: r.ID})
			if !existing {
				w.tally.accepted++
			}
		}
		return err
	})
}

// send asks for a reset by an event that comes as a message.
func (w *world) send(tenantID, deviceID string, _ int) {
	w.api("send "+deviceID[:8], tenantID, "", nil, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			_, err := u.Send(ctx, passcode.Queue, time.Time{}, events.PasscodeResetRequested{RequestID: u.NewID(), DeviceID: deviceID, Reason: "portal", By: operator})
			return err
		})
	})
}

func (w *world) cancel(tenantID, deviceID string) {
	w.api("cancel", tenantID, "", func() { w.cancel(tenantID, deviceID) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			kept, err := passcode.ReadDevice(ctx, u, deviceID)
			if err != nil || kept.Pending == "" {
				return err
			}
			_, err = passcode.Cancel(ctx, u, kept.Pending, "not needed", operator)
			return err
		})
	})
}

func (w *world) settings(tenantID string) {
	w.api("settings", tenantID, "", nil, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			s, err := tenant.ReadSettings(ctx, u)
			if err != nil {
				return err
			}
			s.PasscodeHours, s.ResetDeadlineHours = 1+w.rng.IntN(168), 1+w.rng.IntN(24)
			return tenant.WriteSettings(u, s)
		})
	})
}

// reveal does what the API does, in the same order: count the view, commit its audit entry, open.
func (w *world) reveal(tenantID, id string) {
	w.tally.reveals++
	w.api("reveal", tenantID, "", func() { w.reveal(tenantID, id) }, func(ctx context.Context) error {
		var r passcode.Reset
		var receipt audit.Receipt
		ticket := ""
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			var err error
			if r, err = passcode.Read(ctx, u, id); err != nil {
				return err
			}
			if !r.Readable(u.Now()) {
				return secret.ErrGone
			}
			r.Views++
			ticket = u.NewID()
			if err := passcode.Write(u, r); err != nil {
				return err
			}
			receipt, err = audit.Commit(ctx, u, audit.Entry{
				Actor: operator, Action: audit.PasscodeRevealed, DeviceID: r.DeviceID, RequestID: r.ID, Reason: "on the phone", Ticket: ticket,
			}, r.Code.ID)
			return err
		})
		if err != nil {
			return err
		}
		text, err := w.vault.Open(ctx, *r.Code, secret.Binding{Tenant: tenantID, Device: r.DeviceID, Request: r.ID}, receipt)
		if err == nil && !w.cur.dead {
			w.released(r, text.Expose(), ticket)
		}
		return err
	})
}

// released judges a code that somebody has been given.
func (w *world) released(r passcode.Reset, text, ticket string) {
	w.tally.released++
	w.note("released", r.ID, text)
	if n := w.model.leaves[ticket]; n != 1 {
		w.violate("I6: a code of %s was given out with %d audit entries", r.ID, n)
	}
	h := w.cloud.devices[r.DeviceID]
	i := slices.IndexFunc(h.actions, func(a *action) bool { return a.code == text })
	if i < 0 {
		w.violate("I5: the code given out for %s is none of its device", r.ID)
		return
	}
	// By true time a code may be read for as much longer as the clock is behind.
	if limit := h.actions[i].finished.Add(secret.MaxLife + max(0, -w.skew)); !w.now.Before(limit) {
		w.violate("I4: the code of %s, made at %s, was given out at %s with the clock %s ahead", r.ID, h.actions[i].finished, w.now, w.skew)
	}
	if !w.clock().Before(r.ExpiresAt) {
		w.violate("I4: the code of %s was given out after its expiry", r.ID)
	}
}

// replayAll replays every dead letter, as an operator does once what made them is over.
func (w *world) replayAll() {
	for _, id := range w.tenantIDs() {
		page, err := w.store.List(context.Background(), work.Query{Partition: id, Prefix: diag.LetterPrefix, Limit: 1000})
		if err != nil {
			panic(err) // memory
		}
		for _, row := range page.Rows {
			var l diag.DeadLetter
			if err := json.Unmarshal(row.Value, &l); err != nil {
				w.violate("dead letter %s can't be decoded", row.Row)
				return
			}
			w.api("replay", id, l.RequestID, nil, func(ctx context.Context) error {
				return w.persist(ctx, id, func(u *work.Unit) error {
					u.Post(work.Message{ID: l.MessageID + "-r" + l.ID[20:], Queue: l.Queue, Partition: id, Body: l.Body})
					u.Delete(row.Row)
					return nil
				})
			})
		}
	}
}

func (w *world) tenantIDs() []string {
	var ids []string
	for id := range w.cloud.tenants {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}
