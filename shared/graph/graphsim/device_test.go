package graphsim

import (
	"sync/atomic"
	"testing"
	"time"
)

// timing of the life cycle tests: entry after 2 s, active after 5 s, done after 7 s.
var stepped = Timing{ReplicationLag: -1, EntryDelay: 2 * time.Second, PickUp: 3 * time.Second, Work: 2 * time.Second, CheckIn: time.Hour, TokenLifetime: 1000 * time.Hour}

func fixedPasscode(codes ...string) func() string {
	var next atomic.Int64
	return func() string { return codes[int(next.Add(1)-1)%len(codes)] }
}

func TestResetLifeCycleByPlatform(t *testing.T) {
	t.Parallel()
	ends := map[string]string{
		"hr-laptop-11": "400", "old-lumia-950": "done/4711/0", "design-macbook-02": "400", "byod-home-11": "400",
		"sales-pixel-12":      "done/4711/0",
		"store-kiosk-07":      "done/4711/0",
		"marketing-galaxy-04": "done/4711/0",
		"legal-galaxy-05":     "done/4711/0",
		"intern-galaxy-09":    "notSupported//0",
		"partner-moto-02":     "notSupported//0",
		"depot-tablet-06":     "done/4711/0",
		"depot-tablet-09":     "notSupported//0",
		"warehouse-aosp-01":   "done/4711/0",
		"meeting-aosp-02":     "done/4711/0",
		"ceo-iphone":          "done//0",
		"board-ipad-01":       "done//0",
		"byod-iphone-08":      "notSupported//0",
		"flaky-tablet-03":     "failed//7",
		"field-pixel-offline": "pending//0",
	}
	s := start(t, Options{Timing: stepped, Passcode: fixedPasscode("4711")})
	for device, end := range ends {
		r := s.reset(Contoso, device)
		if end == "400" {
			if r.status != 400 {
				t.Errorf("%s: status %d, want 400", device, r.status)
			}
			delete(ends, device)
			continue
		}
		if r.status != 204 || r.text != "" {
			t.Errorf("%s: status %d with %q, want 204 without a body", device, r.status, r.text)
		}
	}
	check := func(want string, offline string) {
		t.Helper()
		for device := range ends {
			expected := want
			if device == "field-pixel-offline" {
				expected = offline
			}
			if got := s.state("v1.0", Contoso, device); got != expected {
				t.Errorf("%s: %q, want %q", device, got, expected)
			}
		}
	}
	check("", "")
	s.clock.Advance(2 * time.Second)
	check("pending//0", "pending//0")
	s.clock.Advance(3 * time.Second)
	check("active//0", "pending//0")
	s.clock.Advance(2 * time.Second)
	for device, end := range ends {
		if got := s.state("v1.0", Contoso, device); got != end {
			t.Errorf("%s ended %q, want %q", device, got, end)
		}
	}
	counts := s.Counters().Tenants[0].Resets
	if counts["sales-pixel-12"] != 1 || counts["hr-laptop-11"] != 0 {
		t.Errorf("resets %v", counts)
	}
}

func TestResultsOnlyOnSingleGetWithSelect(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	s.reset(Contoso, "sales-pixel-12")
	s.clock.Advance(time.Minute)
	id := s.deviceID(Contoso, "sales-pixel-12")
	for _, r := range []reply{
		s.want(200, "GET", devicesPath+id, token, ""),
		s.want(200, "GET", "/v1.0/deviceManagement/managedDevices?$select=id,deviceActionResults&$filter=deviceName eq 'sales-pixel-12'", token, ""),
	} {
		body := r.body
		if rows := r.rows(); len(rows) > 0 {
			body = rows[0]
		}
		if list, ok := body["deviceActionResults"].([]any); !ok || len(list) != 0 {
			t.Errorf("deviceActionResults %v, want an empty array", body["deviceActionResults"])
		}
	}
	if list := s.results("v1.0", Contoso, "sales-pixel-12"); len(list) != 1 || list[0]["passcode"] == "" {
		t.Errorf("single GET with $select shows %d results", len(list))
	}
	beta := s.want(200, "GET", "/beta/deviceManagement/managedDevices/"+s.deviceID(Contoso, "hr-laptop-11")+"?$select=id,joinType,skuFamily", token, "").body
	if beta["joinType"] != "azureADJoined" || beta["skuFamily"] != "Enterprise" {
		t.Errorf("beta %v", beta)
	}
	s.want(400, "GET", devicesPath+id+"?$select=id,skuFamily", token, "")
}

func TestSecondResetReplacesTheCode(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Passcode: fixedPasscode("1111", "2222")})
	s.reset(Contoso, "sales-pixel-12")
	s.clock.Advance(time.Minute)
	if got := s.state("v1.0", Contoso, "sales-pixel-12"); got != "done/1111/0" {
		t.Fatalf("first reset: %s", got)
	}
	s.reset(Contoso, "sales-pixel-12")
	s.clock.Advance(time.Minute)
	if list := s.results("v1.0", Contoso, "sales-pixel-12"); len(list) != 1 || list[0]["passcode"] != "2222" {
		t.Errorf("%d results, newest with %v", len(list), list[0]["passcode"])
	}
	s.must(s.AdjustTenant(Contoso, TenantKnobs{ActionHistory: new(true)}))
	if list := s.results("v1.0", Contoso, "sales-pixel-12"); len(list) != 2 || list[1]["passcode"] != "1111" {
		t.Errorf("history has %d results", len(list))
	}
	if n := s.Counters().Tenants[0].Resets["sales-pixel-12"]; n != 2 {
		t.Errorf("%d resets counted, want 2", n)
	}
}

