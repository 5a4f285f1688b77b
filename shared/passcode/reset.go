package passcode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/notice"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// Queue is where reset work waits.
const Queue work.Queue = "passcode-reset"

// State is where a reset stands.
type State string

// States of a reset.
const (
	// Unapproved is shown only: there is no reset yet, and there will be one when a second person has approved it.
	Unapproved State = "unapproved"

	Accepted  State = "accepted"  // stored; not yet looked at
	Calling   State = "calling"   // the call to Graph is about to be made, or was
	Waiting   State = "waiting"   // Intune took it; the device has not carried it out
	Issued    State = "issued"    // a code waits to be revealed
	Removed   State = "removed"   // the passcode was removed; there is no code
	Failed    State = "failed"    // see FailureCode and Diagnostics
	Cancelled State = "cancelled" // given up by an operator
	Expired   State = "expired"   // the code was destroyed
	Observed  State = "observed"  // carried out for somebody in Intune's own portal; its code is there and not here
)

// FromPortal as a reset's Origin: somebody started it in Intune's own portal, and it is only followed here.
const FromPortal = "portal"

// Reset is one request to reset a device's passcode.
type Reset struct {
	ID          string       `json:"id"`
	DeviceID    string       `json:"deviceId"`
	State       State        `json:"state"`
	Reason      string       `json:"reason"`
	Ticket      string       `json:"ticket,omitempty"`
	By          events.Actor `json:"by"`
	RequestedAt time.Time    `json:"requestedAt"`
	Deadline    time.Time    `json:"deadline,omitzero"` // when it stops waiting for the device

	Origin   string    `json:"origin,omitempty"`   // "" for one of our own, or FromPortal
	RecordID string    `json:"recordId,omitempty"` // Intune's audit record of one that was adopted
	Bulk     string    `json:"bulk,omitempty"`     // the bulk reset that it is part of
	Crossed  *Crossed  `json:"crossed,omitempty"`  // somebody else reset the device meanwhile
	EndedAt  time.Time `json:"endedAt,omitzero"`

	// Facts of the device when the reset was called, to tell who it was for and whether it changed hands since.
	DeviceName string    `json:"deviceName,omitempty"`
	Platform   string    `json:"platform,omitempty"`
	OSVersion  string    `json:"osVersion,omitempty"`
	UserID     string    `json:"userId,omitempty"`
	User       string    `json:"user,omitempty"` // user principal name
	Serial     string    `json:"serial,omitempty"`
	EnrolledAt time.Time `json:"enrolledAt,omitzero"`
	LastSync   time.Time `json:"lastSync,omitzero"`

	Effect    string     `json:"effect,omitempty"`    // what the reset does; see Eligibility
	IntentAt  time.Time  `json:"intentAt,omitzero"`   // the intent, by our clock
	CalledAt  time.Time  `json:"calledAt,omitzero"`   // the same by Graph's clock, which also dates results: none from before belongs to it
	Throttled bool       `json:"throttled,omitempty"` // the call was answered 429 or 503: it may or may not have been carried out
	RefusedAt time.Time  `json:"refusedAt,omitzero"`  // when Graph said so, by its own clock; zero where it did not tell
	ResultAt  time.Time  `json:"resultAt,omitzero"`   // when Intune's entry that was taken for this reset began
	CheckID   string     `json:"checkId,omitempty"`   // the one reminder that counts
	Checks    int        `json:"checks,omitempty"`
	NextCheck time.Time  `json:"nextCheck,omitzero"`
	Why       fault.Code `json:"why,omitempty"` // why it waits

	IssuedAt     time.Time        `json:"issuedAt,omitzero"`
	ExpiresAt    time.Time        `json:"expiresAt,omitzero"`
	Code         *secret.Envelope `json:"code,omitempty"`
	SupersededBy string           `json:"supersededBy,omitempty"` // a later reset gave the device another code
	Views        int              `json:"views,omitempty"`
	ViewedAt     time.Time        `json:"viewedAt,omitzero"`
	ViewedBy     string           `json:"viewedBy,omitempty"`
	Outcome      Outcome          `json:"outcome,omitempty"`

	Approved *Approved `json:"approved,omitempty"` // by a second person; nil where none was asked
	CallerAt time.Time `json:"callerAt,omitzero"`  // when the user's word for the call was used; zero where none was asked

	FailureCode fault.Code `json:"failureCode,omitempty"`
	FailedIn    State      `json:"failedIn,omitempty"` // the state it was in before it failed
	Diagnostics string     `json:"diagnostics,omitempty"`
}

