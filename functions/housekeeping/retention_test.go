package housekeeping_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/housekeeping"
	"pinreset/functions/web/callback"
	"pinreset/shared/audit"
	"pinreset/shared/devicekey"
	"pinreset/shared/devicereport"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/readiness"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// put stores rows without regard to what a unit can carry.
func (f *fixture) put(partition string, all map[string]any) {
	f.T.Helper()
	u := f.Unit(partition)
	for row, value := range all {
		f.must(u.Put(row, value))
		if len(u.Batch().Writes) == work.MaxOperations {
			f.must(u.Commit(f.T.Context()))
			u = f.Unit(partition)
		}
	}
	f.must(u.Commit(f.T.Context()))
}

// TestRetention: rows go at their age and not before, in every partition, more of them than one commit can carry.
func TestRetention(t *testing.T) {
	t.Parallel()
	if callback.StatePrefix != "state|" {
		t.Errorf("used consent states are under %q now", callback.StatePrefix)
	}
	f := setUp(t, false)
	now := f.Clock.Now()
	keep := housekeeping.DefaultKeep
	// One row on either side of each bound.
	type kind struct {
		prefix, partition string
		keep              time.Duration
		row               func(at time.Time) any
	}
	at := func(at time.Time) any { return map[string]any{"at": at} }
	expires := func(at time.Time) any { return map[string]any{"expiresAt": at} }
	kinds := []kind{
		{diag.AttemptPrefix, contoso, keep.History, func(at time.Time) any { return diag.Attempt{RequestID: "consent", StartedAt: at} }},
		{diag.FailurePrefix, contoso, keep.History, func(at time.Time) any { return diag.Failure{At: at, Code: fault.Internal} }},
		{diag.PagePrefix, contoso, keep.History, func(at time.Time) any { return diag.Failure{At: at} }},
		{diag.LetterPrefix, contoso, keep.History, func(at time.Time) any { return diag.DeadLetter{At: at} }},
		{diag.EventPrefix, contoso, keep.Feed, func(at time.Time) any {
			return events.Event{ID: "e", Tenant: contoso, Time: at, Data: events.PasscodeExpired{RequestID: "r", DeviceID: contoso}}
		}},
		{audit.Prefix, contoso, keep.Audit, func(at time.Time) any { return audit.Entry{At: at, Action: audit.ResetRequested} }},
		{"idem|", contoso, 0, expires},
		{callback.StatePrefix, contoso, 0, expires},
		{"idem|", tenant.Partition, 0, expires},
		{"idem|", identity.Partition, 0, expires},
		{audit.Prefix, identity.Partition, keep.Audit, at},
		{identity.TokenPrefix, identity.Partition, keep.Audit, func(at time.Time) any { return identity.Token{ExpiresAt: at} }},
		{identity.TokenPrefix + "revoked", identity.Partition, keep.Audit, func(at time.Time) any { return identity.Token{RevokedAt: at, ExpiresAt: now.Add(day)} }},
		{diag.LetterPrefix, dispatch.SystemPartition, keep.History, at},
		{diag.AttemptPrefix, dispatch.SystemPartition, keep.History, func(at time.Time) any { return diag.Attempt{StartedAt: at} }},
	}
	for _, k := range kinds {
		f.put(k.partition, map[string]any{
			k.prefix + "0stays": k.row(now.Add(time.Second - k.keep)),
			k.prefix + "1goes":  k.row(now.Add(-k.keep)),
			k.prefix + "2goes":  k.row(now.Add(-k.keep - 500*day)),
		})
	}
	f.put(contoso, map[string]any{audit.Prefix + "unreadable": "text"})
	f.put(identity.Partition, map[string]any{identity.TokenPrefix + "endless": identity.Token{}, "admin": map[string]any{"token": "t"}})
	many := map[string]any{}
	for i := range 500 {
		many[fmt.Sprintf("%smany%03d", audit.Prefix, i)] = audit.Entry{At: now.Add(-keep.Audit - day)}
	}
	f.put(contoso, many)
	f.tick()
	f.Drain(f.Clock.Now())
	for _, k := range kinds {
		for name, want := range map[string]int{"0stays": 1, "1goes": 0, "2goes": 0} {
			if got := rows(t, f.Store(), k.partition, k.prefix+name); got != want {
				t.Errorf("%s in %s: %d rows, want %d", k.prefix+name, k.partition, got, want)
			}
		}
	}
	for prefix, want := range map[string]int{audit.Prefix + "many": 0, audit.Prefix + "unreadable": 1} {
		if got := rows(t, f.Store(), contoso, prefix); got != want {
			t.Errorf("%s: %d rows, want %d", prefix, got, want)
		}
	}
	if got := rows(t, f.Store(), identity.Partition, identity.TokenPrefix+"endless") + rows(t, f.Store(), identity.Partition, "admin"); got != 2 {
		t.Errorf("%d of 2 rows are left that have no end", got)
	}
	if _, err := tenant.Get(t.Context(), f.Store(), contoso); err != nil {
		t.Errorf("the register: %v", err)
	}
	for _, o := range f.Runs {
		if o.Verdict != "done" {
			t.Errorf("a run of %s ended %s %s", o.Function, o.Verdict, o.Code)
		}
	}
}

