package graphsim

import (
	"net/http"
	"testing"
	"time"
)

func TestDeviceWritesAreThrottledInASlidingWindow(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	reset := func() reply { return s.reset(Contoso, "sales-pixel-12") }
	for i := range 200 { // 10 ms apart: 2 s altogether
		if r := reset(); r.status != 204 {
			t.Fatalf("reset %d: status %d", i+1, r.status)
		}
		s.clock.Advance(10 * time.Millisecond)
	}
	r := reset()
	if r.status != 429 || r.header.Get("Retry-After") != "18" {
		t.Fatalf("reset 201: status %d, Retry-After %q, want 429 and 18", r.status, r.header.Get("Retry-After"))
	}
	// Another tenant, and reads, are not concerned.
	if r := s.reset(Northwind, "nw-sales-pixel-12"); r.status != 204 {
		t.Errorf("another tenant: status %d", r.status)
	}
	s.state("v1.0", Contoso, "sales-pixel-12")
	s.clock.Advance(17 * time.Second) // the first permit is back after 20 s, here after 19
	if r := reset(); r.status != 429 {
		t.Errorf("before Retry-After: status %d", r.status)
	}
	s.clock.Advance(time.Second)
	if r := reset(); r.status != 204 {
		t.Errorf("after Retry-After: status %d", r.status)
	}
	n := s.Counters().Tenants[0].Families[Devices]
	if n.Throttled != 2 || n.TooEarly != 1 || n.Writes != 203 {
		t.Errorf("counters %+v, want 203 writes, 2 throttled, 1 too early", n)
	}
	if got := s.Counters().Tenants[0].Resets["sales-pixel-12"]; got != 201 {
		t.Errorf("%d resets took effect, want 201", got)
	}
}

func TestThrottlingWithoutRetryAfter(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Limits: Limits{DeviceWrites: Limit{N: 1}, OmitRetryAfter: true}})
	s.reset(Contoso, "sales-pixel-12")
	if r := s.reset(Contoso, "ceo-iphone"); r.status != 429 || r.header.Get("Retry-After") != "" {
		t.Errorf("status %d, Retry-After %q, want 429 without", r.status, r.header.Get("Retry-After"))
	}
}

func TestTenantLimitCountsAllApps(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Limits: Limits{TenantDeviceRequests: Limit{N: 2}}})
	general, privileged := s.Apps()
	const list = "/v1.0/deviceManagement/managedDevices?$top=1"
	s.want(200, "GET", list, s.token(Contoso, general), "")
	s.want(200, "GET", list, s.token(Contoso, privileged), "")
	s.want(429, "GET", list, s.token(Contoso, privileged), "")
	s.want(429, "GET", list, s.token(Contoso, general), "")
	s.want(200, "GET", list, s.token(Northwind, general), "")
}

func TestAppLimitCountsAllTenants(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Limits: Limits{AppRequests: Limit{N: 2}}})
	general, privileged := s.Apps()
	const list = "/v1.0/deviceManagement/managedDevices?$top=1"
	s.want(200, "GET", list, s.token(Contoso, general), "")
	s.want(200, "GET", list, s.token(Northwind, general), "")
	s.want(429, "GET", list, s.token(Contoso, general), "")
	s.want(200, "GET", list, s.token(Contoso, privileged), "")
}

func TestIdentityResourceUnits(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Limits: Limits{SmallTenantUnits: Limit{N: 10}}})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	for i, want := range []string{"", "", "", "", "1.00"} { // 2 units each
		r := s.want(200, "GET", "/v1.0/oauth2PermissionGrants", token, "")
		if got := r.header.Get("x-ms-throttle-limit-percentage"); got != want {
			t.Errorf("read %d: percentage %q, want %q", i+1, got, want)
		}
	}
	r := s.want(429, "GET", "/v1.0/organization", token, "")
	if r.code() != "TooManyRequests" || r.header.Get("x-ms-throttle-information") != "ResourceUnitLimitExceeded" ||
		r.header.Get("x-ms-throttle-scope") != "Tenant_Application/Read/"+general.ClientID+"/"+Contoso || r.header.Get("Retry-After") != "10" {
		t.Errorf("429 with %v", r.header)
	}
	s.clock.Advance(10 * time.Second)
	s.want(200, "GET", "/v1.0/organization", token, "")
}

