package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/approval"
	"pinreset/shared/audit"
	"pinreset/shared/devicekey"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	backedTenant = "aaaaaaaa-0000-4000-8000-000000000001"
	day          = 24 * time.Hour
)

// kept is a data directory without a server, at a time that the test sets.
type kept struct {
	t     *testing.T
	dir   string
	at    time.Time
	newID func() string
	store *sqlitework.Store
	ring  *sqlitework.Store
	vault *secret.Vault
}

func openKept(t *testing.T, dir string, at time.Time) *kept {
	t.Helper()
	k := &kept{t: t, dir: dir, at: at, newID: newIDs()}
	open := func(name string) *sqlitework.Store {
		s, err := sqlitework.Open(filepath.Join(dir, name), sqlitework.Options{Now: k.now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	k.store, k.ring = open(workDir), open(keysDir)
	kek, err := secret.OpenLocalKey(filepath.Join(dir, keysDir, rootKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	k.vault = secret.NewVault(k.ring, kek, k.now)
	return k
}

func (k *kept) now() time.Time { return k.at }

func (k *kept) do(partition string, fn func(u *work.Unit) error) {
	k.t.Helper()
	u := work.NewUnit(k.store, partition, k.at, k.newID)
	if err := errors.Join(fn(u), u.Commit(k.t.Context())); err != nil {
		k.t.Fatal(err)
	}
}

// accept stages a reset of the n-th device as the API does.
func (k *kept) accept(n int) (r passcode.Reset) {
	k.t.Helper()
	k.do(backedTenant, func(u *work.Unit) (err error) {
		r, _, err = passcode.Accept(k.t.Context(), u, events.PasscodeResetRequested{
			RequestID: k.newID(), DeviceID: fmt.Sprintf("11111111-0000-4000-8000-%012d", n), Reason: "forgot it", By: events.Pinreset(),
		})
		return err
	})
	return r
}

func (k *kept) issue(n int) passcode.Reset {
	k.t.Helper()
	r := k.accept(n)
	r.IssuedAt, r.ExpiresAt = k.at, k.at.Add(secret.MaxLife)
	env, err := k.vault.Seal(k.t.Context(), k.newID(), secret.Binding{Tenant: backedTenant, Device: r.DeviceID, Request: r.ID}, secret.NewText("123456"), r.ExpiresAt)
	if err != nil {
		k.t.Fatal(err)
	}
	r.Code = &env
	k.do(backedTenant, func(u *work.Unit) error { _, err := passcode.End(k.t.Context(), u, r, passcode.Issued); return err })
	return r
}

// opened counts the codes that the vault opens, of the resets' own envelopes and of those that were remembered.
func (k *kept) opened(envelopes []secret.Envelope) (n int, states map[passcode.State]int) {
	k.t.Helper()
	states = map[passcode.State]int{}
	for page := ""; ; {
		resets, next, err := passcode.List(k.t.Context(), k.store, backedTenant, 0, page)
		if err != nil {
			k.t.Fatal(err)
		}
		for _, r := range resets {
			states[r.State]++
			if r.Code != nil {
				envelopes = append(envelopes, *r.Code)
			}
		}
		if page = next; page == "" {
			break
		}
	}
	for _, env := range envelopes {
		u := work.NewUnit(k.store, backedTenant, k.at, k.newID)
		receipt, err := audit.Commit(k.t.Context(), u, audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed}, env.ID)
		if err != nil {
			k.t.Fatal(err)
		}
		switch text, err := k.vault.Open(k.t.Context(), env, env.Binding, receipt); {
		case err == nil && text.Expose() == "123456":
			n++
		case err == nil:
			k.t.Fatal("another code came out")
		case !errors.Is(err, secret.ErrGone):
			k.t.Fatal(err)
		}
	}
	return n, states
}

// TestRestoredBackupOpensNoCode: a backup of the third day restored on the tenth, on a new machine, beside the key ring as it
// is then, and beside the key ring as it was: of 1,000 codes none opens.
func TestRestoredBackupOpensNoCode(t *testing.T) {
	t.Parallel()
	const codes = 1000
	first := time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC)
	dir := t.TempDir()
	k := openKept(t, filepath.Join(dir, "data"), first)
	k.do(tenant.Partition, func(u *work.Unit) error {
		_, err := tenant.Add(u, backedTenant, "Contoso", events.Pinreset())
		return err
	})
	tokens := identity.NewTokens(k.store, k.now, k.newID)
	if _, err := tokens.EnsureAdmin(t.Context(), k.dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(k.dir, identity.AdminFile))
	if err != nil {
		t.Fatal(err)
	}
	var envelopes []secret.Envelope
	for n := range codes {
		k.at = first.Add(time.Duration(n) * 2 * day / codes)
		envelopes = append(envelopes, *k.issue(n).Code)
	}
	k.at = first.Add(3 * day)
	open := k.accept(codes)
	// A device's own pair, so that its public half alone is in the store and opens with whatever keys are there.
	var deviceKey devicekey.Key
	k.do(backedTenant, func(u *work.Unit) (err error) {
		deviceKey, _, err = devicekey.New(nil).Add(t.Context(), u, devicekey.Request{Device: open.DeviceID, Scheme: webhook.Ed25519, By: events.Pinreset()})
		return err
	})
	if _, _, err := devicekey.New(nil).Open(t.Context(), work.NewUnit(k.store, backedTenant, k.at, k.newID), deviceKey.ID); err != nil {
		t.Fatal(err)
	}
	if n, _ := k.opened(nil); n != codes {
		t.Fatalf("%d of %d codes open before the backup: the test opens nothing", n, codes)
	}
	file := filepath.Join(dir, "backup")
	if got := (&process{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}, getenv: func(string) string { return "" }, now: time.Now, format: tableFormat}).run(t.Context(), []string{"backup", file, "--data", k.dir}); got != exitDone {
		t.Fatalf("backup exits with %d", got)
	}
	// The ring of the third day, as a thief or a careless copy has it.
	oldRing := filepath.Join(dir, "old", keysDir)
	if err := sqlitework.Backup(t.Context(), filepath.Join(k.dir, keysDir), filepath.Join(dir, "ring")); err != nil {
		t.Fatal(err)
	}
	if err := sqlitework.Restore(t.Context(), filepath.Join(dir, "ring"), oldRing); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(k.dir, keysDir, rootKeyFile), filepath.Join(oldRing, rootKeyFile))

	for _, c := range []struct {
		name     string
		at       time.Time
		ring     string // directory with keys to put into the new data directory
		destroy  bool   // the keys have been destroyed in time
		readable int
	}{
		{"day 10 on a new machine", first.Add(10 * day), "", false, 0},
		{"day 10 with all keys of day 3", first.Add(10 * day), oldRing, false, 0},
		{"day 4 on a new machine", first.Add(4 * day), "", false, 0},
		{"day 4 with the keys", first.Add(4 * day), oldRing, false, codes},
		{"day 4 with the keys destroyed", first.Add(4 * day), oldRing, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			if c.ring != "" {
				if err := os.CopyFS(filepath.Join(data, keysDir), os.DirFS(c.ring)); err != nil {
					t.Fatal(err)
				}
			}
			if c.destroy {
				ring, err := sqlitework.Open(filepath.Join(data, keysDir), sqlitework.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := ring.ErasePartition(t.Context(), backedTenant); err != nil {
					t.Fatal(err)
				}
				if err := ring.Close(); err != nil {
					t.Fatal(err)
				}
			}
			var stdout, stderr bytes.Buffer
			p := newProcess(func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
			p.now = func() time.Time { return c.at }
			if got := p.run(t.Context(), []string{"restore", file, "--data", data}); got != exitDone {
				t.Fatalf("restore exits with %d: %s", got, &stderr)
			}
			// Again: there is a store now.
			if got := p.run(t.Context(), []string{"restore", file, "--data", data}); got != exitError || !strings.Contains(stderr.String(), "not empty") {
				t.Errorf("a second restore exits with %d: %s", got, &stderr)
			}
			r := openKept(t, data, c.at)
			n, states := r.opened(envelopes)
			// What is readable is opened twice: by the row's envelope and by the one that was remembered.
			if n != 2*c.readable || states[passcode.Issued] != c.readable || states[passcode.Expired] != codes-c.readable || states[passcode.Cancelled] != 1 {
				t.Errorf("%d codes open, resets are %v; want %d readable of %d, and 1 cancelled", n, states, c.readable, codes)
			}
			var d passcode.Device
			r.do(backedTenant, func(u *work.Unit) (err error) {
				d, err = passcode.ReadDevice(t.Context(), u, open.DeviceID)
				return err
			})
			if _, _, err := devicekey.New(nil).Open(t.Context(), work.NewUnit(r.store, backedTenant, r.at, r.newID), deviceKey.ID); !errors.Is(err, devicekey.ErrUnknown) {
				t.Errorf("a device's key of before is believed: %v", err)
			}
			stats, err := r.store.Stats(t.Context())
			if err != nil || d.Pending != "" {
				t.Errorf("the device waits for %q (%v)", d.Pending, err)
			}
			for _, q := range stats.Queues {
				if q.Queue == passcode.Queue || q.Queue == passcode.Queue.Bulk() {
					t.Errorf("messages wait that would call the device: %+v", q)
				}
			}
			if _, err := identity.NewTokens(r.store, r.now, r.newID).Check(t.Context(), strings.TrimSpace(string(text))); !errors.Is(err, identity.ErrUnauthenticated) {
				t.Errorf("the token of before opens the restored store: %v", err)
			}
		})
	}
}

// TestRestoreBeginsNothing: a bulk reset that ran, and what was approved or waited for it, are not gone on with. Most of it was done after the
// backup was made, and would be done again.
func TestRestoreBeginsNothing(t *testing.T) {
	t.Parallel()
	k := openKept(t, filepath.Join(t.TempDir(), "data"), time.Date(2026, 11, 1, 8, 0, 0, 0, time.UTC))
	k.do(tenant.Partition, func(u *work.Unit) error {
		_, err := tenant.Add(u, backedTenant, "Contoso", events.Pinreset())
		return err
	})
	var bulk passcode.Bulk
	var reset, reveal approval.Approval
	by := events.Actor{Kind: events.Operator, ID: "hana", Name: "Hana"}
	k.do(backedTenant, func(u *work.Unit) (err error) {
		bulk, err = passcode.AcceptBulk(t.Context(), u, passcode.Bulk{Count: 1, Reason: "lost at the fair", By: by})
		return err
	})
	k.do(backedTenant, func(u *work.Unit) error {
		bulk.State, bulk.StartedAt = passcode.BulkRunning, k.at
		return errors.Join(passcode.WriteBulk(u, bulk), passcode.WriteItem(u, bulk.ID, passcode.Item{DeviceID: "d-1", State: passcode.ItemPlanned}))
	})
	k.do(backedTenant, func(u *work.Unit) (err error) {
		reset, err = approval.Ask(u, k.newID(), approval.Approval{Request: approval.Request{Action: approval.Reset, DeviceID: "d-2", Reason: "forgot it", By: by}})
		return err
	})
	k.do(backedTenant, func(u *work.Unit) (err error) {
		reveal, err = approval.Ask(u, k.newID(), approval.Approval{Request: approval.Request{Action: approval.Reveal, ResetID: "r-1", Reason: "on the phone", By: by}})
		return err
	})
	k.do(backedTenant, func(u *work.Unit) error {
		_, err := approval.Decide(t.Context(), u, reveal.ID, approval.Decision{Approve: true, Hash: reveal.Hash, By: events.Actor{Kind: events.Operator, ID: "carla", Name: "Carla"}})
		return err
	})
	file := filepath.Join(t.TempDir(), "backup")
	if err := sqlitework.Backup(t.Context(), filepath.Join(k.dir, workDir), file); err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(t.TempDir(), "data")
	later := func() time.Time { return k.at.Add(time.Minute) }
	did, err := restore(t.Context(), file, data, later)
	if err != nil || did.Cancelled != 3 {
		t.Fatalf("%+v: %v", did, err)
	}
	r := openKept(t, data, later())
	u := work.NewUnit(r.store, backedTenant, r.at, r.newID)
	if b, err := passcode.ReadBulk(t.Context(), u, bulk.ID); err != nil || b.State != passcode.BulkCancelled {
		t.Errorf("the bulk reset goes on: %s, %v", b.State, err)
	}
	if _, err := approval.Use(t.Context(), u, reveal.ID, reveal.Request); !errors.Is(err, approval.ErrDeclined) {
		t.Errorf("an approval of before is good again: %v", err)
	}
	if a, err := approval.Read(t.Context(), u, reset.ID); err != nil || a.State != approval.Declined {
		t.Errorf("what waited for a second person still does: %s, %v", a.State, err)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestRestoreRefusesWhatIsInUse: neither a data directory with a store nor one whose keys a server holds is touched, and what a
// broken backup leaves is nothing.
func TestRestoreRefusesWhatIsInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := openKept(t, filepath.Join(dir, "data"), time.Now())
	file := filepath.Join(dir, "backup")
	if err := sqlitework.Backup(t.Context(), filepath.Join(k.dir, workDir), file); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t.Context(), file, k.dir, time.Now); !errors.Is(err, errNotEmpty) {
		t.Errorf("over a running store: %v, want %v", err, errNotEmpty)
	}
	if err := errors.Join(k.store.Close(), os.RemoveAll(filepath.Join(k.dir, workDir))); err != nil {
		t.Fatal(err)
	}
	if _, err := restore(t.Context(), file, k.dir, time.Now); !errors.Is(err, sqlitework.ErrInUse) {
		t.Errorf("beside keys in use: %v, want %v", err, sqlitework.ErrInUse)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, data[:len(data)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "fresh")
	if _, err := restore(t.Context(), file, fresh, time.Now); !errors.Is(err, sqlitework.ErrDamaged) {
		t.Errorf("half a backup: %v, want %v", err, sqlitework.ErrDamaged)
	}
	for _, d := range []string{k.dir, fresh} {
		for _, name := range []string{workDir, restoringDir} {
			if _, err := os.Stat(filepath.Join(d, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is there after a refusal: %v", filepath.Join(d, name), err)
			}
		}
	}
}
