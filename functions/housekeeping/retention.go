package housekeeping

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"pinreset/shared/approval"
	"pinreset/shared/audit"
	"pinreset/shared/budget"
	"pinreset/shared/callercheck"
	"pinreset/shared/devicekey"
	"pinreset/shared/devicereport"
	"pinreset/shared/diag"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/readiness"
	"pinreset/shared/subscription"
	"pinreset/shared/survey"
	"pinreset/shared/suspension"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Keep says for how long history is kept. Rows that say themselves until when they are needed (idempotency keys, used consent
// states) go at that time. What is open stays, and with a code that has not been destroyed its whole history stays.
type Keep struct {
	Audit   time.Duration // the log of who did what, and tokens that have ended
	History time.Duration // resets that have ended with the attempts made for them, failures and their pages, dead letters
	Feed    time.Duration // announced events
}

const day = 24 * time.Hour

// DefaultKeep is a year and a month for the audit log, and a quarter of a year for the rest.
var DefaultKeep = Keep{Audit: 400 * day, History: 90 * day, Feed: 90 * day}

// Row prefixes that belong to the web or to another function. All these rows have a field "expiresAt".
const (
	oncePrefix  = "idem|"  // answers that were given under an idempotency key
	statePrefix = "state|" // consent states that were used

	webhookPrefix = "webhook|" // ids of webhooks that were taken
	seenPrefix    = "pinseen|" // PIN resets that were announced
)

// Whether a device is still there is not asked of Graph, so that a tenant that can't be read loses nothing: it may report for as
// long as it has a valid key. Its facts are the exception. After Keep.Audit they tell of a device that was, valid key or not, and
// readiness without them is unknown.

// stamps are the times that rows carry.
type stamps struct {
	At         time.Time `json:"at"`
	StartedAt  time.Time `json:"startedAt"`
	Time       time.Time `json:"time"`
	ExpiresAt  time.Time `json:"expiresAt"`
	RevokedAt  time.Time `json:"revokedAt"`
	EndedAt    time.Time `json:"endedAt"`
	ReportedAt time.Time `json:"reportedAt"`
}

// history is one kind of row that is deleted by its age.
type history struct {
	prefix string
	keep   time.Duration
	since  func(stamps) time.Time                                            // when its age begins; zero: it has none
	needed func(ctx context.Context, u *work.Unit, row string) (bool, error) // keeps it whatever its age; may be nil
}

// retention are the tasks of the daily round, beginning with what is only to be done once a day. Resets come first: attempts stay as long as the reset they were made for.
func (h *Handler) retention() []task {
	at := func(s stamps) time.Time { return s.At }
	expires := func(s stamps) time.Time { return s.ExpiresAt }
	reported := func(s stamps) time.Time { return s.ReportedAt }
	tasks := []task{{"subscriptions", h.subscriptions}, {"resets.old", h.oldResets}, {"rollouts.old", h.oldRollouts}, {"devicekeys.old", h.oldDeviceKeys}}
	for _, k := range []struct {
		name string
		history
	}{
		{"attempts.old", history{diag.AttemptPrefix, h.Keep.History, func(s stamps) time.Time { return s.StartedAt }, ofReset}},
		{"failures.old", history{diag.FailurePrefix, h.Keep.History, at, nil}},
		{"pages.old", history{diag.PagePrefix, h.Keep.History, at, nil}},
		{"letters.old", history{diag.LetterPrefix, h.Keep.History, at, nil}},
		{"approvals.old", history{approval.Prefix, h.Keep.History, at, nil}},
		{"audits.old", history{survey.Prefix, h.Keep.History, at, nil}},
		{"auditruns.old", history{survey.RunPrefix, h.Keep.History, at, nil}},
		{"events.old", history{diag.EventPrefix, h.Keep.Feed, func(s stamps) time.Time { return s.Time }, nil}},
		{"bulks.old", history{passcode.BulkPrefix, h.Keep.History, func(s stamps) time.Time { return s.EndedAt }, nil}},
		{"bulkitems.old", history{passcode.BulkItemPrefix, h.Keep.History, at, ofBulk}},
		{"records.old", history{portal.Prefix, h.Keep.History, at, nil}},
		{"audit.old", history{audit.Prefix, h.Keep.Audit, at, nil}},
		{"tokens.old", history{identity.TokenPrefix, h.Keep.Audit, ended, nil}},
		{"notifications.old", history{notice.Prefix, h.Keep.History, at, nil}},
		{"reports.old", history{devicereport.Prefix, h.Keep.History, at, nil}},
		{"facts.old", history{readiness.DevicePrefix, h.Keep.History, reported, withKey(readiness.DevicePrefix)}},
		{"facts.silent", history{readiness.DevicePrefix, h.Keep.Audit, reported, nil}},
		{"reporters.old", history{devicereport.ReporterPrefix, h.Keep.History, at, withKey(devicereport.ReporterPrefix)}},
		{"webhooks.old", history{webhookPrefix, 0, expires, nil}},
		{"pinresets.old", history{seenPrefix, 0, expires, nil}},
		{"subscriptions.old", history{subscription.Prefix, 0, expires, nil}},
		{"idempotency.old", history{oncePrefix, 0, expires, nil}},
		{"budgets.old", history{budget.Prefix, 0, expires, nil}},
		{"paces.old", history{suspension.PacePrefix, 0, expires, nil}},
		{"suspensions.old", history{suspension.Prefix, h.Keep.Audit, func(s stamps) time.Time { return s.EndedAt }, nil}},
		{"callers.old", history{callercheck.Prefix, 0, expires, nil}},
		{"states.old", history{statePrefix, 0, expires, nil}},
		{"sessions.old", history{identity.SessionPrefix, 0, expires, nil}},
		{"grants.old", history{grant.PersonPrefix, 0, expires, nil}},
		{"grants.ended", history{grant.Prefix, h.Keep.Audit, ended, nil}},
	} {
		tasks = append(tasks, task{k.name, k.page})
	}
	return tasks
}

// ended is when a token ended; zero for one that has no end.
func ended(s stamps) time.Time {
	if !s.RevokedAt.IsZero() {
		return s.RevokedAt
	}
	return s.ExpiresAt
}

// page stages the removal of the old rows of one page.
func (k history) page(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, k.prefix, pageOf(1), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var s stamps
		if json.Unmarshal(row.Value, &s) != nil || !k.old(u.Now(), s) {
			continue // one that can't be read stays: whoever wrote it knows what it is
		}
		// Read again for its version, so that a row written meanwhile under the same key is not deleted in its place.
		s = stamps{}
		if err := u.Get(ctx, row.Row, &s); errors.Is(err, work.ErrNotFound) || err == nil && !k.old(u.Now(), s) {
			continue
		} else if err != nil {
			return "", 0, err
		}
		if k.needed != nil {
			if needed, err := k.needed(ctx, u, row.Row); err != nil {
				return "", 0, err
			} else if needed {
				continue
			}
		}
		u.Delete(row.Row)
	}
	return p.Next, len(p.Rows), nil
}

