package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/portal"
	"pinreset/shared/readiness"
	"pinreset/shared/reading"
	"pinreset/shared/rollout"
	"pinreset/shared/survey"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// TestInvariantsOfPoliciesCanFail breaks one after the other in a world with a rollout that has its turn, and wants each to be
// noticed.
func TestInvariantsOfPoliciesCanFail(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	theirs := other(otherGroups[0])
	// written stores a row as a run of the tenant would.
	written := func(t *testing.T, w *world, row string, value any, messages ...work.Message) {
		t.Helper()
		data, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.store.Commit(ctx, work.Batch{Partition: tenantID, Writes: []work.Write{{Row: row, Value: data}}, Messages: messages}); err != nil {
			t.Fatal(err)
		}
	}
	for want, harm := range map[string]func(t *testing.T, w *world){
		"I1: rollout": func(_ *testing.T, w *world) { // its message vanishes
			for _, m := range w.store.(*store).live {
				m.done = true
			}
			w.store.(*store).live = nil
		},
		"I9: rollout": func(_ *testing.T, w *world) { w.checkEnd() },
		"I10": func(_ *testing.T, w *world) {
			_, _ = w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
			_, _ = w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
		},
		"I11: policy": func(_ *testing.T, w *world) { // written without a look at what is there
			id, _ := w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
			_ = w.cloud.Assign(ctx, tenantID, policy.Ref{Store: policy.DeviceConfigurations, ID: id}, nil)
		},
		"I11: the assignment": func(_ *testing.T, w *world) { // somebody else's, without what nobody here knows of it
			ref := policy.Ref{Store: policy.DeviceConfigurations, ID: w.cloud.tenants[tenantID].add(w.now, policy.OMAURI, policy.Name, true, policy.On, theirs)}
			_, _ = w.cloud.Assignments(ctx, tenantID, ref)
			poorer := theirs
			poorer.Raw = nil
			_ = w.cloud.Assign(ctx, tenantID, ref, []policy.Assignment{poorer})
		},
		"I12": func(_ *testing.T, w *world) {
			w.cur.proved = nil
			_, _ = w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
		},
		"I13: graph": func(_ *testing.T, w *world) {
			w.cur.request = "another"
			_, _ = w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
		},
		"I13: policy": func(_ *testing.T, w *world) { // deleted while it is on
			id, _ := w.cloud.CreatePolicy(ctx, tenantID, policy.OMAURI)
			ref := policy.Ref{Store: policy.DeviceConfigurations, ID: id}
			_, _ = w.cloud.Assignments(ctx, tenantID, ref)
			_ = w.cloud.DeletePolicy(ctx, tenantID, ref)
		},
		"I14": func(t *testing.T, w *world) {
			row := rollout.Prefix + work.Descending(w.model.rollouts.order[0].Row)
			if err := w.store.Commit(ctx, work.Batch{Partition: tenantID, Writes: []work.Write{{Row: row, Delete: true}}}); err != nil {
				t.Fatal(err)
			}
		},
		"I15: audit": func(t *testing.T, w *world) { // a drift that nobody is told of
			written(t, w, survey.Prefix+"x", survey.Report{ID: "x", Outcome: events.AuditWhole, Parts: []survey.Part{{Read: true}}, Drift: []survey.Drift{{}}})
		},
		"I15: tenant": func(t *testing.T, w *world) { // and no reason
			written(t, w, survey.Prefix+"x", survey.Report{ID: "x", Outcome: events.AuditNot},
				work.Message{ID: "m", Queue: "q", Partition: tenantID, Body: []byte(`{"type":"` + events.TypePrefix + events.TenantAuditCompleted{}.Kind() + `","requestId":"x"}`)})
		},
		"I15: rollout": func(t *testing.T, w *world) {
			written(t, w, rollout.Prefix+"x", rollout.Rollout{ID: "x", State: rollout.Accepted, By: events.Pinreset()})
		},
		"I16: application": func(t *testing.T, w *world) {
			written(t, w, "readiness", readiness.TenantFacts{Service: reading.Read(readiness.ServicePrincipal{})})
		},
		"I16: policy": func(t *testing.T, w *world) {
			d := w.cloud.tenants[tenantID]
			d.add(start.Add(-1e12), policy.OMAURI, "Theirs", false, policy.On)
			written(t, w, "readiness", readiness.TenantFacts{Policies: map[policy.Store]reading.Of[[]policy.Found]{
				policy.DeviceConfigurations: reading.Read([]policy.Found{})}})
		},
		"I17: the facts": func(t *testing.T, w *world) {
			written(t, w, "readiness-device|d", readiness.DeviceReport{ReportID: "2"})
			written(t, w, "readiness-device|d", readiness.DeviceReport{ReportID: "1"})
		},
		"I17: the PIN": func(_ *testing.T, w *world) {
			m := work.Message{Partition: tenantID, Body: []byte(`{"deviceId":"d","resetAt":"now"}`)}
			w.toldOfPIN(m)
			w.toldOfPIN(m)
		},
		"I18: record a": func(t *testing.T, w *world) {
			written(t, w, portal.Prefix+"a", portal.Kept{ID: "a"})
			written(t, w, portal.Prefix+"a", portal.Kept{ID: "a"})
		},
		"I18: device": func(t *testing.T, w *world) {
			w.model.resets[work.Key{Partition: tenantID, Row: w.cur.request}] = passcode.Reset{Origin: passcode.FromPortal}
			_, _ = w.cloud.ResetPasscode(ctx, tenantID, deviceID)
		},
		"I19": func(t *testing.T, w *world) {
			for _, id := range []string{"1", "2"} {
				written(t, w, passcode.ResetPrefix+id, passcode.Reset{ID: id, DeviceID: deviceID, Bulk: "b", State: passcode.Accepted})
			}
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := quiet(t, nil)
			w.stop = start // nothing goes wrong by chance
			d := w.cloud.tenants[tenantID]
			d.history, d.fleet, d.disabled = nil, nil, ""
			proved := map[string]bool{}
			for _, app := range bothApps {
				d.principals[app], proved[app] = start.Add(-1e15), true
			}
			wish := events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, Include: rolloutGroups[:1], Reason: "a test", By: operator}
			w.at(start, "ask", func() { w.roll(tenantID, wish, 0) })
			for len(w.model.rollouts.order) == 0 {
				w.one()
			}
			if w.check(); w.violation != "" {
				t.Fatal(w.violation)
			}
			w.cur = &task{tenant: tenantID, request: w.model.rollouts.order[0].Row, started: w.now, proved: proved}
			harm(t, w)
			w.cur, w.model.changed = nil, true
			w.check()
			if !strings.HasPrefix(w.violation, want) {
				t.Errorf("noticed %q, want %s", w.violation, want)
			}
		})
	}
}

