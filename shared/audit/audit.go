// Package audit is the log of who did what, when and why.
//
// An entry is a row of the tenant's partition, written in the same commit as the effect it tells of. What must not happen
// without an entry takes a [Receipt], and the only way to get one is to have committed an entry: a code can't be opened
// first and recorded afterwards. Entries are never changed. They hold no secret.
package audit

import (
	"context"
	"fmt"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
)

// Prefix is the row prefix of a tenant's audit entries; they list newest first.
const Prefix = "audit|"

// Actions.
const (
	TenantAdded      = "tenant.added"
	ConsentRequested = "tenant.consent.requested"
	ConsentProven    = "tenant.consent.proven"
	ConsentDeclined  = "tenant.consent.declined" // by whoever followed the link; the actor is who handed it out
	SettingsChanged  = "tenant.settings.changed"
	ResetRequested   = "passcode.reset.requested"
	ResetAdopted     = "passcode.reset.adopted" // somebody else started it in Intune's own portal
	ResetCrossed     = "passcode.reset.crossed" // somebody reset the device in Intune's own portal meanwhile
	ResetIssued      = "passcode.reset.issued"
	ResetFailed      = "passcode.reset.failed"
	ResetCancelled   = "passcode.reset.cancelled"
	PasscodeRevealed = "passcode.revealed"
	PasscodeExpired  = "passcode.expired"
	PasscodeVoided   = "passcode.voided"  // destroyed early: its device changed hands, or somebody had no more need of it
	PasscodeOutcome  = "passcode.outcome" // what somebody said of how the code worked
	BudgetSpent      = "budget.spent"     // somebody asked for more resets, or to see more codes, than one person may
	BulkRequested    = "passcode.bulk.requested"
	BulkCancelled    = "passcode.bulk.cancelled"
	LetterReplayed   = "deadletter.replayed"
	LetterDropped    = "deadletter.dropped"
	TokenCreated     = "token.created"
	TokenRevoked     = "token.revoked"
	TokenNarrowed    = "token.narrowed" // a tenant was taken from those that it reaches
	TenantAudited    = "tenant.audited" // because somebody asked for it
	AuditRunAsked    = "audit.run.requested"
	LogExported      = "audit.exported" // this log, or a part of it, was taken away
	TenantOffboarded = "tenant.offboarded"
	StoreRestored    = "store.restored"

	RolloutRequested  = "policy.rollout.requested"
	RolloutPlaced     = "policy.rollout.placed" // the policy is on and assigned as asked
	RolloutFailed     = "policy.rollout.failed"
	RollbackRequested = "policy.rollback.requested"
	RolloutTakenBack  = "policy.rollout.takenback"
	GrantGiven        = "grant.given"
	GrantRevoked      = "grant.revoked"
	DeviceKeyAdded    = "device.key.added"
	DeviceKeyRevoked  = "device.key.revoked"

	ApprovalAsked        = "approval.requested"
	ApprovalGiven        = "approval.given"
	ApprovalDeclined     = "approval.declined"
	PersonSuspended      = "person.suspended" // asked for more resets and codes than any work explains
	SuspensionLifted     = "person.suspension.lifted"
	CallerAsked          = "caller.requested"
	CallerConfirmed      = "caller.confirmed" // by the user who called
	NotificationsChanged = "tenant.notifications.changed"
)

// Entry is one record of the log.
type Entry struct {
	ID        string            `json:"id"`
	At        time.Time         `json:"at"`
	Actor     events.Actor      `json:"actor"`
	Action    string            `json:"action"`
	DeviceID  string            `json:"deviceId,omitempty"`
	RequestID string            `json:"requestId,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Ticket    string            `json:"ticket,omitempty"`
	Change    map[string]string `json:"change,omitempty"` // what changed, as "old → new" per name
}

// Receipt proves that an entry about one subject is on stable storage.
type Receipt struct{ subject string }

// Subject is what the receipt is about.
func (r Receipt) Subject() string { return r.subject }

// Append stages the entry; it is written when the unit commits. It sets ID and At.
func Append(u *work.Unit, e Entry) error {
	e.ID, e.At = u.NewID(), u.Now()
	return u.Create(Prefix+work.Descending(e.ID), e)
}

// Commit stages the entry, commits the unit, and returns the receipt for the subject (the id of the secret to be opened).
// On an error nothing may be released, whether or not the entry was recorded: the answer to a commit can be lost.
func Commit(ctx context.Context, u *work.Unit, e Entry, subject string) (Receipt, error) {
	if err := Append(u, e); err != nil {
		return Receipt{}, err
	}
	if err := u.Commit(ctx); err != nil {
		return Receipt{}, fmt.Errorf("record %s: %w", e.Action, err)
	}
	return Receipt{subject: subject}, nil
}

// List returns a page of the tenant's log, newest first.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (entries []Entry, next string, err error) {
	return Search(ctx, s, tenant, Filter{}, limit, page)
}
