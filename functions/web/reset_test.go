package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

func TestResetIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/devices/" + strings.ToUpper(pixel) + "/resets"
	body := map[string]any{"reason": "forgot it", "ticket": "INC-1"}
	var (
		mu       sync.Mutex
		statuses = map[int]int{}
		ids      = map[string]int{}
		all      sync.WaitGroup
	)
	for i := range 40 { // half of them the same request again and again, half of them new ones
		all.Go(func() {
			k := "same"
			if i%2 == 0 {
				k = fmt.Sprintf("other-%d", i)
			}
			a := f.call(http.MethodPost, path, f.admin, body, key(k))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			var r struct{ ID string }
			if err := json.Unmarshal(a.body, &r); err != nil {
				t.Errorf("%v: %s", err, a.body)
			}
			ids[r.ID]++
		})
	}
	all.Wait()
	if len(ids) != 1 || statuses[http.StatusAccepted]+statuses[http.StatusOK] != 40 || statuses[http.StatusAccepted] == 0 {
		t.Errorf("ids %v, statuses %v", ids, statuses)
	}
	got, err := f.rows.Receive(t.Context(), passcode.Queue, 100)
	if err != nil || len(got) != 1 {
		t.Errorf("%d messages, %v", len(got), err)
	}
	if got := f.auditOf(contoso); fmt.Sprint(got) != "[passcode.reset.requested]" {
		t.Errorf("audit %v", got)
	}
	var d struct {
		PendingReset string
		Resets       []struct{ ID, State string }
		Eligibility  passcode.Eligibility
	}
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+pixel, f.admin, nil).into(t, &d)
	if ids[d.PendingReset] == 0 || len(d.Resets) != 1 || d.Resets[0].State != "accepted" || d.Eligibility.Answer != passcode.Yes {
		t.Errorf("device %+v", d)
	}
}

func TestSameRequestAtTheSameMoment(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	_, replayed := f.setAside(contoso, []byte("{}"))
	_, dropped := f.setAside(contoso, []byte("{}"))
	tokenID, _ := f.token(identity.Grant{Name: "n", Tenants: []string{"*"}, Permissions: identity.Permissions(), Days: 1})
	base := "/v1/tenants/" + contoso
	for path, body := range map[string]string{
		"/v1/tenants":                                 `{"tenantId":"` + nowhere + `","displayName":"Northwind"}`,
		base + "/resets/" + id + "/cancel":            `{"reason":"r"}`,
		base + "/deadletters/" + replayed + "/replay": `{"reason":"r"}`,
		base + "/deadletters/" + dropped + "/drop":    `{"reason":"r"}`,
		base + "/devices/" + laptop + "/resets":       `{"reason":"r"}`,
		base + "/consent":                             `{}`,
		"/v1/tokens/" + tokenID + "/revoke":           ``,
	} {
		var (
			mu   sync.Mutex
			seen = map[string]int{}
			all  sync.WaitGroup
		)
		for range 24 {
			all.Go(func() {
				a := f.call(http.MethodPost, path, f.admin, body, key("the same for "+path))
				mu.Lock()
				defer mu.Unlock()
				seen[fmt.Sprint(a.status, " ", string(a.body))]++
			})
		}
		all.Wait()
		for text := range seen {
			if len(seen) != 1 || !strings.HasPrefix(text, "20") {
				t.Errorf("%s: %d different answers, such as %s", path, len(seen), text)
			}
		}
	}
}

func TestResetIsCancelled(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	path := "/v1/tenants/" + contoso + "/resets/" + id + "/cancel"
	a := f.call(http.MethodPost, path, f.admin, `{"reason":"found it"}`, key("c"))
	a.want(t, http.StatusOK)
	if a.field(t, "state") != "cancelled" {
		t.Errorf("%s", a.body)
	}
	if b := f.call(http.MethodPost, path, f.admin, `{"reason":"found it"}`, key("c")); string(b.body) != string(a.body) {
		t.Errorf("repeated: %s", b.body)
	}
	f.call(http.MethodPost, path, f.admin, `{"reason":"again"}`).refused(t, http.StatusConflict, fault.StateConflict)
	if next := f.startReset(contoso, pixel); next == id {
		t.Error("the device was not free")
	}
	var list struct{ Items []struct{ ID, State string } }
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/resets?state=open", f.admin, nil).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID == id {
		t.Errorf("open: %+v", list)
	}
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/resets?state=cancelled", f.admin, nil).into(t, &list)
	if len(list.Items) != 1 || list.Items[0].ID != id {
		t.Errorf("cancelled: %+v", list)
	}
}