// TestRetentionOfDevices: what a device said of itself, and how far it has got, stay while it has a valid key, and go with their age
// when it has none. Facts of a device that has been silent for as long as the audit log is kept go in any case.
func TestRetentionOfDevices(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	keep := housekeeping.DefaultKeep
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	f.must(err)
	keys := devicekey.New(kek)
	now := f.Clock.Now()
	cases := []struct {
		device          string
		valid, revoked  bool // keys that it has
		age             time.Duration
		facts, reporter int // rows that stay
	}{
		{"never-had-a-key", false, false, keep.History, 0, 0},
		{"lately-without-a-key", false, false, keep.History - time.Second, 1, 1},
		{"revoked", false, true, keep.History, 0, 0},
		{"lately-revoked", false, true, keep.History - time.Second, 1, 1},
		{"another-key", true, true, keep.History + day, 1, 1},
		{"off-for-long", true, false, keep.Audit - time.Second, 1, 1},
		{"silent", true, false, keep.Audit, 0, 1},
	}
	for _, c := range cases {
		u := f.Unit(contoso)
		if c.revoked {
			key, _, err := keys.Add(t.Context(), u, devicekey.Request{Device: c.device, Scheme: webhook.HMAC, By: events.Pinreset()})
			f.must(err, u.Commit(t.Context()))
			u = f.Unit(contoso)
			_, err = devicekey.Revoke(t.Context(), u, c.device, key.ID, "a test", events.Pinreset())
			f.must(err, u.Commit(t.Context()))
			u = f.Unit(contoso)
		}
		if c.valid {
			_, _, err := keys.Add(t.Context(), u, devicekey.Request{Device: c.device, Scheme: webhook.Ed25519, By: events.Pinreset()})
			f.must(err)
		}
		f.must(devicereport.WriteReporter(u, c.device, devicereport.Reporter{Sequence: 7, At: now.Add(-c.age)}),
			readiness.WriteDevice(u, c.device, readiness.DeviceReport{ReportedAt: now.Add(-c.age), ReportID: "r"}), u.Commit(t.Context()))
	}
	f.tick()
	f.Drain(f.Clock.Now())
	for _, c := range cases {
		facts, reporter := rows(t, f.Store(), contoso, readiness.DevicePrefix+c.device), rows(t, f.Store(), contoso, devicereport.ReporterPrefix+c.device)
		if facts != c.facts || reporter != c.reporter {
			t.Errorf("%s: %d rows of facts and %d of how far it has got, want %d and %d", c.device, facts, reporter, c.facts, c.reporter)
		}
	}
	if _, err := readiness.ReadDevice(t.Context(), f.Unit(contoso), "silent"); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("the facts of a silent device: %v", err)
	}
}

