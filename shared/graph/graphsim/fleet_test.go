package graphsim

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// touch reads what an audit of a fleet tenant reads, without a network.
func (s *sim) touch(app App, n int) error {
	t, err := s.lookup(fmt.Sprintf("fleet-%04d", n))
	if err != nil {
		return err
	}
	now := s.now()
	token, err := s.keys.sign(claims{TenantID: t.id, AppID: app.ClientID, Roles: app.Roles, Expires: now.Add(time.Hour).Unix()})
	if err != nil {
		return err
	}
	for _, target := range []string{
		"/v1.0/organization?$select=id", "/v1.0/servicePrincipals(appId='" + PinResetService + "')", "/v1.0/servicePrincipals(appId='" + PinResetClient + "')",
		"/v1.0/oauth2PermissionGrants", "/beta" + profiles + "?$expand=assignments", "/beta" + catalog, "/beta" + intents, "/v1.0/deviceManagement/auditEvents",
	} {
		r := httptest.NewRequest(http.MethodGet, target, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.graph(w, r)
		if w.Code != http.StatusOK {
			return fmt.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	return nil
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestTenThousandTenantsAreFlat touches ten thousand tenants as an audit does and
// measures what stays: after the windows have run empty, hardly more than after
// the first thousand. It is not parallel, so that the heap is its own.
func TestTenThousandTenantsAreFlat(t *testing.T) {
	s := start(t, Options{Fleet: Fleet{Tenants: 10_000, Devices: 5}, Timing: noLag, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	app, _ := s.Apps()
	before := heap()
	touch := func(from, to int) {
		var wg sync.WaitGroup
		for worker := range 4 {
			wg.Go(func() {
				for n := from + worker; n <= to; n += 4 {
					if n%10 == 0 {
						s.clock.Advance(10 * time.Millisecond) // a thousand tenants a second
					}
					if err := s.touch(app, n); err != nil {
						t.Errorf("tenant %d: %v", n, err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	// A changed one keeps its change, whoever comes after.
	policy, err := s.AddPolicy("fleet-0007", PolicySpec{Store: ConfigurationPolicies, Value: true, Include: []string{"all devices"}})
	s.must(err)
	s.clock.Advance(time.Second)
	s.must(s.CheckIn("fleet-0007", "hr-laptop-11"))
	started := time.Now()
	touch(1, 1000)
	thousand := heap()
	touch(1001, 10_000)
	busy := heap()
	s.clock.Advance(time.Minute)
	touch(1, 1000)
	took := time.Since(started)
	end := heap()
	t.Logf("heap: %d KiB before, %d KiB after 1,000 tenants, %d KiB after 10,000, %d KiB a minute later; 11,000 audits of 8 reads in %s",
		before>>10, thousand>>10, busy>>10, end>>10, took.Round(time.Millisecond))
	if grown := len(s.garden.grown); grown > keepGrown+8 || len(s.garden.frames) != 10_000 {
		t.Errorf("%d of %d tenants have content", grown, len(s.garden.frames))
	}
	if busy > before+96<<20 || end > before+64<<20 {
		t.Errorf("ten thousand tenants take %d KiB, %d KiB later", (busy-before)>>10, (end-before)>>10)
	}
	list, err := s.Policies("fleet-0007")
	s.must(err)
	if len(list) != 1 || list[0].ID != policy || list[0].States["compliant"] != 1 {
		t.Errorf("the changed tenant has %v", list)
	}
	home := s.want(200, "GET", s.PagesURL()+"/", "", "").text
	if !strings.Contains(home, "9995 more tenants") || strings.Contains(home, "fleet-0006") {
		t.Error("the home page does not stop after the first of the fleet")
	}
	if n := s.Counters().Families[Identity].Requests; n != 4*11_000 {
		t.Errorf("%d identity requests counted", n)
	}
	if _, err := s.Tenant("fleet-10001"); err == nil || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("a tenant beyond the fleet: %v", err)
	}
	for _, ref := range []string{"fleet-0001", "FLEET-0001.example", fleetSeed(1, 0).id} {
		info, err := s.Tenant(ref)
		s.must(err)
		if info.ID != fleetSeed(1, 0).id || len(info.Devices) != len(fleet)+5 {
			t.Errorf("%s is %s with %d devices", ref, info.ID, len(info.Devices))
		}
	}
	for _, ref := range []string{"fleet-1", "fleet-00001", "fleet-0000", "fleet-x"} {
		if _, err := s.Tenant(ref); err == nil {
			t.Errorf("%s is a tenant", ref)
		}
	}
}

// TestLatencyIsWaiting asks at once what would take seconds in a row.
func TestLatencyIsWaiting(t *testing.T) {
	t.Parallel()
	const latency = 150 * time.Millisecond
	s := start(t, Options{Timing: noLag, Latency: latency})
	app, _ := s.Apps()
	token := s.token(Contoso, app)
	started := time.Now()
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if r, err := s.send(http.MethodGet, "/v1.0/organization", token, ""); err != nil || r.status != 200 {
				t.Errorf("%d, %v", r.status, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(started); took < latency || took > 40*latency/2 {
		t.Errorf("40 calls at once took %s with %s each", took, latency)
	}
	started = time.Now()
	s.want(200, "POST", "/v1.0/$batch", token, `{"requests":[{"id":"1","method":"GET","url":"/organization"},{"id":"2","method":"GET","url":"/groups"}]}`)
	if took := time.Since(started); took < latency || took > 3*latency {
		t.Errorf("a batch of two took %s", took)
	}
}
