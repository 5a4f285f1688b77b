package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/readiness"
	"pinreset/shared/rollout"
	"pinreset/shared/secret"
	"pinreset/shared/survey"
	"pinreset/shared/work"
)

// The invariants:
//
//	I1  no accepted request is lost: its row is there, and while it is open a message waits that goes on with it
//	I2  at most one effective reset at a device for each request (checked where the cloud carries it out)
//	I3  no code outside its envelope: rows, messages, key ring, logs, answers that are errors
//	I4  no code readable beyond its expiry, and none of seven days; destroyed means that no copy opens
//	I5  no run reads, writes or calls across tenants (checked where it does)
//	I6  each reveal has exactly one audit entry before its result
//	I7  each end of a reset is announced in the commit that ends it
//	I8  a device has at most one reset that has not ended; the views of a code are those in the log
//	I10 a tenant never has two policies of ours in one shape (checked where the cloud creates one)
//	I11 other people's assignments survive what we write, and no policy that has some is deleted
//	I12 nothing is created, switched on or assigned by a run that has not seen both of Microsoft's applications enabled
//	I13 only the rollout whose turn it is writes; a policy is off before it is taken away
//	I14 the upkeep forgets nothing that is open, stands or has a code, and destroys no key that a code needs
//	I15 an audit ends once and is told of, a drift exactly once; a run over all tenants brings each of them a report, and one that
//	    was not audited says why
//	I16 no audit shows missing what was there all the while, nor anything that never was
//	I17 each report of a device is read, its facts never go back to those of an older one, and a PIN reset is told of once
//	I18 a record of Intune's audit log is taken once, and nothing is ever sent for a reset that was started there
//	I21 a message that is not done has a parcel of its attempt in the queue or stands in a mark; it is done once, and an attempt
//	    never goes back (of the composed store, checked where a transaction is made)
//	I19 a bulk reset begins each device once, and none after it was given up; its end is told
//	I9  once nothing goes wrong any more, every request ends: done, or failed with a page that can be read

// model is what the world remembers in order to judge.
type model struct {
	resets    map[work.Key]passcode.Reset // by partition and id, as last written
	order     []work.Key                  // of resets
	consents  map[string]onboarding.Consent
	asked     map[string][]messageKey // by request: the messages that may start or take up its work
	accepted  []work.Key              // resets that somebody was told are accepted
	consented []work.Key              // consent runs that somebody was told are accepted
	started   map[string]bool         // consent runs that had a row
	envelopes map[string]secret.Envelope
	sealed    []string       // ids of envelopes, in order
	leaves    map[string]int // audit entries of reveals, by ticket
	views     map[string]int // the same, by request
	rollouts  table[rollout.Rollout]
	rolled    []work.Key      // rollouts that somebody was told are accepted
	backed    [][2]work.Key   // rollouts and their rollbacks, the same
	ended     map[string]bool // rollbacks that came to an end
	reports   table[survey.Report]
	kept      table[portal.Kept]
	brought   []work.Key // rows of records that somebody was told are accepted
	bulks     table[passcode.Bulk]
	bulked    []work.Key          // bulk resets, the same
	audited   []work.Key          // audits that somebody was told are accepted
	reported  []work.Key          // rows of devices' reports, the same
	opted     map[string]bool     // tenants that let an audit put right what it finds
	newest    map[work.Key]string // by row: the report that facts of a device are of
	pins      map[string]int      // ends of PIN resets that were told
	turns     map[string]string   // by tenant: the rollout that may write
	current   map[string]string   // by tenant: the rollout that stands
	lost      map[string]bool     // partitions in which a message was lost
	changed   bool
	leapt     bool
}

func newModel() model {
	return model{
		resets: map[work.Key]passcode.Reset{}, consents: map[string]onboarding.Consent{}, asked: map[string][]messageKey{},
		started: map[string]bool{}, envelopes: map[string]secret.Envelope{}, leaves: map[string]int{}, views: map[string]int{},
		turns: map[string]string{}, current: map[string]string{}, opted: map[string]bool{}, ended: map[string]bool{}, newest: map[work.Key]string{}, pins: map[string]int{}, lost: map[string]bool{},
	}
}

