package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// planBulk lets somebody reset all devices of a tenant, or a group's, and give it up.
func (w *world) planBulk(id string) {
	for range 1 + w.rng.IntN(2) {
		at := start.Add(w.upTo(10 * time.Hour))
		b := passcode.Bulk{Reason: "lost at the fair", By: operator, Plan: w.chance(0.2)}
		if w.chance(0.4) {
			b.Group = rolloutGroups[0]
		}
		w.at(at, "bulk reset", func() { w.bulk(id, b, 3) })
		if w.chance(0.3) {
			w.at(at.Add(w.upTo(10*time.Minute)), "give the bulk reset up", func() { w.cancelBulk(id) })
		}
	}
}

func (w *world) bulk(tenantID string, b passcode.Bulk, tries int) {
	again := func() { w.bulk(tenantID, b, tries-1) }
	if tries == 0 {
		again = nil
	}
	w.api("bulk reset", tenantID, "", again, func(ctx context.Context) error {
		var accepted passcode.Bulk
		err := w.persist(ctx, tenantID, func(u *work.Unit) (err error) {
			accepted, err = passcode.AcceptBulk(ctx, u, b)
			return err
		})
		if err == nil {
			w.model.bulked = append(w.model.bulked, work.Key{Partition: tenantID, Row: accepted.ID})
		}
		return err
	})
}

func (w *world) cancelBulk(tenantID string) {
	w.api("give up", tenantID, "", func() { w.cancelBulk(tenantID) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			all, _, err := passcode.ListBulks(ctx, rowsOf{w}, tenantID, 1, "")
			if err != nil || len(all) == 0 {
				return err
			}
			_, err = passcode.CancelBulk(ctx, u, all[0].ID, "found them", operator)
			return err
		})
	})
}

func (w *world) wroteBulk(b work.Batch, wr work.Write) {
	var bulk passcode.Bulk
	w.decode(wr, &bulk)
	before, known := w.model.bulks.put(work.Key{Partition: b.Partition, Row: bulk.ID}, bulk)
	if known && before.State == bulk.State {
		return
	}
	w.note("bulk", bulk.ID, string(before.State), string(bulk.State), string(bulk.FailureCode))
	if bulk.Open() {
		return
	}
	w.tally.bulks++
	kind := events.BulkResetEnded{}.Kind()
	if bulk.State == passcode.BulkFailed {
		kind = events.FailureRaised{}.Kind()
	}
	if !slices.ContainsFunc(b.Messages, func(m work.Message) bool {
		return m.Queue == work.Announcements && kindOf(m.Body) == kind && requestOf(m.Body) == bulk.ID
	}) {
		w.violate("I19: bulk reset %s became %s and nobody is told", bulk.ID, bulk.State)
	}
	if t := bulk.Tally; bulk.State == passcode.BulkDone && (t.Ended() != t.Total || !bulk.BegunAll) {
		w.violate("I19: bulk reset %s is done with %d of %d devices", bulk.ID, t.Ended(), t.Total)
	}
}

// ofBulk judges a new reset that a bulk reset has begun: it is the only one of its device there.
func (w *world) ofBulk(partition string, r passcode.Reset) {
	w.tally.bulkResets++
	for _, key := range w.model.order {
		if o := w.model.resets[key]; key.Partition == partition && o.ID != r.ID && o.Bulk == r.Bulk && o.DeviceID == r.DeviceID {
			w.violate("I19: bulk reset %s resets device %s twice, %s and %s", r.Bulk, r.DeviceID, o.ID, r.ID)
		}
	}
	if b := w.model.bulks.rows[work.Key{Partition: partition, Row: r.Bulk}]; b.State == passcode.BulkCancelled || b.State == passcode.BulkPlanned {
		w.violate("I19: bulk reset %s is %s and begins device %s", r.Bulk, b.State, r.DeviceID)
	}
}

// checkBulks is called after each step.
func (w *world) checkBulks() {
	m := &w.model
	for _, key := range m.bulks.order {
		b := m.bulks.rows[key]
		if b.Open() && !m.lost[key.Partition] && !w.alive(messageKey{key.Partition, b.DueID}) && !w.replayed(key.Partition, b.DueID) {
			w.violate("I1: bulk reset %s is %s and no message goes on with it", b.ID, b.State)
		}
	}
}

// replayed reports whether a message waits that is a dead letter's: its event has the id that it had, and it has another.
func (w *world) replayed(partition, event string) bool {
	return w.store.waits(func(m work.Message) bool {
		return m.Partition == partition && strings.HasPrefix(m.ID, event+"-r") && w.alive(messageKey{partition, m.ID})
	})
}

// endBulks is called at the end of a world.
func (w *world) endBulks(readable func(tenant, request, link string) bool) {
	m := &w.model
	for _, key := range m.bulked {
		if _, there := m.bulks.rows[key]; !there {
			w.violate("I1: bulk reset %s was accepted and is not there", key.Row)
		}
	}
	for _, key := range m.bulks.order {
		b := m.bulks.rows[key]
		if b.Open() {
			w.violate("I9: bulk reset %s is still %s", b.ID, b.State)
		}
		if b.State == passcode.BulkFailed && !readable(key.Partition, b.ID, b.Diagnostics) {
			w.violate("I9: bulk reset %s failed with %s and its page %q can't be read", b.ID, b.FailureCode, b.Diagnostics)
		}
		tally, _, err := passcode.Count(context.Background(), w.store, key.Partition, b)
		if err != nil || tally.Ended() != tally.Total && b.State != passcode.BulkPlanned && b.State != passcode.BulkFailed {
			w.violate("I9: bulk reset %s is %s and %d of %d devices have ended: %v", b.ID, b.State, tally.Ended(), tally.Total, err)
		}
	}
}
