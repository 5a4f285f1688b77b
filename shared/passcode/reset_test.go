package passcode_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

const (
	contoso = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	device  = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
	another = "9a8b7c6d-1122-4334-8556-77889900aabb"
)

var (
	now = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	who = events.Actor{Kind: events.Operator, ID: "op-1"}
)

type book struct {
	*sqlitework.Store
	t      *testing.T
	serial atomic.Int64
}

func open(t *testing.T) *book {
	t.Helper()
	s, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return &book{Store: s, t: t}
}

func (b *book) id() string { return fmt.Sprintf("01%024d", b.serial.Add(1)) }

func (b *book) unit() *work.Unit { return work.NewUnit(b.Store, contoso, now, b.id) }

func (b *book) want(device string) events.PasscodeResetRequested {
	return events.PasscodeResetRequested{RequestID: b.id(), DeviceID: device, Reason: "user on the phone", Ticket: "T-1", By: who}
}

func (b *book) commit(u *work.Unit, err error) {
	b.t.Helper()
	if err := errors.Join(err, u.Commit(b.t.Context())); err != nil {
		b.t.Fatal(err)
	}
}

func (b *book) accept(device string) passcode.Reset {
	b.t.Helper()
	u := b.unit()
	r, existing, err := passcode.Accept(b.t.Context(), u, b.want(device))
	b.commit(u, err)
	if existing {
		b.t.Fatalf("%s has a reset already", device)
	}
	return r
}

func (b *book) end(r passcode.Reset, state passcode.State) passcode.Reset {
	b.t.Helper()
	u := b.unit()
	r, err := passcode.End(b.t.Context(), u, r, state)
	b.commit(u, err)
	return r
}

