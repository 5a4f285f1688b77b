package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/graph"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// record is one of Intune's audit log.
type record struct {
	id        string
	at, shown time.Time // when it was done, and when the log has it
	raw       json.RawMessage
}

// portalApp is the application that Intune's own portal acts as.
const portalApp = "0000000a-0000-4000-8000-000000000001"

// log keeps what was done in Intune's audit log, where it shows up some time later.
func (d *directory) log(w *world, app, activity, kind, resource string) record {
	w.records++
	r := record{id: fmt.Sprintf("a0000000-0000-4000-8000-%012x", w.records), at: w.now.Truncate(time.Second), shown: w.now.Add(w.upTo(10 * time.Minute))}
	raw, err := json.Marshal(map[string]any{
		"id": r.id, "activityType": activity, "activityDateTime": r.at, "activityResult": "Success", "activityOperationType": "Action", "category": "Device",
		"actor":     map[string]any{"applicationId": app, "userPrincipalName": "eve@contoso.example"},
		"resources": []any{map[string]any{"resourceId": resource, "auditResourceType": kind}},
	})
	if err != nil {
		panic(err) // texts and times
	}
	r.raw = raw
	d.records = append(d.records, r)
	return r
}

// AuditRecords is graph.Client's.
func (c *cloud) AuditRecords(_ context.Context, tenant string, since time.Time) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		m, err := c.call(readAuditLog, tenant, "")
		if err != nil {
			yield(nil, err)
			return
		}
		at := c.w.now
		if m == stale {
			at = at.Add(-c.w.upTo(replicaLag))
		}
		for _, r := range slices.Clone(c.tenants[tenant].records) {
			if !r.at.Before(since) && !r.shown.After(at) && !yield(r.raw, nil) {
				return
			}
		}
		if err := c.w.after(m); err != nil {
			yield(nil, err)
		}
	}
}

// planPortal lets people work in Intune's own portal, and their records come by none, one or several ways.
func (w *world) planPortal(id string) {
	d := w.cloud.tenants[id]
	var devices []*handset
	for _, key := range w.handsets() {
		if h := w.cloud.devices[key]; h.tenant == id {
			devices = append(devices, h)
		}
	}
	for range 1 + w.rng.IntN(4) {
		h := pick(w, devices...)
		w.at(start.Add(w.upTo(14*time.Hour)), "reset in the portal", func() {
			if h.gone {
				return
			}
			w.cloud.codes++
			r := d.log(w, portalApp, "resetPasscode ManagedDevice", "Microsoft.Management.Services.Api.ManagedDevice", h.facts.ID)
			a := &action{request: "portal", posted: w.now, visible: w.now.Add(w.upTo(entryDelay)), outcome: h.outcome}
			if h.code {
				a.code = fmt.Sprintf("%s%06d-%03d", canary, w.seed%1_000_000, w.cloud.codes)
			}
			h.actions = append(h.actions, a)
			w.cloud.carryOut(h)
			w.note("reset in the portal", h.facts.ID, r.id)
			w.bring(id, r)
		})
	}
	for range w.rng.IntN(3) {
		w.at(start.Add(w.upTo(20*time.Hour)), "policy changed in the portal", func() {
			w.bring(id, d.log(w, portalApp, "Patch DeviceConfiguration", "Microsoft.Management.Services.Api.DeviceConfiguration", portalApp))
		})
	}
	for range 1 + w.rng.IntN(3) {
		w.at(start.Add(w.upTo(30*time.Hour)), "catch up", func() { w.catchUp(id) })
	}
	w.at(w.stop.Add(20*time.Minute), "catch up", func() { w.catchUp(id) })
	if w.chance(0.5) {
		w.at(start, "seal codes of the portal", func() { w.sealPortal(id) })
	}
}

// bring lets a record come as a message, perhaps more than once, perhaps in a wrapper with others.
func (w *world) bring(id string, r record) {
	for range pick(w, 0, 1, 1, 2, 3) {
		raw := r.raw
		if w.chance(0.3) {
			raw = slices.Concat([]byte(`{"records":[{"id":"odd"},`), r.raw, []byte(`,`), r.raw, []byte(`]}`))
		}
		w.at(w.now.Add(w.upTo(30*time.Minute)), "a record comes", func() { w.recorded(id, r, raw) })
	}
}

func (w *world) recorded(tenantID string, r record, raw []byte) {
	w.api("record", tenantID, "", func() { w.recorded(tenantID, r, raw) }, func(ctx context.Context) error {
		err := w.persist(ctx, tenantID, func(u *work.Unit) error {
			_, err := u.Send(ctx, portal.Queue.Bulk(), time.Time{}, events.PortalActionRecorded{RequestID: u.NewID(), Record: events.Object(raw), By: operator})
			return err
		})
		if err == nil {
			w.model.brought = append(w.model.brought, work.Key{Partition: tenantID, Row: portal.Prefix + r.id})
		}
		return err
	})
}

