package approval

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
	"pinreset/shared/work"
)

// Prefix is the row prefix of approvals; they list newest first. The rows' field "at" says when they were asked for.
const Prefix = "approval|"

// Life is how long an approval is good, from the moment it is asked for until it is used.
const Life = 30 * time.Minute

// Action is what is to be done.
type Action string

// Actions.
const (
	Reset  Action = "reset"  // of one device
	Bulk   Action = "bulk"   // a reset of many devices
	Reveal Action = "reveal" // of the code of a reset, to one person
)

// State is where an approval stands.
type State string

// States. An approval of a reset or of a bulk reset is used by being given; one of a reveal is used by revealing.
const (
	Waiting  State = "waiting"
	Approved State = "approved"
	Used     State = "used"
	Declined State = "declined"
	Expired  State = "expired" // shown only: the time is over, and no row is written for it
)

// Request is what is asked for, to the letter.
type Request struct {
	Action   Action       `json:"action"`
	DeviceID string       `json:"deviceId,omitempty"` // of a reset or a reveal
	ResetID  string       `json:"resetId,omitempty"`  // of a reveal
	Group    string       `json:"group,omitempty"`    // of a bulk reset; "" is all devices of the tenant
	Expected int          `json:"expected,omitempty"` // devices of a bulk reset; 0 is not said
	PlanHash string       `json:"planHash,omitempty"` // of the devices of a bulk reset; "" is not said
	Reason   string       `json:"reason"`
	Ticket   string       `json:"ticket,omitempty"`
	By       events.Actor `json:"by"`
}

// Hash names the request in its tenant.
func (r Request) Hash(tenant string) string {
	r.By.Name = "" // the id says who it is
	text, err := json.Marshal(struct {
		Tenant string
		Request
	}{tenant, r})
	if err != nil {
		panic(err) // strings and a number
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// Approval is a request that waits for a second person, or did.
type Approval struct {
	ID string `json:"id"` // of the reset or bulk reset to come, too
	Request
	Hash       string    `json:"hash"`
	Why        Why       `json:"why"`
	UserID     string    `json:"userId,omitempty"` // whose device it is: the object id of the primary user
	User       string    `json:"user,omitempty"`
	DeviceName string    `json:"deviceName,omitempty"`
	CallerAt   time.Time `json:"callerAt,omitzero"` // when the user's own word for the call was used
	At         time.Time `json:"at"`
	ExpiresAt  time.Time `json:"expiresAt"`

	State     State         `json:"state"` // as it was written; see [Approval.StateAt]
	DecidedBy *events.Actor `json:"decidedBy,omitempty"`
	DecidedAt time.Time     `json:"decidedAt,omitzero"`
	Note      string        `json:"note,omitempty"` // why it was declined
	UsedAt    time.Time     `json:"usedAt,omitzero"`
}

// Why an approval can't be given or used. Nothing is staged with any of them.
var (
	ErrOwn       = errors.New("nobody decides what he asked for himself")
	ErrTarget    = errors.New("nobody decides about his own device")
	ErrOther     = errors.New("the approval is for another request")
	ErrExpired   = errors.New("the approval has expired")
	ErrDecided   = errors.New("it was decided already")
	ErrUsed      = errors.New("the approval was used")
	ErrUndecided = errors.New("nobody has approved it yet")
	ErrDeclined  = errors.New("it was declined")
)

// StateAt is where the approval stands at the time.
func (a Approval) StateAt(now time.Time) State {
	if (a.State == Waiting || a.State == Approved) && !now.Before(a.ExpiresAt) {
		return Expired
	}
	return a.State
}

// IsOf reports whether it is about a device of the user, by object id; "" is no user. Case does not count: a sign-in has object ids
// in lower case, and the device's user is spelt as Intune sent it.
func (a Approval) IsOf(object string) bool {
	return object != "" && strings.EqualFold(a.UserID, object)
}

func row(id string) string { return Prefix + work.Descending(id) }

// Ask stages a request that waits, under the id, with its audit entry. Of a, the request and the target are taken.
func Ask(u *work.Unit, id string, a Approval) (Approval, error) {
	a.ID, a.Hash, a.State, a.At, a.ExpiresAt = id, a.Request.Hash(u.Partition()), Waiting, u.Now(), u.Now().Add(Life)
	return a, errors.Join(u.Create(row(id), a), a.append(u, audit.ApprovalAsked, a.By, a.Reason))
}

func (a Approval) append(u *work.Unit, action string, by events.Actor, reason string) error {
	return audit.Append(u, audit.Entry{
		Actor: by, Action: action, DeviceID: a.DeviceID, RequestID: a.ID, Reason: reason, Ticket: a.Ticket,
		Change: map[string]string{"action": string(a.Action), "why": string(a.Why), "hash": a.Hash},
	})
}

// Read returns an approval of the unit's tenant, or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit, id string) (Approval, error) {
	var a Approval
	err := u.Get(ctx, row(id), &a)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Approval{}, fmt.Errorf("read approval %s: %w", id, err)
	}
	return a, nil
}