// Approved is what a second person approved.
type Approved struct {
	ID     string       `json:"id"` // of the approval
	By     events.Actor `json:"by"`
	At     time.Time    `json:"at"`
	UserID string       `json:"userId,omitempty"` // for whom; "" for a bulk reset or a device of nobody
}

// Outcome is what somebody who saw the code said of how it worked; "" while nobody did.
type Outcome string

// Outcomes.
const (
	Worked    Outcome = "worked"
	DidNotFit Outcome = "failed"
)

// Crossed is a reset that somebody started in Intune's own portal while this one had not ended. Intune's results carry no id:
// of the two codes only the later one works, and whose it is can't be told.
type Crossed struct {
	RecordID string    `json:"recordId"` // Intune's audit record
	By       string    `json:"by,omitempty"`
	At       time.Time `json:"at"`
}

// Queue is where the reset's messages wait: people's work and bulk work apart.
func (r Reset) Queue() work.Queue {
	if r.Bulk != "" {
		return Queue.Bulk()
	}
	return Queue
}

// Open reports whether the reset has not ended.
func (r Reset) Open() bool { return slices.Contains(OpenStates(), r.State) }

// OpenStates are those of a reset that has not ended.
func OpenStates() []State { return []State{Accepted, Calling, Waiting} }

// Readable reports whether there is a code that can be revealed at the time.
func (r Reset) Readable(now time.Time) bool {
	return r.State == Issued && r.Code != nil && now.Before(r.ExpiresAt)
}

// Device is what pinreset keeps of a device.
type Device struct {
	ID      string   `json:"id"`
	Pending string   `json:"pending,omitempty"` // the reset that has not ended
	Current string   `json:"current,omitempty"` // the reset whose code is the device's latest
	Resets  []string `json:"resets,omitempty"`  // newest first, at most keptResets
	// LastResult is when the latest result began that was taken for a reset of this device, or that a reset which ended
	// without one may still leave: no result that began then or earlier belongs to another reset. Intune's results carry no id.
	LastResult time.Time `json:"lastResult,omitzero"`
}

// StartSkew is how far the beginning of a result may be from the time of its call.
const StartSkew = 5 * time.Second

// ClearAt is from when on a call's result can be told from those of earlier resets of the device.
func (d Device) ClearAt() time.Time {
	if d.LastResult.IsZero() {
		return time.Time{}
	}
	return d.LastResult.Add(StartSkew + time.Second)
}

const (
	// ResetPrefix is the row prefix of resets; they list newest first.
	ResetPrefix  = "reset|"
	devicePrefix = "device|"
	keptResets   = 50
)

// ResetRow is the row of a reset.
func ResetRow(id string) string { return ResetPrefix + work.Descending(id) }

func deviceRow(id string) string { return devicePrefix + strings.ToLower(id) }

// Read returns a reset of the unit's tenant, or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit, id string) (Reset, error) {
	var r Reset
	err := u.Get(ctx, ResetRow(id), &r)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	return r, err
}

// Write stages the reset, and with it what its bulk reset knows of it.
func Write(u *work.Unit, r Reset) error {
	if r.Bulk != "" {
		if err := u.Put(itemRow(r.Bulk, r.DeviceID), itemOf(r)); err != nil {
			return err
		}
	}
	return u.Put(ResetRow(r.ID), r)
}

