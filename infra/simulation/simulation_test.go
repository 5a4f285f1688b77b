package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

func key(t *testing.T) *secret.LocalKey {
	t.Helper()
	kek, done, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return kek
}

// TestSeeds runs some seeds; "task sim" runs as many as there is time for.
func TestSeeds(t *testing.T) {
	t.Parallel()
	total, failed := simulate(1, 300, runtime.GOMAXPROCS(0), key(t), options{})
	if failed != nil {
		t.Fatalf("seed %d: %s\ngo run ./infra/simulation -from %d -seeds 1 -trace", failed.seed, failed.violation, failed.seed)
	}
	// A simulation in which nothing happens finds nothing.
	for what, n := range map[string]int64{
		"resets": total.resets, "codes issued": total.issued, "codes released": total.released, "consents proven": total.proven,
		"crashes ahead of a settlement": total.hits[settle][crashBefore], "answers lost": total.hits[resetDevice][answerLost] + total.hits[createPolicy][answerLost] + total.hits[assignPolicy][answerLost] + total.hits[settle][answerLost],
		"policies created": total.created, "rollouts taken back": total.takenBack, "audits": total.audits, "subscriptions": total.subscribed, "drifts": total.drifts, "reports of devices": total.reports,
		"messages lost": total.lost, "rows forgotten": total.forgotten,
	} {
		if n == 0 {
			t.Errorf("no %s in %d seeds", what, total.seeds)
		}
	}
}

// TestComposedSeeds runs some seeds over the composed store.
func TestComposedSeeds(t *testing.T) {
	t.Parallel()
	total, failed := simulate(1, 72, runtime.GOMAXPROCS(0), key(t), options{kept: composite})
	if failed != nil {
		t.Fatalf("seed %d: %s\ngo run ./infra/simulation -store composed -from %d -seeds 1 -trace", failed.seed, failed.violation, failed.seed)
	}
	for what, n := range map[string]int64{
		"resets": total.resets, "codes issued": total.issued, "policies created": total.created, "audits": total.audits,
		"crashes ahead of a transaction": total.hits[tableTransact][crashBefore], "transactions made twice": total.hits[tableTransact][doneTwice],
		"parcels sent in part": total.hits[queueSend][doneInPart], "parcels not completed": total.hits[queueComplete][unavailable],
	} {
		if n == 0 {
			t.Errorf("no %s in %d seeds", what, total.seeds)
		}
	}
}

// TestBrokenStores proves that the simulation finds what the composed store has its fence and its inbox for: without the one a message is
// settled by two holders, without the other it is handled again after it was done.
func TestBrokenStores(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]options{"no fence": {skipFence: true}, "no inbox": {skipInbox: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.kept = composite
			_, failed := simulate(1, 1000, 1, key(t), o)
			if failed == nil || !strings.HasPrefix(failed.violation, "I21: message") {
				t.Fatalf("no violation of I21 in 1000 seeds: %+v", failed)
			}
			t.Logf("seed %d: %s", failed.seed, failed.violation)
		})
	}
}

func TestSameSeedSameTrace(t *testing.T) {
	t.Parallel()
	kek := key(t)
	hashes := map[uint64]uint64{}
	for seed := range uint64(12) {
		var traces [2][]string
		var worlds [2]*world
		for i := range traces {
			worlds[i] = again(seed, kek, options{print: func(line string) { traces[i] = append(traces[i], line) }})
		}
		if worlds[0].hash != worlds[1].hash || !slices.Equal(traces[0], traces[1]) || len(traces[0]) < 20 {
			t.Errorf("seed %d: %016x with %d lines, then %016x with %d", seed, worlds[0].hash, len(traces[0]), worlds[1].hash, len(traces[1]))
		}
		if other, twice := hashes[worlds[0].hash]; twice {
			t.Errorf("seeds %d and %d have the same trace", other, seed)
		}
		hashes[worlds[0].hash] = seed
	}
}