// Decision is what a second person says.
type Decision struct {
	Approve bool
	Hash    string // of what the person has seen
	Note    string // why not
	By      events.Actor
	// Object is who decides in the tenant's own directory; "" for somebody from elsewhere.
	Object string
}

// Decide stages a decision with its audit entry. Approving a reset or a bulk reset uses the approval: the caller stages the work on the
// same unit.
func Decide(ctx context.Context, u *work.Unit, id string, d Decision) (Approval, error) {
	a, err := Read(ctx, u, id)
	if err != nil {
		return a, err
	}
	switch {
	case a.By.ID == d.By.ID:
		return a, ErrOwn
	case a.IsOf(d.Object):
		return a, ErrTarget
	case d.Hash != a.Hash || a.Request.Hash(u.Partition()) != a.Hash:
		return a, ErrOther
	case a.State == Used:
		return a, ErrUsed
	case a.State != Waiting:
		return a, ErrDecided
	case a.StateAt(u.Now()) == Expired:
		return a, ErrExpired
	}
	a.DecidedBy, a.DecidedAt, a.Note = &d.By, u.Now(), d.Note
	action := audit.ApprovalGiven
	switch {
	case !d.Approve:
		a.State, action = Declined, audit.ApprovalDeclined
	case a.Action == Reveal:
		a.State = Approved
	default:
		a.State, a.UsedAt = Used, u.Now()
	}
	return a, errors.Join(u.Put(row(id), a), a.append(u, action, d.By, d.Note))
}

// Withdraw stages the end of an action that waits, by somebody who may give such a thing up, with its audit entry.
func Withdraw(ctx context.Context, u *work.Unit, action Action, id, reason string, by events.Actor) (Approval, error) {
	a, err := Read(ctx, u, id)
	switch {
	case err != nil:
		return a, err
	case a.Action != action:
		return a, fmt.Errorf("withdraw %s: %w", id, work.ErrNotFound)
	case a.StateAt(u.Now()) == Expired:
		return a, ErrExpired
	case a.State != Waiting:
		return a, ErrDecided
	}
	return a.end(u, reason, by)
}

// Void stages the end of an approval that could still be given or used, whatever it is of, with its audit entry. One that has ended stays as
// it is, and open is false.
func Void(ctx context.Context, u *work.Unit, id, reason string, by events.Actor) (open bool, err error) {
	a, err := Read(ctx, u, id)
	if state := a.StateAt(u.Now()); err != nil || state != Waiting && state != Approved {
		return false, err
	}
	_, err = a.end(u, reason, by)
	return true, err
}

func (a Approval) end(u *work.Unit, reason string, by events.Actor) (Approval, error) {
	a.State, a.DecidedBy, a.DecidedAt, a.Note = Declined, &by, u.Now(), reason
	return a, errors.Join(u.Put(row(a.ID), a), a.append(u, audit.ApprovalDeclined, by, reason))
}

// Use stages the one use of an approval that was given for exactly this request.
func Use(ctx context.Context, u *work.Unit, id string, want Request) (Approval, error) {
	a, err := Read(ctx, u, id)
	if err != nil {
		return a, err
	}
	switch {
	case want.Hash(u.Partition()) != a.Hash:
		return a, ErrOther
	case a.State == Used:
		return a, ErrUsed
	case a.State == Declined:
		return a, ErrDeclined
	case a.StateAt(u.Now()) == Expired:
		return a, ErrExpired
	case a.State != Approved:
		return a, ErrUndecided
	}
	a.State, a.UsedAt = Used, u.Now()
	return a, u.Put(row(id), a)
}

// List returns a page of a tenant's approvals, newest first.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (all []Approval, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list approvals of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var a Approval
		if err := json.Unmarshal(row.Value, &a); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		all = append(all, a)
	}
	return all, p.Next, nil
}