func TestOutcomeKnobs(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[Outcome][2]string{ // v1.0 and beta
		Done:            {"done/9/0", "done/9/0"},
		DoneWithoutCode: {"done//0", "done//0"},
		DoneOnBeta:      {"done//0", "done/9/0"},
		Failed:          {"failed//42", "failed//42"},
		NotSupported:    {"notSupported//0", "notSupported//0"},
		Never:           {"pending//0", "pending//0"},
	} {
		s := start(t, Options{Timing: stepped, Passcode: fixedPasscode("9")})
		s.must(s.AdjustDevice(Contoso, "sales-pixel-12", DeviceKnobs{Outcome: &outcome, ErrorCode: new(int32(42))}))
		s.reset(Contoso, "sales-pixel-12")
		s.clock.Advance(time.Hour)
		if got := [2]string{s.state("v1.0", Contoso, "sales-pixel-12"), s.state("beta", Contoso, "sales-pixel-12")}; got != want {
			t.Errorf("%s: %v, want %v", outcome, got, want)
		}
	}
}

func TestOfflineDeviceWaits(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped, Passcode: fixedPasscode("1")})
	const device = "field-pixel-offline"
	lastSync := func() time.Time {
		info, err := s.Tenant(Contoso)
		s.must(err)
		for _, d := range info.Devices {
			if d.Name == device {
				return d.LastSync
			}
		}
		return time.Time{}
	}
	before := lastSync()
	s.reset(Contoso, device)
	s.clock.Advance(48 * time.Hour)
	if got := s.state("v1.0", Contoso, device); got != "pending//0" {
		t.Fatalf("offline for two days: %s", got)
	}
	if !lastSync().Equal(before) {
		t.Error("an offline device checked in")
	}
	s.must(s.AdjustDevice(Contoso, device, DeviceKnobs{Online: new(true)}))
	if !lastSync().Equal(s.clock.Now()) {
		t.Error("coming online is not a check-in")
	}
	s.clock.Advance(3 * time.Second)
	if got := s.state("v1.0", Contoso, device); got != "active//0" {
		t.Errorf("online for 3 s: %s", got)
	}
	s.clock.Advance(2 * time.Second)
	if got := s.state("v1.0", Contoso, device); got != "done/1/0" {
		t.Errorf("online for 5 s: %s", got)
	}

	// The other way: going offline before the device has picked it up.
	s.reset(Contoso, "sales-pixel-12")
	s.clock.Advance(4 * time.Second)
	s.must(s.AdjustDevice(Contoso, "sales-pixel-12", DeviceKnobs{Online: new(false)}))
	s.clock.Advance(time.Hour)
	if got := s.state("v1.0", Contoso, "sales-pixel-12"); got != "pending//0" {
		t.Errorf("went offline in time: %s", got)
	}
	s.must(s.CheckIn(Contoso, "sales-pixel-12"))
	s.clock.Advance(2 * time.Second)
	if got := s.state("v1.0", Contoso, "sales-pixel-12"); got != "done/1/0" {
		t.Errorf("after one check-in: %s", got)
	}
}

func TestLastSyncMoves(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	path := devicesPath + s.deviceID(Contoso, "ceo-iphone")
	read := func() time.Time {
		text := s.want(200, "GET", path+"?$select=lastSyncDateTime", token, "").body["lastSyncDateTime"].(string)
		at, err := time.Parse(time.RFC3339Nano, text)
		s.must(err)
		return at
	}
	first := read()
	s.clock.Advance(20 * time.Minute)
	if !read().Equal(first) {
		t.Error("checked in before its hour")
	}
	s.want(204, "POST", path+"/syncDevice", token, "")
	s.clock.Advance(3 * time.Second)
	synced := read()
	if s.clock.Now().Sub(synced) > time.Second {
		t.Errorf("last sync %s ago after syncDevice", s.clock.Now().Sub(synced))
	}
	s.clock.Advance(50 * time.Minute)
	if !read().After(synced) {
		t.Error("no check-in of its own within the hour")
	}
}

func TestOwnerChanges(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: stepped})
	_, privileged := s.Apps()
	token := s.token(Contoso, privileged)
	path := devicesPath + s.deviceID(Contoso, "sales-pixel-12") + "?$select=userId,enrolledDateTime"
	before := s.want(200, "GET", path, token, "").body
	s.must(s.ChangeUser(Contoso, "sales-pixel-12", "fred@contoso.example"))
	changed := s.want(200, "GET", path, token, "").body
	if changed["userId"] == before["userId"] || changed["enrolledDateTime"] != before["enrolledDateTime"] {
		t.Errorf("after the change of user: %v", changed)
	}
	s.must(s.Reenrol(Contoso, "sales-pixel-12", ""))
	if again := s.want(200, "GET", path, token, "").body; again["enrolledDateTime"] == before["enrolledDateTime"] {
		t.Errorf("after enrolling anew: %v", again)
	}
	s.must(s.Retire(Contoso, "sales-pixel-12"))
	s.want(404, "GET", path, token, "")
}