func TestInjectedFaults(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	const device = "sales-pixel-12"
	resets := func() int { return s.Counters().Tenants[0].Resets[device] }

	s.must(s.Inject(Contoso, Fault{Kind: Throttle, Family: Devices, WritesOnly: true, Count: 2, RetryAfter: 7}))
	s.want(200, "GET", devicesPath+s.deviceID(Contoso, device), token, "")
	for range 2 {
		if r := s.reset(Contoso, device); r.status != 429 || r.header.Get("Retry-After") != "7" {
			t.Errorf("status %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
		}
	}
	if resets() != 0 {
		t.Error("a throttled reset took effect")
	}
	s.must(s.Inject(Contoso, Fault{Kind: Throttle, Status: 503}))
	if r := s.reset(Contoso, device); r.status != 503 || r.header.Get("Retry-After") != "" {
		t.Errorf("status %d, Retry-After %q", r.status, r.header.Get("Retry-After"))
	}
	s.must(s.Inject(Contoso, Fault{Kind: ExecutedThrottle}))
	if r := s.reset(Contoso, device); r.status != 429 || resets() != 1 {
		t.Errorf("status %d with %d resets, want 429 and 1", r.status, resets())
	}
	s.must(s.Inject(Contoso, Fault{Kind: LostAnswer}))
	if _, err := s.send(http.MethodPost, devicesPath+s.deviceID(Contoso, device)+"/resetPasscode", token, ""); err == nil || resets() != 2 {
		t.Errorf("lost answer: error %v with %d resets, want an error and 2", err, resets())
	}
	s.must(s.Inject(Contoso, Fault{Kind: Throttle, Count: 100}))
	s.must(s.ClearFaults(Contoso))
	if r := s.reset(Contoso, device); r.status != 204 {
		t.Errorf("after clearing: status %d", r.status)
	}
	for _, bad := range []Fault{{}, {Kind: "flood"}, {Kind: Throttle, Status: 500}, {Kind: Throttle, Family: "mail"}, {Kind: Throttle, RetryAfter: -1}} {
		if s.Inject(Contoso, bad) == nil {
			t.Errorf("fault %+v was taken", bad)
		}
	}
	s.must(s.ResetCounters())
	if n := s.Counters(); n.Families[Devices].Requests != 0 || len(n.Tenants[0].Resets) != 0 {
		t.Errorf("counters after reset: %+v", n)
	}
}

func TestApprovalPolicyAnswers400(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	s.must(s.AdjustTenant(Contoso, TenantKnobs{ApprovalRequired: new(true)}))
	if r := s.reset(Contoso, "sales-pixel-12"); r.status != 400 {
		t.Errorf("status %d, want 400", r.status)
	}
	s.must(s.AdjustTenant(Contoso, TenantKnobs{ApprovalRequired: new(false)}))
	if r := s.reset(Contoso, "sales-pixel-12"); r.status != 204 {
		t.Errorf("status %d, want 204", r.status)
	}
}

// TestSlowTenant asks with a deadline that only a slow answer can miss.
func TestSlowTenant(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	general, _ := s.Apps()
	token := s.token(Contoso, general)
	s.must(s.AdjustTenant(Contoso, TenantKnobs{Slow: new(time.Hour)}))
	patient := s.client.Timeout
	s.client.Timeout = 200 * time.Millisecond
	if r, err := s.send("GET", "/v1.0/organization", token, ""); err == nil {
		t.Errorf("a tenant that is an hour slow answered %d", r.status)
	}
	s.client.Timeout = patient
	s.must(s.AdjustTenant(Contoso, TenantKnobs{Slow: new(time.Duration(0))}))
	s.want(200, "GET", "/v1.0/organization", token, "")
}