func (b *book) reset(id string) passcode.Reset {
	b.t.Helper()
	r, err := passcode.Read(b.t.Context(), b.unit(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func (b *book) device(id string) passcode.Device {
	b.t.Helper()
	d, err := passcode.ReadDevice(b.t.Context(), b.unit(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return d
}

func (b *book) actions() (actions []string) {
	b.t.Helper()
	entries, _, err := audit.List(b.t.Context(), b.Store, contoso, 100, "")
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range entries {
		actions = append(actions, e.Action+" "+e.RequestID)
	}
	return actions
}

// sent takes what waits in the queue.
func (b *book) sent(q work.Queue) (out []events.Event) {
	b.t.Helper()
	for {
		stats, err := b.Stats(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		if !slices.ContainsFunc(stats.Queues, func(s sqlitework.QueueStats) bool { return s.Queue == q && s.Due > 0 }) {
			return out
		}
		deliveries, err := b.Receive(b.t.Context(), q, 100)
		if err != nil {
			b.t.Fatal(err)
		}
		for _, d := range deliveries {
			e, err := events.Parse(d.Body)
			if err != nil {
				b.t.Fatal(err)
			}
			out = append(out, e)
		}
	}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	b := open(t)
	u := b.unit()
	want := b.want(strings.ToUpper(device))
	r, existing, err := passcode.Accept(t.Context(), u, want)
	if err != nil || existing {
		t.Fatalf("existing %t: %v", existing, err)
	}
	if rows, err := b.List(t.Context(), work.Query{Partition: contoso}); err != nil || len(rows.Rows) != 0 {
		t.Fatalf("%d rows before the commit: %v", len(rows.Rows), err)
	}
	b.commit(u, nil)
	if r.State != passcode.Accepted || r.DeviceID != device || r.ID != want.RequestID || !r.RequestedAt.Equal(now) || r.Reason != want.Reason ||
		r.Ticket != "T-1" || r.By != who || !r.Open() || r.Readable(now) {
		t.Errorf("accepted %+v", r)
	}
	if got := b.reset(r.ID); got.DeviceID != device || got.State != passcode.Accepted {
		t.Errorf("stored %+v", got)
	}
	// However its id is spelt, it is one device.
	for _, id := range []string{device, strings.ToUpper(device), strings.ToUpper(device[:9]) + device[9:]} {
		if d := b.device(id); d.ID != device || d.Pending != r.ID || !slices.Equal(d.Resets, []string{r.ID}) {
			t.Errorf("device %s: %+v", id, d)
		}
		u := b.unit()
		again, existing, err := passcode.Accept(t.Context(), u, b.want(id))
		if err != nil || !existing || again.ID != r.ID || len(u.Batch().Writes)+len(u.Batch().Messages) != 0 {
			t.Errorf("accept for %s: %s, existing %t, %d rows and %d messages staged: %v", id, again.ID, existing, len(u.Batch().Writes), len(u.Batch().Messages), err)
		}
	}
	if got := b.actions(); !slices.Equal(got, []string{audit.ResetRequested + " " + r.ID}) {
		t.Errorf("audit %v", got)
	}
	sent := b.sent(passcode.Queue)
	if len(sent) != 1 || sent[0].Tenant != contoso || sent[0].Data.(events.PasscodeResetRequested).RequestID != r.ID ||
		sent[0].Data.(events.PasscodeResetRequested).DeviceID != device {
		t.Errorf("sent %+v", sent)
	}
	if other := b.accept(another); other.ID == r.ID {
		t.Error("another device's reset is the same one")
	}
}

// TestRecord proves that it is Accept without the message.
func TestRecord(t *testing.T) {
	t.Parallel()
	b := open(t)
	u := b.unit()
	r, existing, err := passcode.Record(t.Context(), u, b.want(device))
	b.commit(u, err)
	if existing || b.device(device).Pending != r.ID || len(b.actions()) != 1 {
		t.Errorf("recorded %+v, existing %t, audit %v", r, existing, b.actions())
	}
	if sent := b.sent(passcode.Queue); len(sent) != 0 {
		t.Errorf("sent %v", sent)
	}
}

// TestTwoAtOnce lets two units accept a reset of one device side by side: one wins, the other is refused and then finds it.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*book){
		"a new device": func(*book) {},
		"a known one":  func(b *book) { b.end(b.accept(device), passcode.Failed) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := open(t)
			prepare(b)
			b.sent(passcode.Queue)
			first, second := b.unit(), b.unit()
			winner, existing, err := passcode.Accept(t.Context(), first, b.want(device))
			if err != nil || existing {
				t.Fatal(existing, err)
			}
			if _, existing, err := passcode.Accept(t.Context(), second, b.want(strings.ToUpper(device))); err != nil || existing {
				t.Fatal(existing, err)
			}
			if err := first.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := second.Commit(t.Context()); !errors.Is(err, work.ErrConflict) {
				t.Fatalf("second: %v, want ErrConflict", err)
			}
			found, existing, err := passcode.Accept(t.Context(), b.unit(), b.want(device))
			if err != nil || !existing || found.ID != winner.ID {
				t.Errorf("then it finds %s, existing %t: %v", found.ID, existing, err)
			}
			if sent := b.sent(passcode.Queue); len(sent) != 1 {
				t.Errorf("%d messages", len(sent))
			}
		})
	}
}

// TestManyAtOnce races many for one device; whoever meets a conflict looks again, and all get the same reset.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	b := open(t)
	const racers = 16
	ids := make([]string, racers)
	errs := make([]error, racers)
	var fresh atomic.Int32
	begin := make(chan struct{})
	var wait sync.WaitGroup
	for i := range racers {
		wait.Go(func() {
			<-begin
			for {
				u := b.unit()
				r, existing, err := passcode.Accept(t.Context(), u, b.want(device))
				if err == nil && !existing {
					err = u.Commit(t.Context())
				}
				switch {
				case errors.Is(err, work.ErrConflict):
					continue
				case err == nil && !existing:
					fresh.Add(1)
				}
				ids[i], errs[i] = r.ID, err
				return
			}
		})
	}
	close(begin)
	wait.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if len(slices.Compact(slices.Clone(ids))) != 1 || fresh.Load() != 1 {
		t.Errorf("%d resets were accepted: %v", fresh.Load(), ids)
	}
	list, _, err := passcode.List(t.Context(), b.Store, contoso, 100, "")
	if err != nil || len(list) != 1 || len(b.sent(passcode.Queue)) != 1 {
		t.Errorf("%d resets stored: %v", len(list), err)
	}
}

// TestListOfStates: a list of some states has every reset in them and no other, whatever somebody wrote as a reason.
func TestListOfStates(t *testing.T) {
	t.Parallel()
	b := open(t)
	u := b.unit()
	for i, state := range []passcode.State{passcode.Issued, passcode.Waiting, passcode.Failed, passcode.Accepted, passcode.Calling, passcode.Issued} {
		r := passcode.Reset{ID: fmt.Sprintf("01J%023d", i), DeviceID: device, State: state, Reason: `"state":"waiting"`}
		if err := passcode.Write(u, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for want, states := range map[string][]passcode.State{
		"issued calling accepted failed waiting issued": nil,
		"calling accepted waiting":                      passcode.OpenStates(),
		"failed":                                        {passcode.Failed},
		"":                                              {passcode.Cancelled},
	} {
		list, next, err := passcode.List(t.Context(), b.Store, contoso, 100, "", states...)
		if err != nil || next != "" {
			t.Fatal(next, err)
		}
		var got []string
		for _, r := range list {
			got = append(got, string(r.State))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("in %v: %v, want %s", states, got, want)
		}
	}
}

func TestEnd(t *testing.T) {
	t.Parallel()
	for state, code := range map[passcode.State]bool{passcode.Issued: true, passcode.Removed: true, passcode.Failed: false, passcode.Cancelled: false} {
		t.Run(string(state), func(t *testing.T) {
			t.Parallel()
			b := open(t)
			earlier := b.accept(device)
			earlier.ResultAt = now.Add(-time.Hour)
			b.end(earlier, passcode.Issued)
			r := b.accept(device)
			r.Why, r.NextCheck, r.CheckID, r.ResultAt = fault.WaitingForDevice, now, "check", now.Add(-time.Minute)
			b.end(r, state)
			got, d := b.reset(r.ID), b.device(device)
			if got.State != state || got.Open() || !got.EndedAt.Equal(now) || got.Why != "" || !got.NextCheck.IsZero() || got.CheckID != "" {
				t.Errorf("ended %+v", got)
			}
			current, superseded := earlier.ID, ""
			if code {
				current, superseded = r.ID, r.ID
			}
			if d.Pending != "" || d.Current != current || !d.LastResult.Equal(r.ResultAt) {
				t.Errorf("device %+v, want current %s", d, current)
			}
			if got := b.reset(earlier.ID); got.SupersededBy != superseded || got.State != passcode.Issued {
				t.Errorf("earlier reset is %s, superseded by %q, want %q", got.State, got.SupersededBy, superseded)
			}
			if next := b.accept(device); next.ID == r.ID {
				t.Error("the device is not free")
			}
		})
	}
}

// TestEndOfALateOne proves that a reset which ends after another one has begun leaves that one alone, and that a result once
// taken stays taken.
func TestEndOfALateOne(t *testing.T) {
	t.Parallel()
	b := open(t)
	first := b.accept(device)
	first.ResultAt = now
	b.end(first, passcode.Failed)
	second := b.accept(device)
	first = b.reset(first.ID)
	first.ResultAt = now.Add(-time.Hour)
	b.end(first, passcode.Failed)
	if d := b.device(device); d.Pending != second.ID || !d.LastResult.Equal(now) {
		t.Errorf("device %+v, want %s pending and the result of %s taken", d, second.ID, now)
	}
}

// TestEndTwice proves that a reset which is issued again does not supersede itself.
func TestEndTwice(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := b.end(b.accept(device), passcode.Issued)
	b.end(r, passcode.Issued)
	if got := b.reset(r.ID); got.SupersededBy != "" {
		t.Errorf("superseded by %s", got.SupersededBy)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, state := range []passcode.State{passcode.Accepted, passcode.Calling, passcode.Waiting} {
		r := b.accept(device)
		u := b.unit()
		r.State = state
		b.commit(u, passcode.Write(u, r))
		u = b.unit()
		_, err := passcode.Cancel(t.Context(), u, r.ID, "found the note", who)
		b.commit(u, err)
		if got := b.reset(r.ID); got.State != passcode.Cancelled || b.device(device).Pending != "" {
			t.Errorf("cancelled in %s: %s, pending %q", state, got.State, b.device(device).Pending)
		}
		if got := b.actions()[0]; got != audit.ResetCancelled+" "+r.ID {
			t.Errorf("audit %s", got)
		}
		sent := b.sent(work.Announcements)
		if len(sent) != 1 || sent[0].Data != (events.PasscodeResetCancelled{RequestID: r.ID, DeviceID: device, Reason: "found the note", By: who}) {
			t.Errorf("announced %+v", sent)
		}
	}
	for _, state := range []passcode.State{passcode.Issued, passcode.Removed, passcode.Failed, passcode.Cancelled, passcode.Expired} {
		r := b.end(b.accept(device), state)
		u := b.unit()
		if _, err := passcode.Cancel(t.Context(), u, r.ID, "", who); !errors.Is(err, passcode.ErrEnded) || len(u.Batch().Writes)+len(u.Batch().Messages) != 0 {
			t.Errorf("cancel in %s: %v, %d rows staged", state, err, len(u.Batch().Writes))
		}
	}
	for _, id := range []string{"unknown", "", "a/b"} {
		if _, err := passcode.Cancel(t.Context(), b.unit(), id, "", who); !errors.Is(err, work.ErrNotFound) {
			t.Errorf("cancel %q: %v", id, err)
		}
	}
}

// TestCancelOrIssue races an operator's cancellation with the device's answer: one of them happens.
func TestCancelOrIssue(t *testing.T) {
	t.Parallel()
	for _, first := range []passcode.State{passcode.Cancelled, passcode.Issued} {
		t.Run(string(first)+" first", func(t *testing.T) {
			t.Parallel()
			b := open(t)
			r := b.accept(device)
			cancel, issue := b.unit(), b.unit()
			if _, err := passcode.Cancel(t.Context(), cancel, r.ID, "", who); err != nil {
				t.Fatal(err)
			}
			seen, err := passcode.Read(t.Context(), issue, r.ID)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := passcode.End(t.Context(), issue, seen, passcode.Issued); err != nil {
				t.Fatal(err)
			}
			order := []*work.Unit{cancel, issue}
			if first == passcode.Issued {
				order = []*work.Unit{issue, cancel}
			}
			if err := order[0].Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := order[1].Commit(t.Context()); !errors.Is(err, work.ErrConflict) {
				t.Errorf("the second one: %v, want ErrConflict", err)
			}
			if got := b.reset(r.ID); got.State != first {
				t.Errorf("ended %s, want %s", got.State, first)
			}
		})
	}
}

func TestReopen(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := b.end(b.accept(device), passcode.Failed)
	r.State = passcode.Calling
	u := b.unit()
	_, err := passcode.Reopen(t.Context(), u, r)
	b.commit(u, err)
	if got := b.reset(r.ID); got.State != passcode.Calling || b.device(device).Pending != r.ID {
		t.Errorf("reopened %s, pending %q", got.State, b.device(device).Pending)
	}
	if _, existing, err := passcode.Accept(t.Context(), b.unit(), b.want(device)); err != nil || !existing {
		t.Errorf("a reopened reset does not hold its device: existing %t, %v", existing, err)
	}
	u = b.unit() // again, as on a redelivery
	_, err = passcode.Reopen(t.Context(), u, r)
	b.commit(u, err)

	b.end(b.reset(r.ID), passcode.Failed)
	other := b.accept(device)
	u = b.unit()
	_, err = passcode.Reopen(t.Context(), u, r)
	v, known := fault.As(err)
	if !known || !v.Permanent() || v.Code != fault.StateConflict || !errors.Is(err, passcode.ErrEnded) || len(u.Batch().Writes) != 0 {
		t.Errorf("reopened beside %s: %v, %d rows staged", other.ID, err, len(u.Batch().Writes))
	}
}

// TestKeptResets proves that a device's row does not grow for ever, and that what it forgets is still in the tenant's list.
func TestKeptResets(t *testing.T) {
	t.Parallel()
	b := open(t)
	const n, kept = 53, 50
	var ids []string
	for range n {
		ids = append(ids, b.end(b.accept(device), passcode.Issued).ID)
	}
	slices.Reverse(ids)
	if d := b.device(device); !slices.Equal(d.Resets, ids[:kept]) {
		t.Errorf("%d resets are kept, newest first %t", len(d.Resets), len(d.Resets) > 0 && d.Resets[0] == ids[0])
	}
	var listed []string
	page := ""
	for {
		resets, next, err := passcode.List(t.Context(), b.Store, contoso, 20, page)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range resets {
			listed = append(listed, r.ID)
		}
		if page = next; page == "" {
			break
		}
	}
	if !slices.Equal(listed, ids) {
		t.Errorf("%d resets are listed, want %d, newest first", len(listed), n)
	}
}

// TestSupersedeOfAPurgedOne proves that an earlier reset which is not there any more is in nobody's way.
func TestSupersedeOfAPurgedOne(t *testing.T) {
	t.Parallel()
	b := open(t)
	earlier := b.end(b.accept(device), passcode.Issued)
	u := b.unit()
	u.Delete(passcode.ResetRow(earlier.ID))
	b.commit(u, nil)
	if later := b.end(b.accept(device), passcode.Issued); b.device(device).Current != later.ID {
		t.Errorf("device %+v", b.device(device))
	}
	if _, err := passcode.Read(t.Context(), b.unit(), earlier.ID); !errors.Is(err, work.ErrNotFound) {
		t.Errorf("the purged reset is back: %v", err)
	}
}

func TestReadable(t *testing.T) {
	t.Parallel()
	issued := passcode.Reset{State: passcode.Issued, Code: &secret.Envelope{}, ExpiresAt: now}
	if !issued.Readable(now.Add(-1)) || issued.Readable(now) || issued.Readable(now.Add(time.Hour)) {
		t.Error("a code is readable until its expiry, and not at it")
	}
	for _, state := range []passcode.State{passcode.Accepted, passcode.Calling, passcode.Waiting, passcode.Removed, passcode.Failed, passcode.Cancelled, passcode.Expired} {
		r := issued
		if r.State = state; r.Readable(now.Add(-1)) {
			t.Errorf("readable in state %s", state)
		}
	}
	if issued.Code = nil; issued.Readable(now.Add(-1)) {
		t.Error("readable without a code")
	}
}

// failing is a store whose reads fail.
type failing struct{ work.Store }

var errDown = errors.New("store is down")

func (failing) Get(context.Context, work.Key) (work.Row, error) { return work.Row{}, errDown }

// TestStoreThatFails proves that "could not be read" is never taken for "not there": nothing is staged.
func TestStoreThatFails(t *testing.T) {
	t.Parallel()
	b := open(t)
	r := b.accept(device)
	for name, do := range map[string]func(*work.Unit) error{
		"accept": func(u *work.Unit) error {
			_, _, err := passcode.Accept(t.Context(), u, b.want(another))
			return err
		},
		"end":    func(u *work.Unit) error { _, err := passcode.End(t.Context(), u, r, passcode.Failed); return err },
		"cancel": func(u *work.Unit) error { _, err := passcode.Cancel(t.Context(), u, r.ID, "", who); return err },
		"reopen": func(u *work.Unit) error { _, err := passcode.Reopen(t.Context(), u, r); return err },
	} {
		u := work.NewUnit(failing{b.Store}, contoso, now, b.id)
		if err := do(u); !errors.Is(err, errDown) || len(u.Batch().Writes)+len(u.Batch().Messages) != 0 {
			t.Errorf("%s: %v, %d rows staged", name, err, len(u.Batch().Writes))
		}
	}
}
