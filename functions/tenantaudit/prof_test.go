package tenantaudit_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"
	"os"
	"runtime"

	"crypto/rand"
	"github.com/oklog/ulid/v2"
	"pinreset/events"
	"pinreset/functions/announcement"
	"pinreset/functions/tenantaudit"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/host/local"
	"pinreset/shared/survey"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

func TestProf(t *testing.T) {
	if os.Getenv("PROF") == "" { t.Skip() }
	const n = 600
	sim, client := graphtest.New(t, graphsim.Options{Fleet: graphsim.Fleet{Tenants: n, Devices: 1}, Latency: 150 * time.Millisecond})
	store, err := sqlitework.Open(t.TempDir(), sqlitework.Options{})
	if err != nil { t.Fatal(err) }
	defer store.Close()
	ent := &ulid.LockedMonotonicReader{MonotonicReader: ulid.Monotonic(rand.Reader, 0)}
	newID := func() string { return ulid.MustNew(ulid.Now(), ent).String() }
	for i := range n {
		info, err := sim.Tenant(fmt.Sprintf("fleet-%04d", i+1))
		if err != nil { t.Fatal(err) }
		u := work.NewUnit(store, tenant.Partition, time.Now(), newID)
		tenant.Add(u, info.ID, info.Name, events.Pinreset())
		if err := u.Commit(t.Context()); err != nil { t.Fatal(err) }
	}
	log := slog.New(slog.DiscardHandler)
	h := &tenantaudit.Handler{Cloud: client, Store: store, Schedule: tenantaudit.DefaultSchedule}
	done := make(chan struct{}, 2*n)
	d := dispatch.New(store, store, []dispatch.Route{h.Route(), (&announcement.Handler{Logger: log}).Route()}, dispatch.Options{Now: time.Now, NewID: newID, Logger: log, Observe: func(o dispatch.Observation) { if o.Function == "tenantaudit" && o.Verdict == "done" { done <- struct{}{} } }})
	host := local.New(store, d, []local.Queue{{Name: survey.Queue.Bulk(), Workers: 512}, {Name: work.Announcements, Workers: 8}}, log)
	ctx, cancel := context.WithCancel(t.Context())
	go host.Run(ctx)
	defer cancel()
	c, _ := tenantaudit.ParseCron("0 0 */6 * * *")
	started := time.Now()
	(&tenantaudit.Timer{Store: store, Cron: c, Now: time.Now, NewID: newID, Logger: log}).Tick(ctx)
	for range n { <-done }
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	fmt.Println("took", time.Since(started), "heap", m.HeapAlloc>>10, "allocs/tenant KB", m.TotalAlloc/n>>10)
}
