package passcode

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// BulkQueue is where bulk resets themselves wait, on its bulk side; the resets that they begin wait on [Queue]'s.
const BulkQueue work.Queue = "bulkreset"

// MaxBulk is the most devices that one bulk reset may hold.
const MaxBulk = 20_000

// BulkState is where a bulk reset stands.
type BulkState string

// States of a bulk reset. The last four are its end.
const (
	// BulkUnapproved is shown only: there is no bulk reset yet, and there will be one when a second person has approved it.
	BulkUnapproved BulkState = "unapproved"

	BulkFinding   BulkState = "finding"   // its devices are being read from Graph
	BulkRunning   BulkState = "running"   // its resets are being begun and followed
	BulkPlanned   BulkState = "planned"   // the devices are counted, which was all that was asked for
	BulkDone      BulkState = "done"      // every device has ended
	BulkCancelled BulkState = "cancelled" // no further device is begun; those called already are still followed
	BulkFailed    BulkState = "failed"    // see FailureCode; no further device is begun
)

// Bulk is a reset of many devices of one tenant.
type Bulk struct {
	ID      string       `json:"id"`
	State   BulkState    `json:"state"`
	Group   string       `json:"group,omitempty"` // whose members' devices; "" is all devices of the tenant
	Plan    bool         `json:"plan,omitempty"`  // only find and count
	Count   int          `json:"count,omitempty"` // devices that whoever asked expects; 0 is not said
	Hash    string       `json:"hash,omitempty"`  // of the devices that whoever asked has seen; "" is not said
	Reason  string       `json:"reason"`
	Ticket  string       `json:"ticket,omitempty"`
	By      events.Actor `json:"by"`
	AskedAt time.Time    `json:"askedAt"`

	DueID      string    `json:"dueId,omitempty"`      // the one reminder that counts
	FailedIn   BulkState `json:"failedIn,omitempty"`   // the state it was in before it failed
	Place      string    `json:"place,omitempty"`      // finding: Graph's place in the list. running: the same in the list of its items
	Begun      int       `json:"begun,omitempty"`      // devices whose turn has come
	BegunAll   bool      `json:"begunAll,omitempty"`   // no device is left to begin
	Ineligible int       `json:"ineligible,omitempty"` // devices found that have no passcode reset
	Found      string    `json:"found,omitempty"`      // hash of the devices that were found
	Tally      BulkTally `json:"tally"`
	TalliedAt  time.Time `json:"talliedAt,omitzero"`
	StartedAt  time.Time `json:"startedAt,omitzero"` // running since
	CalledBy   time.Time `json:"calledBy,omitzero"`  // when the last device will have been called, as far as Graph's limits alone decide
	EndedAt    time.Time `json:"endedAt,omitzero"`

	Approved *Approved `json:"approved,omitempty"` // by a second person, for all its devices

	FailureCode fault.Code `json:"failureCode,omitempty"`
	Diagnostics string     `json:"diagnostics,omitempty"`
}

// BulkTally counts a bulk reset's devices by what has become of them. Total is their sum, but for Ineligible.
type BulkTally struct {
	Total      int `json:"total" doc:"Devices to reset"`
	Ineligible int `json:"ineligible" doc:"Devices found that have no passcode reset; nothing is sent for them"`
	Planned    int `json:"planned" doc:"Found; its turn has not come"`
	Queued     int `json:"queued" doc:"Its turn has come; not called yet"`
	Throttled  int `json:"throttled" doc:"Not called yet because Graph's limits are used up"`
	Waiting    int `json:"waiting" doc:"Called; the device has not answered"`
	Done       int `json:"done" doc:"Carried out"`
	Failed     int `json:"failed"`
	Skipped    int `json:"skipped" doc:"Had a reset that had not ended: that one goes on, and none was added"`
	Cancelled  int `json:"cancelled"`
}

// Ended is how many devices have come to their end.
func (t BulkTally) Ended() int { return t.Done + t.Failed + t.Skipped + t.Cancelled }

// Uncalled is how many devices are still to be called.
func (t BulkTally) Uncalled() int { return t.Planned + t.Queued + t.Throttled }

// Open reports whether the bulk reset has more to do.
func (b Bulk) Open() bool { return b.State == BulkFinding || b.State == BulkRunning }

// ItemState is what has become of one device of a bulk reset.
type ItemState string