// table is rows as they were last written, by partition and id.
type table[T any] struct {
	rows  map[work.Key]T
	order []work.Key
}

// put keeps a row and returns what it was before.
func (t *table[T]) put(key work.Key, row T) (before T, known bool) {
	if t.rows == nil {
		t.rows = map[work.Key]T{}
	}
	if before, known = t.rows[key]; !known {
		t.order = append(t.order, key)
	}
	t.rows[key] = row
	return before, known
}

// canary begins every code there is.
const canary = "CNRYq7Xw-"

// forms are how a code would look in the places where it must not be.
var forms = func() [][]byte {
	plain := []byte(canary)
	utf16 := make([]byte, 0, 2*len(plain))
	for _, c := range plain {
		utf16 = append(utf16, c, 0)
	}
	all := [][]byte{plain, utf16, []byte(hex.EncodeToString(plain)), []byte(strings.ToUpper(hex.EncodeToString(plain)))}
	for shift := range 3 { // what of its base64 does not depend on what stands around it
		text := base64.StdEncoding.EncodeToString(append(make([]byte, shift), plain...))
		all = append(all, []byte(text[4*((shift+2)/3):len(text)/4*4-4]))
	}
	return all
}()

// scan looks for a code where none may be.
func (w *world) scan(where string, data []byte) {
	for _, form := range forms {
		if bytes.Contains(data, form) {
			w.violate("I3: a code stands in %s", where)
		}
	}
}

func (w *world) scanBatch(where string, b work.Batch) {
	for _, wr := range b.Writes {
		w.scan(where+" "+wr.Row, wr.Value)
	}
}