// TestSkippedIntent proves that the simulation finds what it is there for: without the intent on stable storage, a device is
// reset twice for one request and a tenant gets a second policy, and a thousand seeds are enough to see it.
func TestSkippedIntent(t *testing.T) {
	t.Parallel()
	for want, scene := range map[string]scene{"I2": resets, "I10": rollouts} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			kek, others := key(t), 0
			for seed := uint64(1); seed <= 1000; seed++ {
				if scenes[seed%uint64(len(scenes))] != scene {
					continue
				}
				_, failed := simulate(seed, 1, 1, kek, options{skipIntent: true, kept: local})
				switch {
				case failed == nil:
				case strings.HasPrefix(failed.violation, want):
					t.Logf("seed %d, after %d with another violation: %s", seed, others, failed.violation)
					return
				default:
					others++ // work whose state was never kept breaks other promises, too
				}
			}
			t.Fatalf("1000 seeds without intents: no violation of %s, %d of others", want, others)
		})
	}
}

// found are seeds that violated an invariant before what they found was put right. What a seed does changes with the
// simulation, so each finding has a test beside it that does not depend on chance: TestThrottledThoughDone, TestSlowKeyRing,
// TestPolicyNotListedYet, TestEndThatCanNotBeRecorded of package dispatch, TestTurnIsKeptBeforeTheValueIsWritten and TestOvertakenRunAssignsNothing of package
// policyrollout (and TestNothingEndsWhileAWriteIsOnItsWay, TestReplayedRequestGoesOnWatching, TestOvertakenRequestFailsNothing),
// TestUnitWritesUnderItsFirstReading of package work, TestSecondRollbackGoesNotOverTheFirst of package rollout, and
// TestDueTimesNeverComeEarly of package outbox.
var found = []struct {
	seed uint64
	kept keeping
	what string
}{
	{226, local, "I1: dispatch set a message aside without its request's end, because the store could not be read: the reset stayed open for ever"},
	{7, local, "I2: 429 though carried out, with our clock ahead of Graph's: no trace was found and the device was reset again"},
	{302744, local, "I10: a replica that was behind did not list a policy that was made a moment ago, and a second one was made"},
	{103788, local, "I13: a row was read twice in one unit and written under its later version: a second rollback went over the first one's record"},
	{46936, composite, "I1: a run that was overtaken by the last attempt of its message took the failed rollback for one that is replayed, and opened it with no message to go on with it"},
	{32576, local, "I20: a run forgot an intent that it had read, and deleted the one that another run had recorded in its place; what that one made was kept under a third one's secret"},
	{73787, local, "I13: a rollback's time was over while another run of it was writing; it ended, and the next write came without the turn"},
	{2012, local, "I20: two runs recorded the intent of the same subscription, the later over the earlier, and what the earlier one had made was kept under the later one's secret"},
	{801, local, "I4: a code was opened in its last second and given out after it, because reading its key took long"},
	{11, composite, "I9: a message's time was rounded down to microseconds, so it came early, was sent again for the same time, and came early, for ever"},
	{3683, composite, "I1: a request that came too late, after the upkeep had another one sent, failed a rollout that was in place; its replay opened the rollout without a reminder"},
}

func TestFound(t *testing.T) {
	t.Parallel()
	kek := key(t)
	for _, f := range found {
		if w := again(f.seed, kek, options{kept: f.kept}); w.violation != "" {
			t.Errorf("seed %d, %s: %s; once: %s", f.seed, &f.kept, w.violation, f.what)
		}
	}
}

// quiet is a world of one tenant and one device in which only what force says goes wrong.
func quiet(t *testing.T, force func(*world, effect) mishap) *world {
	t.Helper()
	w := newWorld(1, key(t), options{force: force, kept: local}, &tally{})
	w.rate, w.yields, w.script, w.store.(*store).before = 0, 0, nil, nil
	w.stop, w.horizon = w.horizon, w.horizon.Add(24*time.Hour)
	clear(w.cloud.devices)
	w.cloud.devices[deviceID] = &handset{tenant: tenantID, facts: platforms[0].facts, code: true, online: true}
	w.cloud.devices[deviceID].facts.ID = deviceID
	return w
}

const (
	tenantID = "7e4a0000-0000-4000-8000-000000000001"
	deviceID = "de000001-0000-4000-8000-000000000001"
)