func (w *world) catchUp(tenantID string) {
	w.api("catch up", tenantID, "", func() { w.catchUp(tenantID) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			_, err := u.Send(ctx, portal.Queue.Bulk(), time.Time{}, events.PortalCatchUpDue{RequestID: u.NewID()})
			return err
		})
	})
}

func (w *world) sealPortal(tenantID string) {
	w.api("settings", tenantID, "", func() { w.sealPortal(tenantID) }, func(ctx context.Context) error {
		return w.persist(ctx, tenantID, func(u *work.Unit) error {
			s, err := tenant.ReadSettings(ctx, u)
			if err != nil {
				return err
			}
			s.SealPortalCodes = true
			return tenant.WriteSettings(u, s)
		})
	})
}

// wroteRecord judges what was made of a record: each is taken once.
func (w *world) wroteRecord(b work.Batch, wr work.Write) {
	var k portal.Kept
	w.decode(wr, &k)
	key := work.Key{Partition: b.Partition, Row: wr.Row}
	if _, again := w.model.kept.put(key, k); again {
		w.violate("I18: record %s of Intune's audit log was taken again, as %s", k.ID, k.Decision)
	}
	w.note("record", k.ID, string(k.Decision), k.ResetID)
	w.tally.records++
	if k.Decision == portal.Adopted {
		w.tally.adopted++
	}
}

// adopted judges a reset that was started in the portal: there is one for each record.
func (w *world) adopted(partition string, r passcode.Reset) {
	for _, key := range w.model.order {
		if o := w.model.resets[key]; key.Partition == partition && o.ID != r.ID && o.RecordID == r.RecordID {
			w.violate("I18: record %s is followed by two resets, %s and %s", r.RecordID, o.ID, r.ID)
		}
	}
}

// called judges a call of Graph's resetPasscode by what the row says that it is for.
func (w *world) called(tenantID string) {
	if r := w.model.resets[work.Key{Partition: tenantID, Row: w.cur.request}]; r.Origin != "" {
		w.violate("I18: device %s is reset for %s, which was started in Intune's own portal", r.DeviceID, r.ID)
	}
}

// endPortal is called at the end of a world.
func (w *world) endPortal() {
	m := &w.model
	for _, key := range m.brought {
		if _, there := m.kept.rows[key]; !there {
			w.violate("I18: %s came and was not kept", key.Row)
		}
	}
	counted := map[string]int{}
	for _, id := range w.tenantIDs() {
		row, err := w.store.Get(context.Background(), work.Key{Partition: id, Row: "portalcount"})
		counts := map[portal.Decision]int{}
		if err == nil && json.Unmarshal(row.Value, &counts) != nil {
			w.violate("I18: the counts of tenant %s can't be decoded", id)
		}
		for _, n := range counts {
			counted[id] += n
		}
	}
	for key := range m.kept.rows {
		counted[key.Partition]--
	}
	for id, n := range counted {
		if n != 0 {
			w.violate("I18: %d records of tenant %s are counted and not kept", n, id)
		}
	}
}

// handsets are the ids of all devices, sorted.
func (w *world) handsets() []string {
	var ids []string
	for id := range w.cloud.devices {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	return ids
}

// pageSize is how many devices the model lists at once.
const pageSize = 3

// DevicePage is graph.Client's. A place is the id of the last device of the page before.
func (c *cloud) DevicePage(_ context.Context, tenant string, _ graph.DeviceFilter, after string) (devices []graph.ManagedDevice, next string, err error) {
	m, err := c.call(listDevices, tenant, "")
	if err != nil {
		return nil, "", err
	}
	for _, id := range c.w.handsets() {
		h := c.devices[id]
		switch {
		case h.tenant != tenant || h.gone || id <= after:
		case len(devices) == pageSize:
			return devices, devices[pageSize-1].ID, c.w.after(m)
		default:
			devices = append(devices, h.facts)
		}
	}
	return devices, "", c.w.after(m)
}

// DeviceOwners is graph.Client's: the group has the user of all devices in it.
func (c *cloud) DeviceOwners(_ context.Context, tenant, _ string) (graph.DeviceOwners, error) {
	m, err := c.call(readOwners, tenant, "")
	if err != nil {
		return graph.DeviceOwners{}, err
	}
	return graph.DeviceOwners{Users: map[string]bool{"user-1": true}}, c.w.after(m)
}

// BulkWrites is graph.Client's: so few that a bulk reset takes several rounds.
func (c *cloud) BulkWrites(graph.Family) graph.Window {
	return graph.Window{Limit: 2, Per: time.Minute}
}
