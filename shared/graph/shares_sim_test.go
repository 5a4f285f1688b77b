package graph_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/quota"
	"pinreset/shared/work/sqlitework"
)

// TestProcessesStayInOneTenantsWindow lets two and three processes do all that they may in one tenant, against the simulated
// cloud with the published windows. One of them comes late and one dies. Nobody is throttled, and little is left unused.
func TestProcessesStayInOneTenantsWindow(t *testing.T) {
	t.Parallel()
	for _, count := range []int{2, 3} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			t.Parallel()
			c := start(t, graphsim.Options{}, nil)
			store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{Now: c.clock.Now})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { store.Close() })
			process := func(name string) *graph.Client {
				cfg := c.config()
				cfg.WaitBulk, cfg.WaitPeople = -1, -1 // the clock stands still while a call waits
				cfg.Shares = quota.New(store, quota.Options{Process: name, Common: "system", Now: c.clock.Now})
				client, err := graph.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return client
			}
			id := c.device("sales-pixel-12").ID
			const step = 500 * time.Millisecond
			people := 0
			// run lets the processes work for a time and returns the calls that each made.
			run := func(d time.Duration, clients ...*graph.Client) []int {
				done := make([]int, len(clients))
				for at := range int(d / step) {
					// Somebody asks for a reset in one process or another every five seconds.
					if at%10 == 0 {
						people++
						i := people % len(clients)
						if err := clients[i].SyncDevice(graph.WithPriority(t.Context(), graph.People), graphsim.Contoso, id); err != nil {
							t.Errorf("a person's call: %v", err)
						}
						done[i]++
					}
					var all sync.WaitGroup
					for i, client := range clients {
						all.Go(func() {
							for {
								err := client.SyncDevice(t.Context(), graphsim.Contoso, id)
								if v, _ := fault.As(err); v != nil && v.Code == fault.WaitingForPermit {
									return
								}
								if err != nil {
									t.Errorf("sync: %v", err)
									return
								}
								done[i]++
							}
						})
					}
					all.Wait()
					c.clock.Advance(step)
				}
				return done
			}
			var clients []*graph.Client
			for i := range count {
				clients = append(clients, process(fmt.Sprint("process-", i)))
			}
			run(time.Minute, clients[:count-1]...) // the last comes along when the others have taken what there is
			run(time.Minute, clients...)
			const windows = 6
			done := run(windows*20*time.Second, clients...)
			sum := 0
			for _, n := range done {
				sum += n
			}
			bound := windows * 160 // the published 200 writes in 20 s, less the reserve
			t.Logf("%d processes: %v calls, %.1f %% of the bound of one", count, done, 100*float64(sum)/float64(bound))
			if sum < bound*92/100 {
				t.Errorf("%d calls in %d windows, want at least 92 %% of %d", sum, windows, bound)
			}
			run(2*time.Minute, clients[1:]...) // the first died
			last := run(windows*20*time.Second, clients[1:]...)
			sum = 0
			for _, n := range last {
				sum += n
			}
			if sum < bound*92/100 {
				t.Errorf("after a process died: %d calls in %d windows, want at least 92 %% of %d", sum, windows, bound)
			}
			n := c.Counters().Families[graphsim.Devices]
			t.Logf("the simulator counted %d writes, %d throttled", n.Writes, n.Throttled)
			if n.Throttled != 0 || n.TooEarly != 0 {
				t.Errorf("the simulator throttled %d calls, %d of them came too early", n.Throttled, n.TooEarly)
			}
		})
	}
}