// States of an item.
const (
	ItemIneligible ItemState = "ineligible" // nothing is sent; Code says why
	ItemPlanned    ItemState = "planned"    // its turn has not come
	ItemQueued     ItemState = "queued"     // accepted, not called
	ItemThrottled  ItemState = "throttled"  // the same, because Graph's limits are used up
	ItemWaiting    ItemState = "waiting"    // called
	ItemDone       ItemState = "done"
	ItemFailed     ItemState = "failed"
	ItemSkipped    ItemState = "skipped" // the device had a reset, ResetID, that had not ended
	ItemCancelled  ItemState = "cancelled"
)

// Item is one device of a bulk reset.
type Item struct {
	At          time.Time  `json:"at" doc:"When it was found, or its turn came"`
	DeviceID    string     `json:"deviceId"`
	DeviceName  string     `json:"deviceName,omitempty"`
	User        string     `json:"user,omitempty"`
	State       ItemState  `json:"state" enum:"ineligible,planned,queued,throttled,waiting,done,failed,skipped,cancelled"`
	ResetID     string     `json:"resetId,omitempty"`
	Outcome     State      `json:"outcome,omitempty" doc:"The state of its reset"`
	Code        fault.Code `json:"code,omitempty" doc:"Why not"`
	Diagnostics string     `json:"diagnostics,omitempty" doc:"Path of the page of the failure"`
	EndedAt     time.Time  `json:"endedAt,omitzero"`
}

// BulkPrefix is the row prefix of bulk resets; they list newest first. Row prefix of their devices is BulkItemPrefix.
const (
	BulkPrefix     = "bulk|"
	BulkItemPrefix = "bulkitem|"
)

func bulkRow(id string) string { return BulkPrefix + work.Descending(id) }

func itemRow(bulk, device string) string {
	return BulkItemPrefix + bulk + "|" + strings.ToLower(device)
}

// itemOf is what a bulk reset shows of one of its resets: no more than the reset itself says, so that it is written without
// being read.
func itemOf(r Reset) Item {
	i := Item{At: r.RequestedAt, DeviceID: r.DeviceID, DeviceName: r.DeviceName, User: r.User, ResetID: r.ID, Outcome: r.State, Code: r.FailureCode, Diagnostics: r.Diagnostics, EndedAt: r.EndedAt}
	switch r.State {
	case Accepted:
		i.State = ItemQueued
		if r.Why == fault.GraphThrottled || r.Why == fault.WaitingForPermit {
			i.State = ItemThrottled
		}
	case Calling, Waiting:
		i.State = ItemWaiting
	case Failed:
		i.State = ItemFailed
	case Cancelled:
		i.State = ItemCancelled
	default:
		i.State = ItemDone
	}
	return i
}

// AcceptBulk stages a bulk reset, its audit entry and its first message. One without an id gets one.
func AcceptBulk(ctx context.Context, u *work.Unit, b Bulk) (Bulk, error) {
	if b.ID == "" {
		b.ID = u.NewID()
	}
	b.State, b.AskedAt = BulkFinding, u.Now()
	var err error
	if b.DueID, err = u.Send(ctx, BulkQueue.Bulk(), time.Time{}, events.BulkResetDue{RequestID: b.ID}); err != nil {
		return b, err
	}
	what := map[string]string{"devices": "all"}
	if b.Group != "" {
		what["devices"] = "group " + b.Group
	}
	if b.Plan {
		what["plan"] = "only"
	}
	return b, errors.Join(u.Create(bulkRow(b.ID), b), audit.Append(u, audit.Entry{
		Actor: b.By, Action: audit.BulkRequested, RequestID: b.ID, Reason: b.Reason, Ticket: b.Ticket, Change: what,
	}))
}

// ReadBulk returns a bulk reset of the unit's tenant, or work.ErrNotFound.
func ReadBulk(ctx context.Context, u *work.Unit, id string) (Bulk, error) {
	var b Bulk
	err := u.Get(ctx, bulkRow(id), &b)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	return b, err
}

// WriteBulk stages the bulk reset.
func WriteBulk(u *work.Unit, b Bulk) error { return u.Put(bulkRow(b.ID), b) }

// ListBulks returns a page of a tenant's bulk resets, newest first.
func ListBulks(ctx context.Context, s work.Store, tenant string, limit int, page string) (bulks []Bulk, next string, err error) {
	return listed[Bulk](ctx, s, tenant, BulkPrefix, limit, page)
}

// Items returns a page of a bulk reset's devices, by id.
func Items(ctx context.Context, s work.Store, tenant, bulk string, limit int, page string) (items []Item, next string, err error) {
	return listed[Item](ctx, s, tenant, BulkItemPrefix+bulk+"|", limit, page)
}