// TestInvariantOfTheComposedStoreCanFail breaks what I21 says in a world with one message that waits, and wants it to be noticed.
func TestInvariantOfTheComposedStoreCanFail(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(c *composed, row work.Row){
		"its parcel vanishes": func(c *composed, _ work.Row) { c.queue.Drop(0) },
		"it is forgotten": func(c *composed, row work.Row) {
			_ = tableOf{c}.Transact(context.Background(), tenantID, []work.Write{{Row: row.Row, Delete: true}})
		},
		"an attempt is left out": func(c *composed, row work.Row) {
			_ = tableOf{c}.Transact(context.Background(), tenantID, []work.Write{{Row: row.Row, Value: bytes.Replace(row.Value, []byte(`"attempt":1`), []byte(`"attempt":3`), 1)}})
		},
		"it is done twice": func(c *composed, row work.Row) {
			for range 2 {
				_ = tableOf{c}.Transact(context.Background(), tenantID, []work.Write{{Row: row.Row, Value: bytes.Replace(row.Value, []byte(`"attempt":1`), []byte(`"attempt":1,"done":1`), 1)}})
			}
		},
		"its parcel can't be read": func(c *composed, _ work.Row) {
			_, _ = c.store().Accept(context.Background(), outbox.Received{Queue: "q", Token: "t"})
		},
		"what waits loses its mark": func(c *composed, _ work.Row) {
			m := work.Message{ID: "week", Queue: "q", Partition: tenantID, At: c.w.now.Add(7 * 24 * time.Hour), Body: []byte("{}")}
			if c.Commit(context.Background(), work.Batch{Partition: tenantID, Messages: []work.Message{m}}) != nil || c.queue.Live() != 1 {
				return // and nothing is noticed
			}
			if c.check(); c.w.violation != "" {
				c.w.violation = "too early"
				return
			}
			for _, key := range c.rows.Keys(tenantID) {
				if key[0] == rowOfMark {
					_ = tableOf{c}.Transact(context.Background(), tenantID, []work.Write{{Row: key, Delete: true}})
				}
			}
		},
		"a mark is left": func(c *composed, _ work.Row) {
			_ = tableOf{c}.Transact(context.Background(), "elsewhere", []work.Write{{Row: "kmark", Value: []byte(`[]`)}})
			c.checkEnd()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(uint64(len(scenes)), key(t), options{kept: composite}, &tally{}) // its queue waits for a quarter of an hour
			c := w.store.(*composed)
			w.stop = start // nothing goes wrong by chance
			m := work.Message{ID: "m", Queue: "q", Partition: tenantID, Body: []byte("{}")}
			if err := w.store.Commit(t.Context(), work.Batch{Partition: tenantID, Messages: []work.Message{m}}); err != nil {
				t.Fatal(err)
			}
			if c.check(); w.violation != "" {
				t.Fatal(w.violation)
			}
			row, err := c.rows.Get(t.Context(), work.Key{Partition: tenantID, Row: "mm"})
			if err != nil {
				t.Fatal(err)
			}
			harm(c, row)
			c.check()
			if !strings.HasPrefix(w.violation, "I21") {
				t.Errorf("noticed %q, want I21", w.violation)
			}
		})
	}
}