// ReadDevice returns what is kept of a device; for one that is new, that is its id.
func ReadDevice(ctx context.Context, u *work.Unit, id string) (Device, error) {
	d := Device{ID: strings.ToLower(id)}
	err := u.Get(ctx, deviceRow(id), &d)
	if errors.Is(err, work.ErrNotFound) {
		return Device{ID: strings.ToLower(id)}, nil
	}
	return d, err
}

func writeDevice(u *work.Unit, d Device) error { return u.Put(deviceRow(d.ID), d) }

// List returns a page of a tenant's resets, newest first: all, or those in one of the states. A page of rows may hold few of those, or none,
// and still have a next one.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string, states ...State) (resets []Reset, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: ResetPrefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list resets of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		if !mayBeIn(row.Value, states) {
			continue
		}
		var r Reset
		if err := json.Unmarshal(row.Value, &r); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		if len(states) == 0 || slices.Contains(states, r.State) {
			resets = append(resets, r)
		}
	}
	return resets, p.Next, nil
}

// mayBeIn reports whether a row can be a reset in one of the states. Nearly every row has ended, and to decode it only to see that is most of
// what a list costs. In what somebody typed the quotes are escaped, so only a field can look like the state.
func mayBeIn(value []byte, states []State) bool {
	return len(states) == 0 || slices.ContainsFunc(states, func(s State) bool { return bytes.Contains(value, []byte(`"state":"`+string(s)+`"`)) })
}

// Accept stages a new reset, its audit entry and its first message; the request is accepted once the unit commits. While
// the device has a reset that has not ended, it stages nothing and returns that one, with existing true.
func Accept(ctx context.Context, u *work.Unit, want events.PasscodeResetRequested) (r Reset, existing bool, err error) {
	r, existing, err = Record(ctx, u, want)
	if err != nil || existing {
		return r, existing, err
	}
	want.RequestID, want.DeviceID = r.ID, r.DeviceID
	_, err = u.Send(ctx, r.Queue(), time.Time{}, want)
	return r, false, err
}

// Record is Accept without the message: for a request that arrived as one.
func Record(ctx context.Context, u *work.Unit, want events.PasscodeResetRequested) (r Reset, existing bool, err error) {
	return begin(ctx, u, Reset{
		ID: want.RequestID, DeviceID: want.DeviceID, State: Accepted, Reason: want.Reason, Ticket: want.Ticket, By: want.By,
		RequestedAt: u.Now(),
	}, audit.ResetRequested)
}

// begin stages a reset of a device that has no other one, its audit entry, and what is told of it.
func begin(ctx context.Context, u *work.Unit, r Reset, action string) (_ Reset, existing bool, err error) {
	d, err := ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return r, false, err
	}
	if d.Pending != "" {
		r, err = Read(ctx, u, d.Pending)
		return r, true, err
	}
	r.DeviceID = d.ID
	d.Pending = r.ID
	d.Resets = slices.Insert(d.Resets, 0, r.ID)
	d.Resets = d.Resets[:min(len(d.Resets), keptResets)]
	if err := u.Create(ResetRow(r.ID), r); err != nil {
		return r, false, err
	}
	return r, false, errors.Join(
		Write(u, r),
		writeDevice(u, d),
		notice.Tell(ctx, u, notice.Notice{What: events.NoticeResetStarted, ResetID: r.ID, DeviceID: r.DeviceID, By: r.By}),
		audit.Append(u, audit.Entry{
			Actor: r.By, Action: action, DeviceID: r.DeviceID, RequestID: r.ID, Reason: r.Reason, Ticket: r.Ticket,
		}))
}