func listed[T any](ctx context.Context, s work.Store, tenant, prefix string, limit int, page string) (all []T, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list %s of %s: %w", prefix, tenant, err)
	}
	for _, row := range p.Rows {
		var v T
		if err := json.Unmarshal(row.Value, &v); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		all = append(all, v)
	}
	return all, p.Next, nil
}

// WriteItem stages a device that was found, over whatever an earlier attempt to find it left: none is begun before all are found.
func WriteItem(u *work.Unit, bulk string, i Item) error { return u.Put(itemRow(bulk, i.DeviceID), i) }

// Begin stages the reset of one device of a bulk reset and its first message, in at most [BeginOperations] operations of the
// commit, and reports whether the device's turn came now. A device that has a reset which has not ended is skipped, and one
// whose turn has come already is left as it is.
func Begin(ctx context.Context, u *work.Unit, b Bulk, device string) (begun bool, err error) {
	var i Item
	if err := u.Get(ctx, itemRow(b.ID, device), &i); err != nil || i.State != ItemPlanned {
		return false, err
	}
	want := events.PasscodeResetRequested{RequestID: u.NewID(), DeviceID: i.DeviceID, Reason: b.Reason, Ticket: b.Ticket, By: b.By}
	r, existing, err := begin(ctx, u, Reset{
		ID: want.RequestID, DeviceID: i.DeviceID, DeviceName: i.DeviceName, User: i.User, State: Accepted, Reason: b.Reason, Ticket: b.Ticket, By: b.By,
		RequestedAt: u.Now(), Bulk: b.ID, Approved: b.Approved,
	}, audit.ResetRequested)
	if err != nil {
		return false, err
	}
	if existing {
		i.State, i.ResetID = ItemSkipped, r.ID
		return true, u.Put(itemRow(b.ID, device), i)
	}
	_, err = u.Send(ctx, r.Queue(), time.Time{}, want)
	return true, err
}

// BeginOperations is how many operations of a commit [Begin] stages at most.
const BeginOperations = 6

// Count reads all devices of a bulk reset and returns the tally of them, and the hash of those that can be reset.
func Count(ctx context.Context, s work.Store, tenant string, b Bulk) (BulkTally, string, error) {
	t := BulkTally{Ineligible: b.Ineligible}
	sum := sha256.New()
	for page := ""; ; {
		items, next, err := Items(ctx, s, tenant, b.ID, 1000, page)
		if err != nil {
			return t, "", err
		}
		for _, i := range items {
			if i.State == ItemIneligible {
				continue
			}
			t.Total++
			fmt.Fprintln(sum, i.DeviceID)
			*t.of(i.StateIn(b))++
		}
		if next == "" {
			break
		}
		page = next
	}
	return t, base64.RawURLEncoding.EncodeToString(sum.Sum(nil)[:16]), nil
}

// StateIn is the item's state in its bulk reset: where that has been given up, the turn of those that waited for it never comes.
func (i Item) StateIn(b Bulk) ItemState {
	if i.State == ItemPlanned && (b.State == BulkCancelled || b.State == BulkFailed) {
		return ItemCancelled
	}
	return i.State
}

func (t *BulkTally) of(s ItemState) *int {
	switch s {
	case ItemPlanned:
		return &t.Planned
	case ItemThrottled:
		return &t.Throttled
	case ItemWaiting:
		return &t.Waiting
	case ItemDone:
		return &t.Done
	case ItemFailed:
		return &t.Failed
	case ItemSkipped:
		return &t.Skipped
	case ItemCancelled:
		return &t.Cancelled
	default:
		return &t.Queued
	}
}

// CancelBulk stages the end of a bulk reset, or returns ErrEnded. No further device is begun or called; those that Intune has
// been told of are still followed.
func CancelBulk(ctx context.Context, u *work.Unit, id, reason string, by events.Actor) (Bulk, error) {
	b, err := ReadBulk(ctx, u, id)
	if err != nil {
		return b, err
	}
	if !b.Open() {
		return b, fmt.Errorf("cancel bulk reset %s in state %s: %w", id, b.State, ErrEnded)
	}
	b.State, b.EndedAt = BulkCancelled, u.Now()
	if b.DueID, err = u.Send(ctx, BulkQueue.Bulk(), time.Time{}, events.BulkResetDue{RequestID: b.ID}); err != nil {
		return b, err
	}
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.BulkResetEnded{RequestID: b.ID, Outcome: events.BulkCancelled})
	return b, errors.Join(err, WriteBulk(u, b), audit.Append(u, audit.Entry{Actor: by, Action: audit.BulkCancelled, RequestID: b.ID, Reason: reason}))
}
