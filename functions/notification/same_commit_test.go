package notification_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"pinreset/events"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// recorder keeps the batches that were committed.
type recorder struct {
	work.Store
	batches []work.Batch
}

func (r *recorder) Commit(ctx context.Context, b work.Batch) error {
	r.batches = append(r.batches, b)
	return r.Store.Commit(ctx, b)
}

// TestSameCommit: the row that says that a reset was started, or how it ended, and what is told of it are one batch, for every end; where
// every way is off, nothing is told.
func TestSameCommit(t *testing.T) {
	t.Parallel()
	ends := map[passcode.State]string{
		passcode.Issued: events.NoticeIssued, passcode.Removed: events.NoticeRemoved, passcode.Observed: events.NoticeObserved,
		passcode.Failed: events.NoticeFailed, passcode.Cancelled: events.NoticeCancelled,
	}
	for state, outcome := range ends {
		for _, on := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %t", state, on), func(t *testing.T) {
				t.Parallel()
				f := setUp(t, false, nil)
				f.choose(func(s *notice.Settings) { s.MailUser = on })
				store := &recorder{Store: f.Store()}
				unit := func() *work.Unit { return work.NewUnit(store, contoso, f.Clock.Now(), f.NewID) }
				u := unit()
				r, _, err := passcode.Accept(t.Context(), u, events.PasscodeResetRequested{
					RequestID: f.NewID(), DeviceID: graphtest.DeviceID(t, f.sim, contoso, "sales-pixel-12"), Reason: "forgot it", By: events.Actor{Kind: events.Operator, ID: "op-1"}})
				if err != nil {
					t.Fatal(err)
				}
				if err := u.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				u = unit()
				if _, err = passcode.End(t.Context(), u, r, state); err != nil {
					t.Fatal(err)
				}
				if err := u.Commit(t.Context()); err != nil {
					t.Fatal(err)
				}
				var told []string
				for i, b := range store.batches {
					if !slices.ContainsFunc(b.Writes, func(w work.Write) bool { return w.Row == passcode.ResetRow(r.ID) }) {
						t.Errorf("commit %d does not write the reset", i)
					}
					for _, m := range b.Messages {
						if m.Queue != notice.Queue {
							continue
						}
						e, err := events.Parse(m.Body)
						if err != nil {
							t.Fatal(err)
						}
						n := e.Data.(events.NotificationDue)
						told = append(told, fmt.Sprint(i, " ", n.What, " ", n.Outcome))
					}
				}
				var want []string
				if on {
					want = []string{"0 " + events.NoticeResetStarted + " ", "1 " + events.NoticeResetEnded + " " + outcome}
				}
				if len(store.batches) != 2 || !slices.Equal(told, want) {
					t.Errorf("%d commits told %q, want %q", len(store.batches), told, want)
				}
			})
		}
	}
}
