// Package callercheck makes sure that whoever calls the help desk is the user of the device.
//
// The operator reads out a code of six digits; the caller signs in as the device's user, with Microsoft Entra ID, and types it. The code
// proves nothing alone: the sign-in says who it is, and the code says which call. A check is of one user, one device or one reset, and
// one operator; the code is good for [Life] and for [MaxTries] attempts of that user, and once it was typed the operator may act for
// [Life].
//
// A check is a row of the tenant's partition. The code is not in it: it follows from the row's id and a key of the server.
//
// It decides nothing about whether a check is needed: the tenant's settings do, and the callers ask them.
package callercheck

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/work"
)

// Prefix is the row prefix of checks. The rows' field "expiresAt" says from when on they may be deleted.
const Prefix = "caller|"

const (
	// Life is how long a code can be typed, and how long after that the operator may act.
	Life = 10 * time.Minute
	// MaxTries is how often the user may type a wrong code before the operator needs a new one.
	MaxTries = 5
	// maxOpen bounds the checks that are read of one user.
	maxOpen = 200
)

// Action is what the check is for.
type Action string

// Actions.
const (
	Reset  Action = "reset"  // of a device's passcode
	Reveal Action = "reveal" // of the code of a reset
)

// Subject is what a check is about.
type Subject struct {
	Action   Action `json:"action"`
	Of       string `json:"of"`       // id of the device or of the reset
	UserID   string `json:"userId"`   // the device's primary user, who calls
	Operator string `json:"operator"` // who is called, as an actor's id
}

func (s Subject) row() string {
	return ofUser(s.UserID) + string(s.Action) + "|" + s.Of + "|" + s.Operator
}

func ofUser(id string) string { return Prefix + strings.ToLower(id) + "|" }

// Check is one call.
type Check struct {
	ID string `json:"id"`
	Subject
	DeviceID    string       `json:"deviceId"`
	By          events.Actor `json:"by"`
	At          time.Time    `json:"at"`
	ExpiresAt   time.Time    `json:"expiresAt"`
	Tries       int          `json:"tries,omitempty"` // wrong ones
	ConfirmedAt time.Time    `json:"confirmedAt,omitzero"`
	UsedAt      time.Time    `json:"usedAt,omitzero"`
}

// State is where a check stands.
type State string

// States.
const (
	None      State = "none" // nobody asked, or it is over
	Waiting   State = "waiting"
	Confirmed State = "confirmed"
	Locked    State = "locked" // too many wrong codes
)

// StateAt is where the check stands at the time.
func (c Check) StateAt(now time.Time) State {
	switch {
	case c.ID == "" || !now.Before(c.ExpiresAt) || !c.UsedAt.IsZero():
		return None
	case !c.ConfirmedAt.IsZero():
		return Confirmed
	case c.Tries >= MaxTries:
		return Locked
	}
	return Waiting
}

// ErrUnconfirmed: the caller has not confirmed, or too long ago.
var ErrUnconfirmed = errors.New("the caller has not confirmed")

// Code is the code of a check, six digits.
func Code(key []byte, id string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(id))
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(h.Sum(nil))%1_000_000)
}

// Read returns the check of the subject; one that was never asked for is None.
func Read(ctx context.Context, u *work.Unit, s Subject) (Check, error) {
	var c Check
	err := u.Get(ctx, s.row(), &c)
	if errors.Is(err, work.ErrNotFound) {
		return Check{}, nil
	}
	if err != nil {
		return Check{}, fmt.Errorf("read caller check: %w", err)
	}
	return c, nil
}

// Ask stages a new check in place of the subject's earlier one, with its audit entry.
func Ask(ctx context.Context, u *work.Unit, s Subject, device string, by events.Actor) (Check, error) {
	if _, err := Read(ctx, u, s); err != nil {
		return Check{}, err
	}
	c := Check{ID: u.NewID(), Subject: s, DeviceID: device, By: by, At: u.Now(), ExpiresAt: u.Now().Add(Life)}
	return c, errors.Join(u.Put(s.row(), c), c.append(u, audit.CallerAsked, by))
}

func (c Check) append(u *work.Unit, action string, by events.Actor) error {
	return audit.Append(u, audit.Entry{
		Actor: by, Action: action, DeviceID: c.DeviceID, RequestID: c.ID, Change: map[string]string{"action": string(c.Action), "operator": c.By.ID, "user": c.UserID},
	})
}

// Confirm stages what follows from a code that the user typed: the check that it belongs to is confirmed, with an audit entry, or it is a
// wrong one of each that waits. Either is to be committed.
func Confirm(ctx context.Context, u *work.Unit, key []byte, userID, code string, by events.Actor) (confirmed bool, err error) {
	p, err := u.List(ctx, ofUser(userID), maxOpen, "")
	if err != nil {
		return false, fmt.Errorf("list caller checks: %w", err)
	}
	var waiting []Check
	for _, row := range p.Rows {
		var c Check
		if err := json.Unmarshal(row.Value, &c); err != nil {
			return false, fmt.Errorf("decode caller check: %w", err)
		}
		// Read again for its version: of two attempts at once each counts.
		if c, err = Read(ctx, u, c.Subject); err != nil {
			return false, err
		}
		if c.StateAt(u.Now()) != Waiting {
			continue
		}
		if subtle.ConstantTimeCompare([]byte(Code(key, c.ID)), []byte(code)) == 1 {
			c.ConfirmedAt, c.ExpiresAt = u.Now(), u.Now().Add(Life)
			return true, errors.Join(u.Put(c.row(), c), c.append(u, audit.CallerConfirmed, by))
		}
		waiting = append(waiting, c)
	}
	for _, c := range waiting {
		c.Tries++
		if err := u.Put(c.row(), c); err != nil {
			return false, err
		}
	}
	return false, nil
}

// Use requires that the subject's caller has confirmed. A reset uses the check up; a code may be seen again while it lasts.
func Use(ctx context.Context, u *work.Unit, s Subject) error {
	c, err := Read(ctx, u, s)
	if err != nil {
		return err
	}
	if c.StateAt(u.Now()) != Confirmed {
		return ErrUnconfirmed
	}
	if s.Action == Reset {
		c.UsedAt = u.Now()
	}
	return u.Put(s.row(), c)
}