// TestThrottledThoughDone: the call is answered 429 and carried out. Whatever our clock does, the device is reset once and its
// code is found.
func TestThrottledThoughDone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ before, after time.Duration }{
		"clock right":                     {},
		"clock ten minutes ahead":         {10 * time.Minute, 10 * time.Minute},
		"clock a day ahead":               {24 * time.Hour, 24 * time.Hour},
		"clock an hour behind":            {-time.Hour, -time.Hour},
		"clock jumps an hour in between":  {0, time.Hour},
		"clock is set back in between":    {0, -time.Hour},
		"clock is put right in between":   {24 * time.Hour, 0},
		"clock catches up while it waits": {-time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			w := quiet(t, func(w *world, e effect) mishap {
				if e != resetDevice {
					return none
				}
				calls++
				w.at(w.now, "clock", func() { w.skew = c.after })
				return throttledBareDone
			})
			w.skew = c.before
			w.at(start, "ask", func() { w.accept(tenantID, deviceID, 0) })
			w.run()
			if w.violation != "" || calls != 1 || w.tally.issued != 1 {
				t.Errorf("%d calls, %d codes issued: %s", calls, w.tally.issued, w.violation)
			}
		})
	}
}

// TestPolicyNotListedYet: a policy is created, and a replica that is behind does not list it to whoever looks for it next: the run
// itself, which has to begin again, or another rollout right behind it.
func TestPolicyNotListedYet(t *testing.T) {
	t.Parallel()
	for i := range 24 {
		interrupts := i%2 == 0
		reads := 0
		w := quiet(t, func(w *world, e effect) mishap {
			switch {
			case e == readPolicies:
				return stale
			case e == readPrincipal && interrupts:
				if reads++; reads == 3 { // after the create, ahead of the assignment
					return unavailable
				}
			}
			return none
		})
		for range i {
			w.rng.Uint64() // by how much it is behind
		}
		d := w.cloud.tenants[tenantID]
		d.history, d.disabled = nil, ""
		for _, app := range bothApps {
			d.principals[app] = start.Add(-time.Hour)
		}
		for n, group := range rolloutGroups[:2] {
			want := events.PolicyRolloutRequested{Shape: events.ShapeOMAURI, Include: []string{group}, Reason: "a test", By: operator}
			w.at(start.Add(time.Duration(n)*time.Second), "ask", func() { w.sendRollout(tenantID, want, 0) })
		}
		w.run()
		if w.violation != "" || w.tally.created != 1 {
			t.Errorf("variant %d: %d policies created: %s", i, w.tally.created, w.violation)
		}
	}
}

// TestSlowKeyRing: a code whose key arrives after the code's expiry is not given out.
func TestSlowKeyRing(t *testing.T) {
	t.Parallel()
	w := quiet(t, func(w *world, e effect) mishap {
		if e != readKey {
			return none
		}
		return slow
	})
	w.at(start, "ask", func() { w.accept(tenantID, deviceID, 0) })
	w.run()
	if w.violation != "" || w.tally.issued != 1 || w.tally.reveals == 0 {
		t.Errorf("%d issued, %d reveals: %s", w.tally.issued, w.tally.reveals, w.violation)
	}
}

