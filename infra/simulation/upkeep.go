package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/functions/housekeeping"
	"pinreset/shared/passcode"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// The upkeep keeps history for so short that a world sees its end. Its watch comes round as often as the program's, where the
// script lets the timer run.
var (
	keep            = housekeeping.Keep{Audit: 16 * 24 * time.Hour, History: 8 * 24 * time.Hour, Feed: 5 * 24 * time.Hour}
	upkeepSchedule  = housekeeping.Schedule{Watch: 15 * time.Minute, Retention: 24 * time.Hour, Grace: 10 * time.Minute}
	housekeepingDue = events.HousekeepingDue{}.Kind()
)

// planUpkeep lets the timer run: now and then while things go wrong, and every third day after it until the end.
func (w *world) planUpkeep() {
	for range 2 + w.rng.IntN(4) {
		w.at(start.Add(w.upTo(max(w.stop.Sub(start), 30*time.Hour))), "timer", w.tick)
	}
	for _, late := range []time.Duration{30 * time.Minute, 6 * time.Hour} {
		w.at(w.stop.Add(late), "timer", w.tick)
	}
	for at := w.stop.Add(30 * time.Hour); at.Before(w.horizon.Add(-time.Hour)); at = at.Add(72 * time.Hour) {
		w.at(at, "timer", w.tick)
	}
}

// tick does what the timer of the program does at its time.
func (w *world) tick() {
	w.api("timer", "", "", w.tick, func(ctx context.Context) error { return w.timer.Tick(ctx) })
}

// remembered are the kinds of messages that may be lost for ever once a row says what they were for: the upkeep sends them again.
var remembered = []string{
	events.PasscodeResetRequested{}.Kind(), events.PasscodeResetCheckDue{}.Kind(), events.PasscodeExpiryDue{}.Kind(),
	events.ConsentCheckDue{}.Kind(), events.PolicyRolloutRequested{}.Kind(), events.PolicyRolloutCheckDue{}.Kind(),
	events.PolicyRollbackRequested{}.Kind(), housekeepingDue,
}

// losable reports whether the message may be lost.
func (w *world) losable(m work.Message) bool {
	kind, request := kindOf(m.Body), requestOf(m.Body)
	if w.scene != upkeep || !slices.Contains(remembered, kind) {
		return false
	}
	switch kind {
	case events.PasscodeResetRequested{}.Kind():
		_, known := w.model.resets[work.Key{Partition: m.Partition, Row: request}]
		return known
	case events.PolicyRolloutRequested{}.Kind():
		_, known := w.model.rollouts.rows[work.Key{Partition: m.Partition, Row: request}]
		return known
	case events.PolicyRollbackRequested{}.Kind():
		for key, r := range w.model.rollouts.rows {
			if key.Partition == m.Partition && r.Rollback != nil && r.Rollback.ID == request {
				return true
			}
		}
		return false
	}
	return true
}

// lose takes the message away, as if it had never been.
func (w *world) lose(i int) {
	m := w.store.message(i)
	w.note("lost", m.ID, kindOf(m.Body), requestOf(m.Body))
	w.store.lose(i)
	w.model.lost[m.Partition] = true
	w.tally.lost++
}

// tidied judges a row that was deleted.
func (w *world) tidied(partition, row string) {
	m := &w.model
	old := func(ended time.Time) bool { return w.clock().Sub(ended) >= keep.History }
	switch {
	case strings.HasPrefix(row, passcode.ResetPrefix):
		i := slices.IndexFunc(m.order, func(k work.Key) bool {
			return k.Partition == partition && passcode.ResetPrefix+work.Descending(k.Row) == row
		})
		if i < 0 {
			return
		}
		r := m.resets[m.order[i]]
		if r.Open() || r.Code != nil || !old(r.EndedAt) && !old(r.ExpiresAt) {
			w.violate("I14: reset %s is %s and forgotten", r.ID, r.State)
		}
		delete(m.resets, m.order[i])
		m.order = slices.Delete(m.order, i, i+1)
		m.accepted = slices.DeleteFunc(m.accepted, func(k work.Key) bool { return k.Partition == partition && k.Row == r.ID })
		w.tally.forgotten++
	case strings.HasPrefix(row, rollout.Prefix):
		i := slices.IndexFunc(m.rollouts.order, func(k work.Key) bool {
			return k.Partition == partition && rollout.Prefix+work.Descending(k.Row) == row
		})
		if i < 0 {
			return
		}
		key := m.rollouts.order[i]
		r := m.rollouts.rows[key]
		if r.Open() || !old(r.EndedAt) || m.current[partition] == r.ID {
			w.violate("I14: rollout %s is %s and forgotten", r.ID, r.State)
		}
		delete(m.rollouts.rows, key)
		m.rollouts.order = slices.Delete(m.rollouts.order, i, i+1)
		m.rolled = slices.DeleteFunc(m.rolled, func(k work.Key) bool { return k == key })
		m.backed = slices.DeleteFunc(m.backed, func(k [2]work.Key) bool { return k[0] == key })
		w.tally.forgotten++
	}
}

// swept judges a key that was destroyed: the upkeep may not take one that a code still needs.
func (w *world) swept(partition, row string) {
	if w.cur == nil || !strings.HasPrefix(w.cur.request, "housekeeping.") {
		return
	}
	w.tally.swept++
	for _, key := range w.model.order {
		r := w.model.resets[key]
		if key.Partition == partition && r.Code != nil && "key|"+r.Code.ID == row && w.clock().Before(r.Code.ExpiresAt) {
			w.violate("I14: the key of reset %s, which is %s until %s, was destroyed by the upkeep", r.ID, r.State, r.ExpiresAt)
		}
	}
}