// TestOldDeviceKeysAreForgotten: of a key that was revoked as long ago as the audit log is kept nothing is left, neither in its
// device's list nor among the public keys that were given, however many there are. Every other key stays and is listed.
func TestOldDeviceKeysAreForgotten(t *testing.T) {
	t.Parallel()
	f := setUp(t, true)
	keep := housekeeping.DefaultKeep
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	f.must(err)
	keys := devicekey.New(kek)
	add := func(device string, scheme webhook.Scheme) devicekey.Key {
		u := f.Unit(contoso)
		key, _, err := keys.Add(t.Context(), u, devicekey.Request{Device: device, Scheme: scheme, By: events.Pinreset()})
		f.must(err, u.Commit(t.Context()))
		return key
	}
	revoke := func(k devicekey.Key) {
		u := f.Unit(contoso)
		_, err := devicekey.Revoke(t.Context(), u, k.DeviceID, k.ID, "a test", events.Pinreset())
		f.must(err, u.Commit(t.Context()))
	}
	const many = 60 // more than one commit forgets
	for i := range many {
		revoke(add(fmt.Sprintf("gone-%02d", i), webhook.Ed25519))
	}
	revoke(add("changed", webhook.HMAC))
	revoke(add("changed", webhook.Ed25519))
	valid := add("changed", webhook.Ed25519)
	f.Clock.Advance(time.Minute)
	late := add("late", webhook.Ed25519)
	revoke(late)
	f.Clock.Advance(keep.Audit - time.Minute)
	f.tick()
	f.Drain(f.Clock.Now())

	for prefix, want := range map[string]int{devicekey.Prefix: 2, "devicekeys|": 2, "devicepub|": 2} {
		if got := rows(t, f.Store(), contoso, prefix); got != want {
			t.Errorf("%s: %d rows, want %d: those of a valid key and of one that was revoked lately", prefix, got, want)
		}
	}
	for _, want := range []devicekey.Key{valid, late} {
		listed, err := devicekey.List(t.Context(), f.Unit(contoso), want.DeviceID)
		if err != nil || len(listed) != 1 || listed[0].ID != want.ID {
			t.Errorf("%s has %+v: %v", want.DeviceID, listed, err)
		}
	}
	for _, k := range []devicekey.Key{valid, late} {
		_, _, err := keys.Add(t.Context(), f.Unit(contoso), devicekey.Request{Device: "another", Scheme: webhook.Ed25519, Public: k.PublicKey, By: events.Pinreset()})
		if !errors.Is(err, devicekey.ErrShared) {
			t.Errorf("another device is given the key of %s: %v", k.DeviceID, err)
		}
	}
}

// TestHistoryOfResets: a reset that ended is kept with its attempts for its time, and then nothing of it is left, at its device
// neither. One that is open stays, and one whose code can be read stays whole, however short history is kept.
func TestHistoryOfResets(t *testing.T) {
	t.Parallel()
	f := setUp(t, false)
	attempts := func(id string) int { return rows(t, f.Store(), contoso, diag.AttemptPrefix+id+"|") }
	first := f.accept(device)
	f.RunUntil(time.Hour, func() bool { return f.reset(first).State == passcode.Issued })
	failed := f.accept("hr-laptop-11")
	f.RunUntil(time.Hour, func() bool { return f.reset(failed).State == passcode.Failed })
	if attempts(first) == 0 || attempts(failed) == 0 {
		t.Fatalf("%d and %d attempts", attempts(first), attempts(failed))
	}

	f.handler.Keep.History = time.Hour
	open := f.accept("field-pixel-offline")
	f.Drain(f.Clock.Now().Add(6 * 24 * time.Hour)) // its deadline passes meanwhile, so it is made open again below
	f.change(open, func(r *passcode.Reset) { r.State, r.NextCheck = passcode.Waiting, f.Clock.Now() })
	f.tick()
	f.Drain(f.Clock.Now())
	if r := f.reset(first); !r.Readable(f.Clock.Now()) || attempts(first) == 0 {
		t.Errorf("a reset whose code can be read: %s, %d attempts", r.State, attempts(first))
	}
	if r := f.reset(open); r.State != passcode.Waiting || attempts(open) == 0 {
		t.Errorf("an open reset: %s, %d attempts", r.State, attempts(open))
	}
	if n := rows(t, f.Store(), contoso, passcode.ResetRow(failed)) + attempts(failed); n != 0 {
		t.Errorf("a reset that failed six days ago: %d rows are left", n)
	}

	second := f.issue(canary, graphtest.DeviceID(t, f.sim, contoso, device))
	f.Drain(f.Clock.Now().Add(2 * day)) // the first code expires
	f.tick()
	f.Drain(f.Clock.Now())
	if n := rows(t, f.Store(), contoso, passcode.ResetRow(first)) + attempts(first); n != 0 {
		t.Errorf("a reset whose code has expired: %d rows are left", n)
	}
	kept, err := passcode.ReadDevice(t.Context(), f.Unit(contoso), second.DeviceID)
	if err != nil || len(kept.Resets) != 1 || kept.Current != second.ID {
		t.Errorf("the device names %v, current %s: %v", kept.Resets, kept.Current, err)
	}
	f.Clock.Advance(8 * day) // its expiry has no reminder: one round finds that, the next day's forgets it
	for range 2 {
		f.tick()
		f.Drain(f.Clock.Now().Add(day))
	}
	if n := rows(t, f.Store(), contoso, "device|"+second.DeviceID) + rows(t, f.Store(), contoso, passcode.ResetRow(second.ID)); n != 0 {
		t.Errorf("%d rows are left of a device without history", n)
	}
}