// TestCanaryIsFound is the control of I3: a code in any form in any of the places is seen.
func TestCanaryIsFound(t *testing.T) {
	t.Parallel()
	code := canary + "000001-001"
	texts := map[string]string{
		"plain": code, "hex": hex.EncodeToString([]byte(code)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(code))), "utf16": "",
	}
	for _, c := range code {
		texts["utf16"] += string(c) + "\x00"
	}
	for shift := range 3 {
		texts[fmt.Sprintf("base64 %d", shift)] = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + code))
		texts[fmt.Sprintf("base64url %d", shift)] = base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + code))
	}
	for form, text := range texts {
		for place, put := range map[string]func(*world) error{
			"row": func(w *world) error {
				return w.store.Commit(t.Context(), work.Batch{Partition: tenantID, Writes: []work.Write{{Row: "r", Value: []byte(text)}}})
			},
			"message": func(w *world) error {
				return w.store.Commit(t.Context(), work.Batch{Partition: tenantID, Messages: []work.Message{{ID: "m", Queue: "q", Partition: tenantID, Body: []byte(text)}}})
			},
			"key ring": func(w *world) error {
				return w.ring.Commit(t.Context(), work.Batch{Partition: tenantID, Writes: []work.Write{{Row: "r", Value: []byte(text)}}})
			},
			"log": func(w *world) error { _, err := lines{w}.Write([]byte("level=DEBUG " + text)); return err },
		} {
			w := quiet(t, nil)
			if err := put(w); err != nil || !strings.HasPrefix(w.violation, "I3") {
				t.Errorf("%s in a %s: %q, %v", form, place, w.violation, err)
			}
		}
	}
	w := quiet(t, nil)
	w.scan("a row", []byte(`{"state":"issued","sealed":"q1w2e3r4t5z6"}`))
	if w.violation != "" {
		t.Errorf("a row without a code: %s", w.violation)
	}
}

// TestInvariantsCanFail breaks one after the other and wants each to be noticed.
func TestInvariantsCanFail(t *testing.T) {
	t.Parallel()
	for want, harm := range map[string]func(w *world){
		"I1: reset": func(w *world) { // its message vanishes
			for _, m := range w.store.(*store).live {
				m.done = true
			}
			w.store.(*store).live = nil
		},
		"I2": func(w *world) {
			w.cur = &task{tenant: tenantID, request: w.model.order[0].Row}
			w.cloud.reset(w.cloud.devices[deviceID])
			w.cloud.reset(w.cloud.devices[deviceID])
		},
		"I5": func(w *world) {
			w.cur = &task{tenant: "7e4a0000-0000-4000-8000-00000000000f", started: w.now}
			_, _ = w.cloud.ManagedDevice(context.Background(), tenantID, deviceID)
		},
		"I6": func(w *world) { w.released(w.model.resets[w.model.order[0]], "code", "no such entry") },
		"I7": func(w *world) {
			u := work.NewUnit(w.store, tenantID, w.now, w.newID)
			r := w.model.resets[w.model.order[0]]
			r.State, r.FailureCode = passcode.Failed, fault.GraphRefused
			if err := passcode.Write(u, r); err != nil {
				t.Error(err)
			}
			if err := u.Commit(context.Background()); err != nil {
				t.Error(err)
			}
		},
		"I8": func(w *world) {
			other := w.model.resets[w.model.order[0]]
			other.ID = "another"
			k := work.Key{Partition: tenantID, Row: other.ID}
			w.model.order, w.model.resets[k] = append(w.model.order, k), other
		},
		"I9": func(w *world) { w.checkEnd() },
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			w := quiet(t, nil)
			w.stop = start // nothing goes wrong by chance
			w.at(start, "ask", func() { w.accept(tenantID, deviceID, 0) })
			for len(w.model.order) == 0 {
				w.one()
			}
			if w.check(); w.violation != "" {
				t.Fatal(w.violation)
			}
			harm(w)
			w.cur, w.model.changed = nil, true
			w.check()
			if !strings.HasPrefix(w.violation, want) {
				t.Errorf("noticed %q, want %s", w.violation, want)
			}
		})
	}
}

// TestSecondRequest: two people ask for the same device; both are told of one reset.
func TestSecondRequest(t *testing.T) {
	t.Parallel()
	w := quiet(t, nil)
	for range 3 {
		w.at(start, "ask", func() { w.accept(tenantID, deviceID, 0) })
	}
	w.at(start.Add(9*24*time.Hour), "settings", func() { w.settings(tenantID) })
	w.run()
	if w.violation != "" || w.tally.accepted != 1 || len(w.model.accepted) != 3 || w.tally.resets != 1 {
		t.Errorf("%d accepted of %d told, %d resets: %s", w.tally.accepted, len(w.model.accepted), w.tally.resets, w.violation)
	}
	if r := w.model.resets[w.model.accepted[0]]; r.State != passcode.Expired || r.By != (events.Actor{Kind: events.Operator, ID: "op-1", Name: "Noor"}) {
		t.Errorf("ended %+v", r)
	}
}