// logger's lines are looked through, debug level included.
func logger(w *world) *slog.Logger {
	return slog.New(slog.NewTextHandler(lines{w}, &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type lines struct{ w *world }

func (l lines) Write(p []byte) (int, error) {
	l.w.scan("the log", p)
	return len(p), nil
}

// sent sees each message that the store takes.
func (w *world) sent(m work.Message) {
	w.scan("message "+m.ID, m.Body)
	w.note("sent", m.ID, string(m.Queue), kindOf(m.Body))
	switch kindOf(m.Body) {
	case events.PasscodeResetRequested{}.Kind(), events.PolicyRolloutRequested{}.Kind(), events.PolicyRollbackRequested{}.Kind():
		r := requestOf(m.Body)
		w.model.asked[r] = append(w.model.asked[r], messageKey{m.Partition, m.ID})
	case events.DevicePINReset{}.Kind():
		w.toldOfPIN(m)
	}
}

// wrote sees each batch of rows that the store has applied.
func (w *world) wrote(b work.Batch) {
	w.model.changed = true
	for _, wr := range b.Writes {
		w.scan("row "+wr.Row, wr.Value)
		w.note("wrote", b.Partition, wr.Row)
		switch {
		case wr.Delete:
			w.tidied(b.Partition, wr.Row)
		case strings.HasPrefix(wr.Row, passcode.ResetPrefix):
			w.wroteReset(b, wr)
		case strings.HasPrefix(wr.Row, rollout.Prefix):
			w.wroteRollout(b, wr)
		case strings.HasPrefix(wr.Row, portal.Prefix):
			w.wroteRecord(b, wr)
		case strings.HasPrefix(wr.Row, passcode.BulkPrefix):
			w.wroteBulk(b, wr)
		case strings.HasPrefix(wr.Row, survey.Prefix):
			w.wroteReport(b, wr)
		case wr.Row == "readiness":
			w.wroteFacts(b, wr)
		case strings.HasPrefix(wr.Row, readiness.DevicePrefix):
			w.wroteDevice(b, wr)
		case wr.Row == "rollouts":
			var turn struct {
				Holder  string `json:"holder"`
				Current string `json:"current"`
			}
			w.decode(wr, &turn)
			w.model.turns[b.Partition], w.model.current[b.Partition] = turn.Holder, turn.Current
		case wr.Row == "consent":
			var c onboarding.Consent
			w.decode(wr, &c)
			if c.State == onboarding.Proven && w.model.consents[b.Partition].State != onboarding.Proven {
				w.tally.proven++
			}
			w.model.consents[b.Partition] = c
			w.model.started[c.RequestID] = true
		case strings.HasPrefix(wr.Row, audit.Prefix) && bytes.Contains(wr.Value, []byte(audit.PasscodeRevealed)):
			var e audit.Entry
			w.decode(wr, &e)
			w.model.leaves[e.Ticket]++
			w.model.views[e.RequestID]++
		}
	}
}

func (w *world) decode(wr work.Write, into any) {
	if err := json.Unmarshal(wr.Value, into); err != nil {
		w.violate("row %s can't be decoded: %v", wr.Row, err)
	}
}

// announced is how each end of a reset is told.
var announced = map[passcode.State]string{
	passcode.Issued: events.PasscodeResetIssued{}.Kind(), passcode.Removed: events.PasscodeResetIssued{}.Kind(),
	passcode.Failed: events.FailureRaised{}.Kind(), passcode.Cancelled: events.PasscodeResetCancelled{}.Kind(),
	passcode.Expired: events.PasscodeExpired{}.Kind(), passcode.Observed: events.PasscodeResetIssued{}.Kind(),
}

func (w *world) wroteReset(b work.Batch, wr work.Write) {
	var r passcode.Reset
	w.decode(wr, &r)
	key := work.Key{Partition: b.Partition, Row: r.ID}
	before, known := w.model.resets[key]
	w.model.resets[key] = r
	if !known {
		w.model.order = append(w.model.order, key)
		if r.Bulk != "" {
			w.ofBulk(b.Partition, r)
		}
		if r.Origin != "" {
			w.adopted(b.Partition, r)
		}
	}
	if known && before.State == r.State {
		return
	}
	w.note("reset", r.ID, string(before.State), string(r.State), string(r.FailureCode))
	if r.Open() {
		if known && !before.Open() && (before.State != passcode.Failed || before.FailureCode != fault.AttemptsExhausted) {
			w.violate("I1: reset %s had ended %s and goes on as %s", r.ID, before.State, r.State)
		}
		return
	}
	if known && before.Open() {
		w.tally.ended++
	}
	told := slices.ContainsFunc(b.Messages, func(m work.Message) bool {
		return m.Queue == work.Announcements && kindOf(m.Body) == announced[r.State] && requestOf(m.Body) == r.ID
	})
	if !told {
		w.violate("I7: reset %s became %s and nobody is told", r.ID, r.State)
	}
	switch r.State {
	case passcode.Issued:
		w.tally.issued++
		if life := r.ExpiresAt.Sub(r.IssuedAt); life > secret.MaxLife || r.Code == nil || r.Code.ExpiresAt.After(r.ExpiresAt) {
			w.violate("I4: the code of %s lives %s", r.ID, life)
		}
		if r.Code != nil {
			w.model.envelopes[r.Code.ID] = *r.Code
			w.model.sealed = append(w.model.sealed, r.Code.ID)
		}
		w.planReveals(b.Partition, r)
	case passcode.Expired:
		if before.Code != nil {
			if _, there := w.ring.row(work.Key{Partition: b.Partition, Row: "key|" + before.Code.ID}); there {
				w.violate("I4: reset %s is expired and its key is still there", r.ID)
			}
		}
	}
}

// check is called after each step.
func (w *world) check() {
	m := &w.model
	if !m.changed && len(w.tasks) > 0 {
		return
	}
	m.changed = false
	open := map[string]string{} // by device
	for _, key := range m.order {
		r := m.resets[key]
		if !r.Open() {
			continue
		}
		if other := open[r.DeviceID]; other != "" {
			w.violate("I8: device %s has two open resets, %s and %s", r.DeviceID, other, r.ID)
		}
		open[r.DeviceID] = r.ID
		if !w.driven(key.Partition, r) && !m.lost[key.Partition] {
			w.violate("I1: reset %s is %s and no message goes on with it", r.ID, r.State)
		}
	}
	for tenant, c := range m.consents {
		if c.State == onboarding.Pending && !w.alive(messageKey{tenant, c.CheckID}) && !m.lost[tenant] {
			w.violate("I1: consent %s is pending and no message goes on with it", c.RequestID)
		}
	}
	for _, key := range m.accepted {
		if _, there := m.resets[key]; !there {
			w.violate("I1: reset %s was accepted and is not there", key.Row)
		}
	}
	w.checkRollouts()
	w.checkBulks()
	if c, ok := w.store.(*composed); ok {
		c.check()
	}
}

// driven reports whether a message waits that the handler will go on with: the reminder that counts, or a request for it
// while it is in a state that a request takes up.
func (w *world) driven(partition string, r passcode.Reset) bool {
	if r.CheckID != "" && w.alive(messageKey{partition, r.CheckID}) {
		return true
	}
	return (r.State == passcode.Accepted || r.State == passcode.Calling) && slices.ContainsFunc(w.model.asked[r.ID], w.alive) ||
		w.store.unsent(func(m work.Message) bool { return requestOf(m.Body) == r.ID })
}

// alive reports whether the message is still to be handled, or to be sent.
func (w *world) alive(key messageKey) bool { return w.store.alive(key) }

// checkEnd is called when nothing has gone wrong for long and nothing is left to do.
func (w *world) checkEnd() {
	ctx, m := context.Background(), &w.model
	readable := func(tenant, request, link string) bool {
		page, err := diag.Load(ctx, w.store, tenant, diag.IDFor(tenant, request))
		if w.scene == upkeep && errors.Is(err, work.ErrNotFound) && w.now.Sub(w.stop) > keep.History-24*time.Hour {
			return true // tidied away: it was made while things went wrong, or soon after it
		}
		return err == nil && page.Link == link && page.Title != "" && len(page.Fix) > 0
	}
	for _, key := range m.order {
		r := m.resets[key]
		switch {
		case r.Open():
			w.violate("I9: reset %s is still %s, why %s", r.ID, r.State, r.Why)
		case r.State == passcode.Failed && !readable(key.Partition, r.ID, r.Diagnostics):
			w.violate("I9: reset %s failed with %s and its page %q can't be read", r.ID, r.FailureCode, r.Diagnostics)
		case r.State == passcode.Issued || r.Code != nil:
			w.violate("I4: the code of reset %s was not destroyed; it expired at %s", r.ID, r.ExpiresAt)
		case r.Views != m.views[r.ID]:
			w.violate("I8: reset %s counts %d views, the log %d", r.ID, r.Views, m.views[r.ID])
		}
	}
	for tenant, c := range m.consents {
		switch {
		case c.State == onboarding.Pending:
			w.violate("I9: consent %s is still pending", c.RequestID)
		case c.State == onboarding.Failed && !readable(tenant, c.RequestID, c.Diagnostics):
			w.violate("I9: consent %s failed and its page can't be read", c.RequestID)
		}
	}
	for _, key := range m.consented {
		if !m.started[key.Row] && !readable(key.Partition, key.Row, diag.Link(key.Partition, diag.IDFor(key.Partition, key.Row))) {
			w.violate("I1: consent run %s was accepted and nothing came of it", key.Row)
		}
	}
	w.endRollouts(readable)
	w.endAudits()
	w.endSubscriptions()
	w.endPortal()
	w.endBulks(readable)
	if c, ok := w.store.(*composed); ok {
		c.checkEnd()
	}
	// A copy of each envelope, as a backup would have it, and a clock set back.
	w.skew = -30 * 24 * time.Hour
	for _, id := range m.sealed {
		env := m.envelopes[id]
		u := work.NewUnit(w.store, env.Binding.Tenant, w.clock(), w.newID)
		receipt, err := audit.Commit(ctx, u, audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed, Ticket: "thief", RequestID: env.Binding.Request}, env.ID)
		if err != nil {
			w.violate("record: %v", err)
		}
		if _, err := w.vault.Open(ctx, env, env.Binding, receipt); !errors.Is(err, secret.ErrGone) {
			w.violate("I4: an old copy of the code of %s opens after its end: %v", env.Binding.Request, err)
		}
	}
}

// requestOf and kindOf read an event's request and kind without decoding all of it.
func requestOf(body []byte) string { return field(body, `"requestId":"`) }

func kindOf(body []byte) string {
	return strings.TrimPrefix(field(body, `"type":"`), events.TypePrefix)
}

func field(body []byte, name string) string {
	_, rest, ok := bytes.Cut(body, []byte(name))
	if !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(value)
}