func (k history) old(now time.Time, s stamps) bool {
	since := k.since(s)
	return !since.IsZero() && now.Sub(since) >= k.keep
}

// ofReset reports whether the attempt was made for a reset that is still there.
func ofReset(ctx context.Context, u *work.Unit, row string) (bool, error) {
	request, _, _ := strings.Cut(strings.TrimPrefix(row, diag.AttemptPrefix), "|")
	_, err := passcode.Read(ctx, u, request)
	if errors.Is(err, work.ErrNotFound) {
		return false, nil
	}
	return true, err
}

// oldResets forgets resets that ended long ago.
func (h *Handler) oldResets(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, passcode.ResetPrefix, pageOf(2), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var r passcode.Reset
		if json.Unmarshal(row.Value, &r) != nil || !h.old(u.Now(), r) {
			continue
		}
		r, err := passcode.Read(ctx, u, r.ID)
		if errors.Is(err, work.ErrNotFound) || err == nil && !h.old(u.Now(), r) {
			continue // a dead letter of it was replayed meanwhile
		}
		if err != nil {
			return "", 0, err
		}
		if err := passcode.Forget(ctx, u, r); err != nil {
			return "", 0, err
		}
	}
	return p.Next, len(p.Rows), nil
}

// ofBulk reports whether the device belongs to a bulk reset that is still there.
func ofBulk(ctx context.Context, u *work.Unit, row string) (bool, error) {
	bulk, _, _ := strings.Cut(strings.TrimPrefix(row, passcode.BulkItemPrefix), "|")
	_, err := passcode.ReadBulk(ctx, u, bulk)
	if errors.Is(err, work.ErrNotFound) {
		return false, nil
	}
	return true, err
}

// oldDeviceKeys forgets keys that were revoked long ago, with the rows by which they are found.
func (h *Handler) oldDeviceKeys(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, devicekey.Prefix, pageOf(3), page)
	if err != nil {
		return "", 0, err
	}
	before := u.Now().Add(-h.Keep.Audit)
	for _, row := range p.Rows {
		var s stamps
		if json.Unmarshal(row.Value, &s) != nil || s.RevokedAt.IsZero() || s.RevokedAt.After(before) {
			continue
		}
		if err := devicekey.Forget(ctx, u, strings.TrimPrefix(row.Row, devicekey.Prefix), before); err != nil {
			return "", 0, err
		}
	}
	return p.Next, len(p.Rows), nil
}

// withKey keeps the row of a device that has a valid key. The sequence that a device has reached refuses what is out of order,
// and is of no use without a key: those that were signed with a revoked one do not count.
func withKey(prefix string) func(ctx context.Context, u *work.Unit, row string) (bool, error) {
	return func(ctx context.Context, u *work.Unit, row string) (bool, error) {
		keys, err := devicekey.List(ctx, u, strings.TrimPrefix(row, prefix))
		return slices.ContainsFunc(keys, devicekey.Key.Valid), err
	}
}

func (h *Handler) old(now time.Time, r passcode.Reset) bool {
	since := r.EndedAt
	if r.ExpiresAt.After(since) {
		since = r.ExpiresAt
	}
	return !r.Open() && r.Code == nil && !since.IsZero() && now.Sub(since) >= h.Keep.History
}

// subscriptions has the tenant's subscriptions to Graph's notifications looked after, where it has any or wants some.
func (h *Handler) subscriptions(ctx context.Context, u *work.Unit, _ string) (next string, looked int, err error) {
	settings, err := tenant.ReadSettings(ctx, u)
	if err != nil {
		return "", 0, err
	}
	if !settings.GraphNotifications {
		p, err := u.List(ctx, subscription.Prefix, 1, "")
		if err != nil || len(p.Rows) == 0 {
			return "", 1, err
		}
	}
	return "", 1, subscription.AskDaily(ctx, u)
}
