package work

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"pinreset/events"
)

// Unit collects what one handler run leaves behind in one partition. It belongs to one goroutine.
//
// A unit remembers the version of each row it read; a Put or Delete of that row is conditional on it, and a row read as
// missing is written only if it still is. A row that was never read is written unconditionally. So a handler that reads
// before it writes can't overwrite what somebody else did meanwhile: its commit fails with ErrConflict and it runs again.
type Unit struct {
	store     Store
	partition string
	now       time.Time
	newID     func() string
	versions  map[string]version
	batch     Batch
	ended     bool
}

type version struct {
	etag   string
	absent bool
}

// NewUnit starts a unit of work in the partition. now is the run's one time; newID gives fresh ids.
func NewUnit(store Store, partition string, now time.Time, newID func() string) *Unit {
	return &Unit{
		store: store, partition: partition, now: now.UTC(), newID: newID,
		versions: map[string]version{}, batch: Batch{Partition: partition},
	}
}

// Partition returns the partition that the unit reads and writes: the tenant's id for a tenant's work.
func (u *Unit) Partition() string { return u.partition }

// Now returns the time of the run, the same for all of it.
func (u *Unit) Now() time.Time { return u.now }

// NewID returns a fresh id whose text order is the order of creation.
func (u *Unit) NewID() string { return u.newID() }

// Get decodes the row into value, or returns ErrNotFound. It sees what the unit itself has staged. A row may be read again,
// and shows what it is by then; it is written under the version that was read first, so that what was decided on an earlier
// reading never goes over a change that came in between.
func (u *Unit) Get(ctx context.Context, row string, value any) error {
	if i := u.staged(row); i >= 0 {
		if u.batch.Writes[i].Delete {
			return fmt.Errorf("get %s: %w", row, ErrNotFound)
		}
		return decode(row, u.batch.Writes[i].Value, value)
	}
	got, err := u.store.Get(ctx, Key{u.partition, row})
	if errors.Is(err, ErrNotFound) {
		u.saw(row, version{absent: true})
		return fmt.Errorf("get %s: %w", row, ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", row, err)
	}
	u.saw(row, version{etag: got.ETag})
	return decode(row, got.Value, value)
}

func (u *Unit) saw(row string, v version) {
	if _, before := u.versions[row]; !before {
		u.versions[row] = v
	}
}

// List returns stored rows; it does not see what the unit has staged and takes no versions.
func (u *Unit) List(ctx context.Context, prefix string, limit int, page string) (Page, error) {
	return u.store.List(ctx, Query{Partition: u.partition, Prefix: prefix, Limit: limit, Page: page})
}

// Put stages the row. See [Unit] for the condition it is written under.
func (u *Unit) Put(row string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", row, err)
	}
	u.stage(Write{Row: row, Value: data, If: u.condition(row)})
	return nil
}

// Create stages a row that must not exist when the unit commits.
func (u *Unit) Create(row string, value any) error {
	u.versions[row] = version{absent: true}
	if err := u.Put(row, value); err != nil {
		return err
	}
	u.batch.Writes[u.staged(row)].If = IfAbsent()
	return nil
}

// Delete stages the removal of a row.
func (u *Unit) Delete(row string) {
	u.stage(Write{Row: row, Delete: true, If: u.condition(row)})
}

// Send stages an event of the unit's tenant for the queue, due at the time (zero is now), and returns the event's id, which
// is also the message's. The event carries on the trace of ctx.
func (u *Unit) Send(ctx context.Context, queue Queue, at time.Time, data events.Data) (id string, err error) {
	e := events.Event{ID: u.newID(), Tenant: u.partition, Time: u.now, TraceParent: events.TraceFrom(ctx), Data: data}
	return e.ID, u.Forward(queue, at, e)
}

// Relay stages an event that came from outside, under an id of our own: message ids are dedup keys, and an id that a sender
// may choose could be made to swallow another message.
func (u *Unit) Relay(queue Queue, e events.Event) error {
	e.ID = u.newID()
	return u.Forward(queue, time.Time{}, e)
}

// Forward stages an event under its own id, which must be one of ours; see [Unit.Relay] for others.
func (u *Unit) Forward(queue Queue, at time.Time, e events.Event) error {
	if err := e.Validate(); err != nil {
		return fmt.Errorf("send event %s: %w", e.ID, err)
	}
	body, err := e.MarshalJSON() // json.Marshal would go over what it returns once more
	if err != nil {
		return fmt.Errorf("send event %s: %w", e.ID, err)
	}
	u.Post(Message{ID: e.ID, Queue: queue, Partition: e.Tenant, At: at, Body: body})
	return nil
}

// Post stages a message as it is: a dead letter whose body may be anything.
func (u *Unit) Post(m Message) {
	u.mustBeOpen()
	u.batch.Messages = append(u.batch.Messages, m)
}

// Batch returns what is staged.
func (u *Unit) Batch() Batch { return u.batch }

// Commit commits what is staged and ends the unit: how a request is accepted. Staging on it afterwards panics.
func (u *Unit) Commit(ctx context.Context) error {
	_, err := u.commit(ctx)
	u.ended = err == nil
	return err
}

// Checkpoint commits what is staged, on its own, and the unit goes on with the versions that it wrote: how an intent is
// recorded before a call that can't be repeated. ErrConflict may also mean that the commit held and that somebody changed a
// row right after it; either way what this run believes is stale.
func (u *Unit) Checkpoint(ctx context.Context) error {
	written, err := u.commit(ctx)
	if err != nil {
		return err
	}
	for _, w := range written {
		// Table storage's transaction does not tell the new versions, so they are read back.
		got, err := u.store.Get(ctx, Key{u.partition, w.Row})
		switch {
		case errors.Is(err, ErrNotFound) && w.Delete:
			u.versions[w.Row] = version{absent: true}
		case err != nil && !errors.Is(err, ErrNotFound):
			return fmt.Errorf("read back %s: %w", w.Row, err)
		case err == nil && !w.Delete && slices.Equal(got.Value, w.Value):
			u.versions[w.Row] = version{etag: got.ETag}
		default:
			return fmt.Errorf("read back %s: %w", w.Row, ErrConflict)
		}
	}
	return nil
}

func (u *Unit) commit(ctx context.Context) (written []Write, err error) {
	if len(u.batch.Writes) == 0 && len(u.batch.Messages) == 0 {
		return nil, nil
	}
	if err := u.store.Commit(ctx, u.batch); err != nil {
		return nil, fmt.Errorf("commit %s: %w", u.partition, err)
	}
	written = u.batch.Writes
	u.batch = Batch{Partition: u.partition}
	return written, nil
}

func (u *Unit) condition(row string) Condition {
	switch v, known := u.versions[row]; {
	case !known:
		return Always()
	case v.absent:
		return IfAbsent()
	default:
		return IfMatch(v.etag)
	}
}

func (u *Unit) staged(row string) int {
	return slices.IndexFunc(u.batch.Writes, func(w Write) bool { return w.Row == row })
}

func (u *Unit) mustBeOpen() {
	if u.ended {
		panic("work: unit used after its Commit; Checkpoint lets it go on")
	}
}

func (u *Unit) stage(w Write) {
	u.mustBeOpen()
	if i := u.staged(w.Row); i >= 0 {
		w.If = u.batch.Writes[i].If
		u.batch.Writes[i] = w
		return
	}
	u.batch.Writes = append(u.batch.Writes, w)
}

func decode(row string, data []byte, value any) error {
	if err := json.Unmarshal(data, value); err != nil {
		return fmt.Errorf("decode %s: %w", row, err)
	}
	return nil
}
