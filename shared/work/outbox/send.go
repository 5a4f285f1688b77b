package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"pinreset/shared/work"
)

// send sends what the mark names and the queue can be asked for.
func (c *commit) send(ctx context.Context) error {
	var parcels []Parcel
	if c.again() && c.beyond(c.after) == 0 {
		parcels = append(parcels, c.parcel(c.delivery.Partition, c.delivery.ID, c.after))
	}
	for i, m := range c.batch.Messages {
		r := c.record(m)
		due := c.beyond(r)
		if c.foreign(m) {
			switch fresh, err := c.place(ctx, m.Partition, m.ID, r, entry{Foreign: c.foreignKey(i), Due: due}); {
			case err != nil:
				return err
			case !fresh:
				continue
			}
		}
		if due != 0 {
			continue
		}
		parcels = append(parcels, c.parcel(m.Partition, m.ID, r))
	}
	if len(parcels) == 0 {
		return nil
	}
	return c.queue.Send(ctx, parcels)
}

// place writes the message's row into its own partition, with a mark if it is to wait there; it is the entry that says so and no
// clock, so whoever comes second does the same. fresh is false when the id was known there.
func (s *Store) place(ctx context.Context, partition, id string, r record, e entry) (fresh bool, err error) {
	if err := s.enrol(ctx, partition); err != nil {
		return false, err
	}
	r.Partition, r.Message = "", ""
	writes := []work.Write{{Row: messageKey(id), Value: r.encode(), If: work.IfAbsent()}}
	if e.Due != 0 {
		there := []entry{{Message: id, Attempt: r.Attempt, Due: e.Due}}
		writes = append(writes, work.Write{Row: markKey(strings.TrimPrefix(e.Foreign, kindForeign), there), Value: encodeEntries(there)})
	}
	err = s.rows.Transact(ctx, partition, writes)
	if err == nil {
		return true, nil
	}
	if !errors.Is(err, work.ErrConflict) {
		return false, fmt.Errorf("place message %s: %w", id, err)
	}
	row, err := s.rows.Get(ctx, work.Key{Partition: partition, Row: messageKey(id)})
	if errors.Is(err, work.ErrNotFound) {
		return false, nil // known, and erased since
	}
	if err != nil {
		return false, fmt.Errorf("look for message %s: %w", id, err)
	}
	there, err := decodeRecord(row)
	return err == nil && there.Commit == r.Commit && there.Done == 0, err
}

// parcel is the attempt's parcel. Its id is the same whoever sends it.
func (s *Store) parcel(partition, id string, r record) Parcel {
	attempt := strconv.Itoa(r.Attempt)
	sum := sha256.Sum256([]byte(partition + "/" + id + "/" + attempt))
	p := Parcel{
		ID: hex.EncodeToString(sum[:16]), Queue: r.Queue, Body: r.Body,
		Attributes: map[string]string{AttributePartition: partition, AttributeMessage: id, AttributeAttempt: attempt},
	}
	if trace := traceOf(r.Body); trace != "" {
		p.Attributes[AttributeTraceParent] = trace
	}
	if now := s.now(); instant(r.Due).After(now) {
		p.Due = instant(r.Due)
		if s.o.MaxDelay > 0 && p.Due.Sub(now) > s.o.MaxDelay {
			p.Due = now.Add(s.o.MaxDelay)
		}
	}
	return p
}

// traceOf is the trace that the event in the body belongs to; "" for a body that is no event or has none.
func traceOf(body []byte) string {
	var event struct {
		TraceParent string `json:"traceparent"`
	}
	if json.Unmarshal(body, &event) != nil {
		return ""
	}
	return event.TraceParent
}
