package housekeeping

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"pinreset/events"
	"pinreset/shared/passcode"
	"pinreset/shared/survey"
	"pinreset/shared/work"
)

// longestPause is more than a bulk reset ever pauses between two looks at its devices. It does not say itself when it goes on.
const longestPause = 20 * time.Minute

// bulks looks for bulk resets that nothing drives any more: their one reminder was lost. One that was cancelled
// goes on, too, while it counts devices that were called before.
func (h *Handler) bulks(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, passcode.BulkPrefix, pageOf(2), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var b passcode.Bulk
		if err := json.Unmarshal(row.Value, &b); err != nil {
			note(ctx, u, "%s can't be read and is left as it is", row.Row)
			continue
		}
		counts := b.State == passcode.BulkCancelled && b.Tally.Ended() < b.Tally.Total
		if !b.Open() && !counts {
			continue
		}
		if err := h.goOnWithBulk(ctx, u, b); err != nil {
			return "", 0, err
		}
	}
	return p.Next, len(p.Rows), nil
}

// goOnWithBulk sends the reminder of a bulk reset again. The first time it has the id that it had: that adds nothing when it is
// only late.
func (h *Handler) goOnWithBulk(ctx context.Context, u *work.Unit, b passcode.Bulk) error {
	due := b.AskedAt
	for _, at := range []time.Time{b.StartedAt, b.TalliedAt, b.EndedAt} {
		if at.After(due) {
			due = at
		}
	}
	due = due.Add(longestPause)
	n := h.times(u.Now(), due)
	if n == 0 {
		return nil
	}
	reminder := events.BulkResetDue{RequestID: b.ID}
	if n == 1 && b.DueID != "" {
		again(ctx, u, passcode.BulkQueue.Bulk(), b.DueID, due, reminder)
		return nil
	}
	id := againID("bulk", b.ID, due, n)
	fresh, err := passcode.ReadBulk(ctx, u, b.ID)
	if errors.Is(err, work.ErrNotFound) || err == nil && (fresh.State != b.State || fresh.DueID != b.DueID || !fresh.TalliedAt.Equal(b.TalliedAt)) {
		return nil // it went on meanwhile
	}
	if err != nil || fresh.DueID == id {
		return err
	}
	fresh.DueID = id
	again(ctx, u, passcode.BulkQueue.Bulk(), id, due, reminder)
	return passcode.WriteBulk(u, fresh)
}

// surveys looks for audits that somebody asked for and that nobody carried out. An audit that is done does nothing the second time.
func (h *Handler) surveys(ctx context.Context, u *work.Unit, page string) (next string, looked int, err error) {
	p, err := u.List(ctx, survey.Prefix, pageOf(1), page)
	if err != nil {
		return "", 0, err
	}
	for _, row := range p.Rows {
		var r survey.Report
		if err := json.Unmarshal(row.Value, &r); err != nil {
			note(ctx, u, "%s can't be read and is left as it is", row.Row)
			continue
		}
		if r.Outcome != survey.Pending {
			continue
		}
		if n := h.times(u.Now(), r.At); n > 0 {
			again(ctx, u, survey.Queue, againID("audit", r.ID, r.At, n), r.At,
				events.TenantAuditRequested{RequestID: r.ID, Cause: r.Cause, RunID: r.RunID, Reason: r.Reason, By: r.By})
		}
	}
	return p.Next, len(p.Rows), nil
}
