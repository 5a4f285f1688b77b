package portal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// Queue is where records wait. What brings them is a machine, so it is its bulk side that is used.
const Queue work.Queue = "portalaction"

// Prefix is the row prefix of records.
const Prefix = "portal|"

const (
	countRow = "portalcount"
	markRow  = "portalmark"
	maxRaw   = 8 << 10 // of a kept record, in bytes
)

// Decision is what was made of a record.
type Decision string

// Decisions.
const (
	Adopted   Decision = "adopted"   // a reset is followed
	Crossed   Decision = "crossed"   // noted on a reset that had not ended
	Own       Decision = "own"       // the record of what pinreset did itself
	Audited   Decision = "audited"   // the tenant's audit was asked for
	Refused   Decision = "refused"   // Intune had refused it: nothing happened
	TooOld    Decision = "too_old"   // a reset whose code has expired
	Gone      Decision = "gone"      // a reset of a device that is not there any more, or changed hands since
	Elsewhere Decision = "elsewhere" // the record says that it is of another tenant
	Ignored   Decision = "ignored"   // of no interest, or not understood
)

// Decisions returns all of them.
func Decisions() []Decision {
	return []Decision{Adopted, Crossed, Own, Audited, Refused, TooOld, Gone, Elsewhere, Ignored}
}

// Kept is a record as it is kept.
type Kept struct {
	ID       string          `json:"id"`
	At       time.Time       `json:"at"`              // when it came
	DoneAt   time.Time       `json:"doneAt,omitzero"` // by Intune's clock
	Kind     Kind            `json:"kind"`
	Activity string          `json:"activity,omitempty"`
	By       string          `json:"by,omitempty"`
	DeviceID string          `json:"deviceId,omitempty"`
	Decision Decision        `json:"decision"`
	ResetID  string          `json:"resetId,omitempty"`
	Raw      json.RawMessage `json:"raw,omitempty"` // as it came; left out where it is larger than 8 KiB
}

// Seen reports whether the record is kept already.
func Seen(ctx context.Context, u *work.Unit, r Record) (bool, error) {
	var k Kept
	err := u.Get(ctx, Prefix+r.ID, &k)
	if errors.Is(err, work.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Keep stages the record with what was made of it, and counts it. The record must have been found unseen in the same unit.
func Keep(ctx context.Context, u *work.Unit, r Record, d Decision, reset string) error {
	k := Kept{
		ID: r.ID, At: u.Now(), DoneAt: r.At, Kind: r.Kind(), Activity: printable(r.Activity, 200), By: r.Actor.Name(), DeviceID: r.Device(),
		Decision: d, ResetID: reset,
	}
	if len(r.Raw) <= maxRaw && json.Valid(r.Raw) {
		k.Raw = r.Raw
	}
	counts, err := Counts(ctx, u)
	if err != nil {
		return err
	}
	counts[d]++
	return errors.Join(u.Put(Prefix+r.ID, k), u.Put(countRow, counts))
}

// Counts returns how many records of the unit's tenant were made what of.
func Counts(ctx context.Context, u *work.Unit) (map[Decision]int, error) {
	counts := map[Decision]int{}
	if err := u.Get(ctx, countRow, &counts); err != nil && !errors.Is(err, work.ErrNotFound) {
		return nil, err
	}
	return counts, nil
}

// List returns a page of the tenant's records, by id.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (kept []Kept, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list portal records of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var k Kept
		if err := json.Unmarshal(row.Value, &k); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		kept = append(kept, k)
	}
	return kept, p.Next, nil
}

// Mark is how far the tenant's audit log was read, and when the tenant's audit was last asked for because of it.
type Mark struct {
	Through time.Time `json:"through,omitzero"` // the latest record that was read, by Intune's clock
	Audit   time.Time `json:"audit,omitzero"`   // when the audit that was asked for is due
}

// ReadMark returns the mark of the unit's tenant.
func ReadMark(ctx context.Context, u *work.Unit) (Mark, error) {
	var m Mark
	if err := u.Get(ctx, markRow, &m); err != nil && !errors.Is(err, work.ErrNotFound) {
		return m, err
	}
	return m, nil
}

// WriteMark stages the mark.
func WriteMark(u *work.Unit, m Mark) error { return u.Put(markRow, m) }
