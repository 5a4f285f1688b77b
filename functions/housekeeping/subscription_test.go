package housekeeping_test

import (
	"fmt"
	"testing"
	"time"

	"pinreset/shared/subscription"
	"pinreset/shared/tenant"
)

// TestSubscriptionsAreLookedAfterDaily: once a day for who opted in or has any left, and never for anybody else.
func TestSubscriptionsAreLookedAfterDaily(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ opted, held, want bool }{{false, false, false}, {true, false, true}, {false, true, true}} {
		t.Run(fmt.Sprintf("opted in %t, held %t", c.opted, c.held), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false)
			u := f.Unit(contoso)
			s := tenant.DefaultSettings()
			s.GraphNotifications = c.opted
			f.must(tenant.WriteSettings(u, s))
			if c.held {
				f.must(subscription.Put(u, subscription.Subscription{ID: "11111111-2222-4333-8444-555555555555", ExpiresAt: u.Now().Add(29 * day)}))
			}
			f.must(u.Commit(t.Context()))
			for days := range 3 {
				for range 5 { // rounds of the same day
					f.must(f.timer.Tick(t.Context()))
					f.Drain(f.Clock.Now().Add(15 * time.Minute))
				}
				asked, _ := f.Waiting(subscription.Queue.Bulk())
				want := 0
				if c.want {
					want = days + 1
				}
				if asked != want {
					t.Fatalf("asked %d times after %d days", asked, days+1)
				}
				f.Clock.Advance(day)
			}
		})
	}
}