// End stages a reset that has ended, and what is told of it: its device is free for another one, and an earlier code of the device is superseded
// when there is a new one. Its result is remembered as taken; where it had been called and no result was taken, so is one
// that began within skew of the call, since it may still appear.
func End(ctx context.Context, u *work.Unit, r Reset, state State) (Reset, error) {
	d, err := ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return r, err
	}
	taken := r.ResultAt
	if taken.IsZero() && !r.CalledAt.IsZero() {
		taken = r.CalledAt.Add(StartSkew)
	}
	if taken.After(d.LastResult) {
		d.LastResult = taken
	}
	if d.Pending == r.ID {
		d.Pending = ""
	}
	if state == Issued || state == Removed || state == Observed {
		if err := supersede(ctx, u, d.Current, r.ID); err != nil {
			return r, err
		}
		d.Current = r.ID
	}
	r.State, r.EndedAt, r.Why, r.NextCheck, r.CheckID = state, u.Now(), "", time.Time{}, ""
	return r, errors.Join(Write(u, r), writeDevice(u, d), notice.Tell(ctx, u, notice.Notice{
		What: events.NoticeResetEnded, ResetID: r.ID, DeviceID: r.DeviceID, Outcome: notice.EndedAs(string(state)), By: r.By,
	}))
}

// Reopen stages a reset that had ended and goes on, where its device has no other one meanwhile; else it is ErrEnded.
func Reopen(ctx context.Context, u *work.Unit, r Reset) (Reset, error) {
	d, err := ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return r, err
	}
	if d.Pending != "" && d.Pending != r.ID {
		return r, fault.Permanent(fault.StateConflict, fmt.Errorf("reopen %s while %s is pending: %w", r.ID, d.Pending, ErrEnded))
	}
	d.Pending = r.ID
	return r, errors.Join(Write(u, r), writeDevice(u, d))
}

// supersede notes on an earlier reset that its code is not the device's latest any more. The code stays readable until its
// own expiry: somebody may still be asked which one was right.
func supersede(ctx context.Context, u *work.Unit, earlier, by string) error {
	if earlier == "" || earlier == by {
		return nil
	}
	r, err := Read(ctx, u, earlier)
	if errors.Is(err, work.ErrNotFound) {
		return nil // purged
	}
	if err != nil {
		return err
	}
	r.SupersededBy = by
	return Write(u, r)
}

// Forget stages the removal of a reset that has ended, and of what the device's row says of it. A device of which nothing
// is left to say is forgotten too: a result that is as old as its last reset is older than any call to come.
func Forget(ctx context.Context, u *work.Unit, r Reset) error {
	d, err := ReadDevice(ctx, u, r.DeviceID)
	if err != nil {
		return err
	}
	u.Delete(ResetRow(r.ID))
	if d.Current != r.ID && !slices.Contains(d.Resets, r.ID) {
		return nil
	}
	d.Resets = slices.DeleteFunc(d.Resets, func(id string) bool { return id == r.ID })
	if d.Current == r.ID {
		d.Current = ""
	}
	if d.Pending == "" && d.Current == "" && len(d.Resets) == 0 {
		u.Delete(deviceRow(d.ID))
		return nil
	}
	return writeDevice(u, d)
}

// ErrEnded: the reset has ended, so it can't be cancelled.
var ErrEnded = errors.New("reset has ended")

// Cancel stages the end of a pending reset, or returns ErrEnded. The device may still carry the action out, since Intune
// takes nothing back; no code of it will be shown.
func Cancel(ctx context.Context, u *work.Unit, id, reason string, by events.Actor) (Reset, error) {
	r, err := Read(ctx, u, id)
	if err != nil {
		return r, err
	}
	if !r.Open() {
		return r, fmt.Errorf("cancel %s in state %s: %w", id, r.State, ErrEnded)
	}
	if r, err = End(ctx, u, r, Cancelled); err != nil {
		return r, err
	}
	_, err = u.Send(ctx, work.Announcements, time.Time{}, events.PasscodeResetCancelled{RequestID: r.ID, DeviceID: r.DeviceID, Reason: reason, By: by})
	return r, errors.Join(err, audit.Append(u, audit.Entry{
		Actor: by, Action: audit.ResetCancelled, DeviceID: r.DeviceID, RequestID: r.ID, Reason: reason,
	}))
}