func TestCodeIsShownOnlyWhereItIsRevealed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	base := "/v1/tenants/" + contoso + "/resets/" + id
	ask := `{"reason":"user on the phone","ticket":"INC-1"}`
	f.call(http.MethodPost, base+"/reveal", f.admin, ask).refused(t, http.StatusConflict, fault.NotRevealable)
	f.issue(contoso, id, canary)

	var answers []string
	for _, path := range []string{base, "/v1/tenants/" + contoso + "/resets", "/v1/tenants/" + contoso + "/audit", "/v1/tenants/" + contoso + "/devices/" + pixel} {
		a := f.call(http.MethodGet, path, f.admin, nil)
		a.want(t, http.StatusOK)
		answers = append(answers, string(a.body))
	}
	if !strings.Contains(answers[0], `"readable":true`) || strings.Contains(strings.Join(answers, ""), "sealed") {
		t.Errorf("%s", answers[0])
	}
	for what, body := range map[string]string{"no reason": `{}`, "blank reason": `{"reason":" "}`, "bidi": `{"reason":"a\u202eb"}`} {
		a := f.call(http.MethodPost, base+"/reveal", f.admin, body)
		a.refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
		answers = append(answers, what+string(a.body))
	}
	const views = 16
	var all sync.WaitGroup
	var mu sync.Mutex
	seen := map[int]bool{}
	for range views {
		all.Go(func() {
			a := f.call(http.MethodPost, base+"/reveal", f.admin, ask)
			var r struct {
				Passcode, DeviceName, User string
				Views                      int
			}
			a.into(t, &r)
			if a.status != http.StatusOK || r.Passcode != canary || r.User != hostileUser || a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %s", a.status, a.body)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen[r.Views] {
				t.Errorf("two answers of view %d", r.Views)
			}
			seen[r.Views] = true
		})
	}
	all.Wait()
	revealed := 0
	for _, action := range f.auditOf(contoso) {
		if action == "passcode.revealed" {
			revealed++
		}
	}
	if revealed != views || !seen[views] {
		t.Errorf("%d entries of %d views", revealed, views)
	}

	f.Advance(time.Hour)
	a := f.call(http.MethodPost, base+"/reveal", f.admin, ask)
	a.refused(t, http.StatusConflict, fault.NotRevealable)
	answers = append(answers, string(a.body))
	a = f.call(http.MethodGet, base, f.admin, nil)
	answers = append(answers, string(a.body), f.log.String())
	if strings.Contains(strings.Join(answers, ""), canary) {
		t.Error("the code is in an answer or in the log")
	}
	if !strings.Contains(f.log.String(), `"msg":"request"`) || strings.Contains(f.log.String(), "user on the phone") {
		t.Error("the log lacks requests, or has a body")
	}
}

func TestNothingIsShownWithoutARecord(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, canary)
	f.store.broken.Store(true)
	a := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/resets/"+id+"/reveal", f.admin, `{"reason":"user on the phone"}`)
	a.refused(t, http.StatusServiceUnavailable, fault.Unavailable)
	if a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "disk full") {
		t.Errorf("%v %s", a.header, a.body)
	}
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/devices/"+pixel+"/resets", f.admin, `{"reason":"x"}`).refused(t, http.StatusServiceUnavailable, fault.Unavailable)
	f.call(http.MethodGet, "/healthz", "", nil).want(t, http.StatusServiceUnavailable)
	f.store.broken.Store(false)
	a = f.call(http.MethodGet, "/healthz", "", nil)
	a.want(t, http.StatusOK)
	if string(a.body) != `{"status":"ok","store":"ok","version":"v1.2.3"}`+"\n" {
		t.Errorf("%s", a.body)
	}
	if !strings.Contains(f.log.String(), "disk full") {
		t.Error("the log does not say why")
	}
}

// TestRevealAfterADeviceChangedHands: the code of a device that got another user, was enrolled again or left Intune is shown to
// nobody, then or later; and while Graph can't say who has the device, nothing is shown but the code is kept.
func TestRevealAfterADeviceChangedHands(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*graph.ManagedDevice){
		"another user":   func(d *graph.ManagedDevice) { d.UserID = nowhere },
		"enrolled again": func(d *graph.ManagedDevice) { d.Enrolled = d.Enrolled.Add(time.Hour) },
		"left Intune":    func(d *graph.ManagedDevice) { d.ID = nowhere },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			id := f.startReset(contoso, pixel)
			f.issue(contoso, id, canary)
			reveal := "/v1/tenants/" + contoso + "/resets/" + id + "/reveal"
			why := map[string]any{"reason": "user on the phone"}

			f.fleet.fail(fault.After(time.Second, fault.GraphUnavailable, errors.New("no answer")))
			f.call(http.MethodPost, reveal, f.admin, why).refused(t, http.StatusServiceUnavailable, fault.GraphUnavailable)
			f.fleet.fail(nil)

			f.fleet.mu.Lock()
			devices := slices.Clone(f.fleet.devices[contoso])
			for i := range devices {
				if devices[i].ID == pixel {
					change(&devices[i])
				}
			}
			before := f.fleet.devices[contoso]
			f.fleet.devices[contoso] = devices
			f.fleet.mu.Unlock()
			for range 2 {
				f.call(http.MethodPost, reveal, f.admin, why).refused(t, http.StatusConflict, fault.NotRevealable)
				f.fleet.mu.Lock()
				f.fleet.devices[contoso] = before // back in the same hands: too late
				f.fleet.mu.Unlock()
			}
			if log := strings.Join(f.auditOf(contoso), "\n"); !strings.Contains(log, audit.PasscodeVoided) || strings.Contains(log, audit.PasscodeRevealed) {
				t.Errorf("audit:\n%s", log)
			}
		})
	}
}
