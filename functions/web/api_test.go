package web_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

func TestTenantIsAddedOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := map[string]any{"tenantId": strings.ToUpper(nowhere), "displayName": "Northwind"}
	first := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	first.want(t, http.StatusAccepted)
	if got := first.header.Get("Location"); got != "/v1/tenants/"+nowhere {
		t.Errorf("location %q", got)
	}
	again := f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one"))
	if again.status != first.status || string(again.body) != string(first.body) || again.header.Get("Location") != first.header.Get("Location") {
		t.Errorf("repeated: %d %s, first %d %s", again.status, again.body, first.status, first.body)
	}
	f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("two")).refused(t, http.StatusConflict, fault.StateConflict)
	body["displayName"] = "Southwind"
	f.call(http.MethodPost, "/v1/tenants", f.admin, body, key("one")).refused(t, http.StatusUnprocessableEntity, fault.IdempotencyKeyReused)

	got, err := f.rows.Receive(t.Context(), "consent", 10)
	if err != nil || len(got) != 1 || got[0].Partition != nowhere {
		t.Fatalf("messages %+v, %v", got, err)
	}
	e, err := events.Parse(got[0].Body)
	if err != nil {
		t.Fatal(err)
	}
	if d, ok := e.Data.(events.TenantAdded); !ok || d.By.ID != f.adminID || d.DisplayName != "Northwind" || e.TraceParent == "" {
		t.Errorf("event %+v", e)
	}
	var shown struct{ Consent struct{ State string } }
	f.call(http.MethodGet, "/v1/tenants/"+nowhere, f.admin, nil).into(t, &shown)
	if shown.Consent.State != "pending" {
		t.Errorf("consent %q", shown.Consent.State)
	}
}

func TestTenantsOfTheToken(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	list := func(token, query string) (ids []string, next string) {
		t.Helper()
		var page struct {
			Items []struct{ ID string }
			Next  string
		}
		f.call(http.MethodGet, "/v1/tenants"+query, token, nil).into(t, &page)
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		return ids, page.Next
	}
	if ids, next := list(f.may(identity.TenantRead), ""); fmt.Sprint(ids) != fmt.Sprint([]string{contoso}) || next != "" {
		t.Errorf("%v %q", ids, next)
	}
	first, next := list(f.admin, "?limit=1")
	second, end := list(f.admin, "?limit=1&cursor="+next)
	if fmt.Sprint(first, second) != fmt.Sprint([]string{contoso}, []string{fabrikam}) {
		t.Errorf("%v %v", first, second)
	}
	if end != "" {
		if more, _ := list(f.admin, "?limit=1&cursor="+end); len(more) != 0 {
			t.Errorf("more: %v", more)
		}
	}
}

func TestConsentLinksAreMade(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	var c struct {
		State, Next string
		Steps       []struct{ Name, Link, Warning, WhyText string }
	}
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/consent", f.admin, nil).into(t, &c)
	if c.State != "pending" || c.Next != "service" || len(c.Steps) != 3 {
		t.Fatalf("%+v", c)
	}
	for _, s := range c.Steps {
		if !strings.Contains(s.Link, "/"+contoso+"/") || (s.Name != "app") != (s.Warning != "") {
			t.Errorf("step %+v", s)
		}
	}
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/consent", f.admin, map[string]any{}).want(t, http.StatusAccepted)
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/consent", f.admin, nil).want(t, http.StatusAccepted)
	got, err := f.rows.Receive(t.Context(), "consent", 10)
	if err != nil || len(got) != 2 {
		t.Errorf("%d messages, %v", len(got), err)
	}
}

func TestSettingsChangeIsRecordedAndAnnounced(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/settings"
	var s tenant.Settings
	f.call(http.MethodPatch, path, f.admin, `{"passcodeHours":24}`).into(t, &s)
	if s.PasscodeHours != 24 || s.ResetDeadlineHours != 24 {
		t.Errorf("%+v", s)
	}
	f.call(http.MethodPatch, path, f.admin, `{"passcodeHours":24}`).want(t, http.StatusOK)
	if got := f.auditOf(contoso); fmt.Sprint(got) != "[tenant.settings.changed]" {
		t.Errorf("audit %v", got)
	}
	got, err := f.rows.Receive(t.Context(), work.Announcements, 10)
	if err != nil || len(got) != 1 {
		t.Fatalf("%d messages, %v", len(got), err)
	}
	for _, bad := range []string{`{}`, `{"passcodeHours":0}`, `{"passcodeHours":169}`, `{"resetDeadlineHours":721}`, `{"passcodeHours":"24"}`, `{"hours":1}`} {
		f.call(http.MethodPatch, path, f.admin, bad).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	}
}

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
			if a.status != http.StatusOK || r.Passcode != canary || r.User != "kim@contoso.example" || a.header.Get("Cache-Control") != "no-store" {
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

func TestDevicesComeFromGraph(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/devices"
	var page struct {
		Items []struct {
			ID, Name    string
			Eligibility passcode.Eligibility
		}
		Next string
	}
	f.call(http.MethodGet, path+"?limit=1", f.admin, nil).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].ID != pixel || page.Items[0].Name != hostile || page.Next == "" {
		t.Fatalf("%+v", page)
	}
	cursor := page.Next
	page.Next = ""
	f.call(http.MethodGet, path+"?limit=1&cursor="+cursor, f.admin, nil).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].ID != laptop || page.Next != "" || page.Items[0].Eligibility.Answer != passcode.No {
		t.Errorf("%+v", page)
	}
	for search, want := range map[string]string{"hr-laptop-11": laptop, "LT-2": laptop, "kim@contoso.example": pixel, "nothing": ""} {
		page.Items = nil
		f.call(http.MethodGet, path+"?search="+search, f.admin, nil).into(t, &page)
		if want == "" && len(page.Items) != 0 || want != "" && (len(page.Items) != 1 || page.Items[0].ID != want) {
			t.Errorf("%s: %+v", search, page.Items)
		}
	}
	for _, c := range []struct {
		err    error
		status int
		code   fault.Code
		after  string
	}{
		{fault.After(1500*time.Millisecond, fault.GraphThrottled, errors.New("429")), 503, fault.GraphThrottled, "2"},
		{fault.After(time.Minute, fault.WaitingForPermit, nil), 503, fault.WaitingForPermit, "60"},
		{fault.Permanent(fault.AppNotConsented, errors.New("AADSTS700016")), 502, fault.AppNotConsented, ""},
		{fault.Permanent(fault.GraphForbidden, errors.New("403")), 502, fault.GraphForbidden, ""},
	} {
		f.fleet.fail(c.err)
		for _, p := range []string{path, path + "/" + pixel} {
			a := f.call(http.MethodGet, p, f.admin, nil)
			a.refused(t, c.status, c.code)
			if a.header.Get("Retry-After") != c.after {
				t.Errorf("%s: Retry-After %q", c.code, a.header.Get("Retry-After"))
			}
		}
	}
}

func TestPanicSaysNothingOfItsValue(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.fleet.explode("the code is " + canary)
	a := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+pixel, f.admin, nil)
	a.refused(t, http.StatusInternalServerError, fault.Internal)
	page := f.browser().signIn(f.admin).get("/tenants/" + contoso + "/devices")
	page.want(t, http.StatusInternalServerError)
	page.sound(t, "page of a panic")
	f.fleet.explode(nil)
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/devices/"+pixel, f.admin, nil).want(t, http.StatusOK)
	if strings.Contains(string(a.body)+string(page.body)+f.log.String(), canary) || !strings.Contains(f.log.String(), "panic of type string") {
		t.Errorf("%s", f.log.String())
	}
}

func TestCursorOpensOnlyItsOwnList(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	for _, d := range []string{pixel, laptop} {
		f.startReset(contoso, d)
		f.startReset(fabrikam, d)
	}
	path := "/v1/tenants/" + contoso + "/resets"
	cursor := f.call(http.MethodGet, path+"?limit=1", f.admin, nil).field(t, "next")
	f.call(http.MethodGet, path+"?cursor="+cursor, f.admin, nil).want(t, http.StatusOK)
	for what, a := range map[string]answer{
		"another token":  f.call(http.MethodGet, path+"?cursor="+cursor, f.may(identity.Permissions()...), nil),
		"another tenant": f.call(http.MethodGet, "/v1/tenants/"+fabrikam+"/resets?cursor="+cursor, f.admin, nil),
		"another list":   f.call(http.MethodGet, "/v1/tenants/"+contoso+"/audit?cursor="+cursor, f.admin, nil),
		"another filter": f.call(http.MethodGet, path+"?state=open&cursor="+cursor, f.admin, nil),
		"no cursor":      f.call(http.MethodGet, path+"?cursor=abc", f.admin, nil),
		"cut":            f.call(http.MethodGet, path+"?cursor="+cursor[:len(cursor)-3], f.admin, nil),
	} {
		t.Log(what)
		a.refused(t, http.StatusBadRequest, fault.InvalidRequest)
	}
}

func TestTokensThroughTheAPI(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := map[string]any{"name": "ticket system", "tenants": []string{contoso}, "permissions": []string{"tenant.read"}, "days": 30}
	a := f.call(http.MethodPost, "/v1/tokens", f.admin, body, key("t"))
	a.want(t, http.StatusCreated)
	token, id := a.field(t, "token"), a.field(t, "id")
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, "/v1/tenants/"+fabrikam, token, nil).refused(t, http.StatusNotFound, fault.NotFound)

	again := f.call(http.MethodPost, "/v1/tokens", f.admin, body, key("t"))
	if again.field(t, "id") != id || strings.Contains(string(again.body), token) {
		t.Errorf("repeated: %s", again.body)
	}
	list := f.call(http.MethodGet, "/v1/tokens", f.admin, nil)
	if !strings.Contains(string(list.body), id) || strings.Contains(string(list.body), "hash") || strings.Contains(string(list.body), token) {
		t.Errorf("%s", list.body)
	}
	_, weak := f.token(identity.Grant{Name: "weak", Tenants: []string{"*"}, Permissions: []identity.Permission{identity.GrantWrite}, Days: 1})
	f.call(http.MethodPost, "/v1/tokens", weak, body).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodPost, "/v1/tokens/"+id+"/revoke", f.admin, nil).want(t, http.StatusOK)
	f.call(http.MethodGet, "/v1/tenants/"+contoso, token, nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodPost, "/v1/tokens/nothing/revoke", f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	if strings.Contains(f.log.String(), token) {
		t.Error("the log has a token")
	}
}

func event(t *testing.T, id, kind, tenantID string, data map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "type": events.TypePrefix + kind, "source": "/tenants/" + tenantID, "time": started, "data": data,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestEventFromOutside(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	cloudEvent := header("Content-Type", "application/cloudevents+json")
	forged := map[string]any{"kind": "system", "id": "pinreset", "name": "not me"}
	ask := event(t, "evt-1", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "req-1", "deviceId": pixel, "reason": "ticket", "by": forged})

	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			a := f.call(http.MethodPost, "/v1/events", f.admin, ask, cloudEvent, key(""))
			if a.status != http.StatusAccepted || string(a.body) != `{"id":"evt-1","requestId":"req-1","location":"/v1/tenants/`+contoso+`/resets/req-1"}`+"\n" {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	all.Wait()
	var r struct{ By events.Actor }
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/resets/req-1", f.admin, nil).into(t, &r)
	if r.By.Kind != events.Sender || r.By.ID != f.adminID {
		t.Errorf("by %+v", r.By)
	}
	got, err := f.rows.Receive(t.Context(), passcode.Queue, 10)
	if err != nil || len(got) != 1 {
		t.Errorf("%d messages, %v", len(got), err)
	}
	other := strings.Replace(ask, "ticket", "tickets", 1)
	f.call(http.MethodPost, "/v1/events", f.admin, other, cloudEvent).refused(t, http.StatusUnprocessableEntity, fault.IdempotencyKeyReused)
	pending := event(t, "evt-2", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "req-2", "deviceId": pixel, "reason": "again"})
	if a := f.call(http.MethodPost, "/v1/events", f.admin, pending); a.field(t, "requestId") != "req-1" {
		t.Errorf("while one is pending: %s", a.body)
	}
	taken := event(t, "evt-3", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "req-1", "deviceId": laptop, "reason": "again"})
	f.call(http.MethodPost, "/v1/events", f.admin, taken).refused(t, http.StatusConflict, fault.StateConflict)

	f.call(http.MethodPost, "/v1/events", f.admin, event(t, "evt-4", "tenant.added.v1", nowhere, map[string]any{"requestId": "t-1", "displayName": "Northwind"})).want(t, http.StatusAccepted)
	f.call(http.MethodPost, "/v1/events", f.admin, event(t, "evt-5", "tenant.consent.requested.v1", contoso, map[string]any{"requestId": "c-1"})).want(t, http.StatusAccepted)
	f.call(http.MethodPost, "/v1/events", f.admin, event(t, "evt-6", "tenant.added.v1", contoso, map[string]any{"requestId": "t-2", "displayName": "C"})).refused(t, http.StatusConflict, fault.StateConflict)

	rows, messages := f.stored()
	for what, c := range map[string]struct {
		token, body string
		status      int
		code        fault.Code
	}{
		"a result":           {f.admin, event(t, "e", "passcode.expired.v1", contoso, map[string]any{"requestId": "r", "deviceId": pixel}), 422, fault.InvalidRequest},
		"unknown kind":       {f.admin, event(t, "e", "device.wiped.v1", contoso, map[string]any{}), 422, fault.InvalidRequest},
		"bad device":         {f.admin, event(t, "e", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "r", "deviceId": "x", "reason": "y"}), 422, fault.InvalidRequest},
		"unknown field":      {f.admin, event(t, "e", "tenant.consent.requested.v1", contoso, map[string]any{"requestId": "r", "force": true}), 422, fault.InvalidRequest},
		"not JSON":           {f.admin, "{", 400, fault.InvalidRequest},
		"empty":              {f.admin, "", 400, fault.InvalidRequest},
		"no tenant":          {f.admin, event(t, "e", "tenant.consent.requested.v1", "dddddddd-0000-4000-8000-000000000004", map[string]any{"requestId": "r"}), 404, fault.NotFound},
		"another's tenant":   {f.may(identity.Permissions()...), event(t, "e", "tenant.consent.requested.v1", fabrikam, map[string]any{"requestId": "r"}), 404, fault.NotFound},
		"another's to add":   {f.may(identity.Permissions()...), event(t, "e", "tenant.added.v1", "dddddddd-0000-4000-8000-000000000004", map[string]any{"requestId": "r", "displayName": "D"}), 404, fault.NotFound},
		"not allowed":        {f.may(identity.TenantRead), event(t, "e", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "r", "deviceId": laptop, "reason": "y"}), 403, fault.Forbidden},
		"not allowed to add": {f.may(identity.TenantRead, identity.TenantOnboard), event(t, "e", "tenant.added.v1", contoso, map[string]any{"requestId": "r", "displayName": "D"}), 403, fault.Forbidden},
	} {
		rows += map[bool]int{true: 2}[c.token != f.admin] // the test's own token
		t.Log(what)
		f.call(http.MethodPost, "/v1/events", c.token, c.body, cloudEvent).refused(t, c.status, c.code)
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("refused events left %d rows and %d messages", r-rows, m-messages)
	}
}

func TestDeadLetterIsReplayedOrDropped(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := []byte(event(t, "m", "passcode.reset.requested.v1", contoso, map[string]any{"requestId": "req-1", "deviceId": pixel, "reason": "x"}))
	diagID, letter := f.setAside(contoso, body)
	_, poison := f.setAside(contoso, []byte("not an event: "+canary))
	base := "/v1/tenants/" + contoso + "/deadletters"

	list := f.call(http.MethodGet, base, f.admin, nil)
	one := f.call(http.MethodGet, base+"/"+poison, f.admin, nil)
	if strings.Contains(string(list.body)+string(one.body), canary) || strings.Contains(string(list.body), `"body"`) {
		t.Errorf("a body is shown: %s %s", list.body, one.body)
	}
	if a := f.call(http.MethodGet, base+"/"+letter, f.admin, nil); !strings.Contains(string(a.body), `"deviceId":"`+pixel) {
		t.Errorf("%s", a.body)
	}
	var failed struct {
		Timeline []struct{ Steps []struct{ RequestID string } }
		Fix      []string
	}
	f.call(http.MethodGet, "/v1/tenants/"+contoso+"/failures/"+diagID, f.admin, nil).into(t, &failed)
	if len(failed.Timeline) != 1 || len(failed.Fix) == 0 || failed.Timeline[0].Steps[0].RequestID != "req-1" {
		t.Errorf("%+v", failed)
	}

	a := f.call(http.MethodPost, base+"/"+letter+"/replay", f.admin, `{"reason":"the cause is gone"}`, key("r"))
	a.want(t, http.StatusAccepted)
	if b := f.call(http.MethodPost, base+"/"+letter+"/replay", f.admin, `{"reason":"the cause is gone"}`, key("r")); string(b.body) != string(a.body) {
		t.Errorf("repeated: %s", b.body)
	}
	f.call(http.MethodPost, base+"/"+letter+"/replay", f.admin, `{"reason":"once more"}`).refused(t, http.StatusNotFound, fault.NotFound)
	got, err := f.rows.Receive(t.Context(), passcode.Queue, 10)
	if err != nil || len(got) != 1 || !strings.HasSuffix(got[0].ID, ".replay.1") || string(got[0].Body) != string(body) {
		t.Errorf("%+v, %v", got, err)
	}
	f.call(http.MethodPost, base+"/"+poison+"/drop", f.admin, `{"reason":"not ours"}`).want(t, http.StatusOK)
	f.call(http.MethodGet, base+"/"+poison, f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	if got := f.auditOf(contoso); fmt.Sprint(got) != "[deadletter.dropped deadletter.replayed]" {
		t.Errorf("audit %v", got)
	}
}

// badInput is what clients get wrong, and worse.
func TestBadInputChangesNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	reset := "/v1/tenants/" + contoso + "/devices/" + pixel + "/resets"
	f.call(http.MethodPost, reset, f.admin, `{"reason":"first"}`, key("used")).want(t, http.StatusAccepted)
	rows, messages := f.stored()
	chunked := func(n int64) io.Reader { return io.LimitReader(letters{}, n) }
	long := strings.Repeat("x", 501)
	type bad struct {
		what, path string
		body       any
		status     int
		code       fault.Code
		options    []option
	}
	cases := []bad{
		{"no body", reset, nil, 400, fault.InvalidRequest, nil},
		{"empty body", reset, "", 400, fault.InvalidRequest, nil},
		{"malformed JSON", reset, `{"reason":`, 400, fault.InvalidRequest, nil},
		{"not UTF-8", reset, "{\"reason\":\"\xff\xfe", 400, fault.InvalidRequest, nil},
		{"two values", reset, `{"reason":"x"}{"reason":"y"}`, 400, fault.InvalidRequest, nil},
		{"null", reset, `null`, 422, fault.InvalidRequest, nil},
		{"array", reset, `[]`, 422, fault.InvalidRequest, nil},
		{"number for text", reset, `{"reason":1}`, 422, fault.InvalidRequest, nil},
		{"null for text", reset, `{"reason":null}`, 422, fault.InvalidRequest, nil},
		{"unknown field", reset, `{"reason":"x","wipe":true}`, 422, fault.InvalidRequest, nil},
		{"no reason", reset, `{}`, 422, fault.InvalidRequest, nil},
		{"blank reason", reset, `{"reason":"  "}`, 422, fault.InvalidRequest, nil},
		{"long reason", reset, `{"reason":"` + long + `"}`, 422, fault.InvalidRequest, nil},
		{"long ticket", reset, `{"reason":"x","ticket":"` + long + `"}`, 422, fault.InvalidRequest, nil},
		{"control character", reset, `{"reason":"a\u0000b"}`, 422, fault.InvalidRequest, nil},
		{"line break", reset, `{"reason":"a\nb"}`, 422, fault.InvalidRequest, nil},
		{"right-to-left override", reset, `{"reason":"a\u202eb"}`, 422, fault.InvalidRequest, nil},
		{"zero-width space", reset, `{"reason":"a\u200bb"}`, 422, fault.InvalidRequest, nil},
		{"another media type", reset, `{"reason":"x"}`, 400, fault.InvalidRequest, []option{header("Content-Type", "application/xml")}},
		{"10 MB with a length", reset, strings.Repeat("x", 10<<20), 413, fault.RequestTooLarge, nil},
		{"10 MB in chunks", reset, chunked(10 << 20), 413, fault.RequestTooLarge, nil},
		{"event of 10 MB", "/v1/events", chunked(10 << 20), 413, fault.RequestTooLarge, nil},
		{"deep nesting", reset, strings.Repeat("[", 30000), 400, fault.InvalidRequest, nil},
		{"no idempotency key", reset, `{"reason":"x"}`, 400, fault.IdempotencyKeyMissing, []option{key("")}},
		{"long idempotency key", reset, `{"reason":"x"}`, 422, fault.InvalidRequest, []option{key(strings.Repeat("k", 129))}},
		{"idempotency key beyond ASCII", reset, `{"reason":"x"}`, 422, fault.InvalidRequest, []option{key("schlüssel")}},
		{"key with another body", reset, `{"reason":"second"}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"key with another path", "/v1/tenants/" + contoso + "/devices/" + laptop + "/resets", `{"reason":"first"}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"key with another call", "/v1/tenants/" + contoso + "/consent", `{}`, 422, fault.IdempotencyKeyReused, []option{key("used")}},
		{"device that is no GUID", "/v1/tenants/" + contoso + "/devices/pixel/resets", `{"reason":"x"}`, 404, fault.NotFound, nil},
		{"tenant that is no GUID", "/v1/tenants", `{"tenantId":"contoso.com","displayName":"C"}`, 422, fault.InvalidRequest, nil},
		{"tenant without a name", "/v1/tenants", `{"tenantId":"` + nowhere + `","displayName":""}`, 422, fault.InvalidRequest, nil},
		{"tenant with a bidi name", "/v1/tenants", `{"tenantId":"` + nowhere + `","displayName":"a\u2066b"}`, 422, fault.InvalidRequest, nil},
		{"token for ever", "/v1/tokens", `{"name":"n","tenants":["*"],"permissions":["tenant.read"],"days":3660}`, 422, fault.InvalidRequest, nil},
		{"token for what is not", "/v1/tokens", `{"name":"n","tenants":["*"],"permissions":["root"],"days":1}`, 422, fault.InvalidRequest, nil},
		{"token for nobody", "/v1/tokens", `{"name":"n","tenants":[],"permissions":["tenant.read"],"days":1}`, 422, fault.InvalidRequest, nil},
		{"setting out of range", "PATCH /v1/tenants/" + contoso + "/settings", `{"passcodeHours":1000000000000000000000}`, 422, fault.InvalidRequest, nil},
		{"limit 0", "GET " + "/v1/tenants?limit=0", nil, 422, fault.InvalidRequest, nil},
		{"limit 201", "GET " + "/v1/tenants?limit=201", nil, 422, fault.InvalidRequest, nil},
		{"limit in words", "GET " + "/v1/tenants?limit=ten", nil, 422, fault.InvalidRequest, nil},
		{"misspelt filter", "GET /v1/tenants/" + contoso + "/resets?stat=open", nil, 422, fault.InvalidRequest, nil},
		{"no such state", "GET /v1/tenants/" + contoso + "/resets?state=lost", nil, 422, fault.InvalidRequest, nil},
		{"long search", "GET /v1/tenants/" + contoso + "/devices?search=" + long, nil, 422, fault.InvalidRequest, nil},
		{"cursor of nobody", "GET /v1/tenants/" + contoso + "/devices?cursor=AAAA", nil, 400, fault.InvalidRequest, nil},
		{"long cursor", "GET /v1/tenants/" + contoso + "/devices?cursor=" + strings.Repeat("A", 3000), nil, 422, fault.InvalidRequest, nil},
	}
	for _, c := range cases {
		method, path := http.MethodPost, c.path
		if m, p, ok := strings.Cut(c.path, " "); ok {
			method, path = m, p
		}
		t.Run(c.what, func(t *testing.T) {
			a := f.call(method, path, f.admin, c.body, c.options...)
			a.refused(t, c.status, c.code)
			if text, ok := c.body.(string); ok && len(text) > 300 && strings.Contains(string(a.body), text[:300]) {
				t.Error("the refusal quotes the request")
			}
		})
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("bad input left %d rows and %d messages", r-rows, m-messages)
	}
	t.Logf("%d kinds of bad input", len(cases))
}

// letters is an endless reader.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestEveryAnswerHasItsHeaders(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	seen := map[string]bool{}
	for _, path := range []string{"/", "/sign-in", "/healthz", "/openapi.json", "/v1/tenants", "/nothing", "/problems/not_found", "/consent/callback", "/metrics", "/assets/style.css"} {
		a := f.call(http.MethodGet, path, "", nil, header("Accept", "text/html"))
		for name, want := range map[string]string{
			"Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff", "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if a.header.Get(name) != want {
				t.Errorf("%s: %s is %q", path, name, a.header.Get(name))
			}
		}
		csp := a.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if path != "/assets/style.css" && a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, a.header.Get("Cache-Control"))
		}
		id := a.header.Get("X-Correlation-Id")
		if len(id) != 32 || seen[id] {
			t.Errorf("%s: correlation id %q", path, id)
		}
		seen[id] = true
	}
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	a := f.call(http.MethodGet, "/healthz", "", nil, header("traceparent", "00-"+trace+"-00f067aa0ba902b7-01"))
	if a.header.Get("X-Correlation-Id") != trace {
		t.Errorf("does not go on with the caller's trace: %q", a.header.Get("X-Correlation-Id"))
	}
}

func TestMetricsAndProblems(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.call(http.MethodGet, "/metrics", "", nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodGet, "/metrics", f.may(identity.TenantRead), nil).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, "/metrics", f.may(identity.MetricsRead), nil).want(t, http.StatusOK)
	for _, code := range fault.Codes() {
		a := f.call(http.MethodGet, "/problems/"+string(code), "", nil)
		a.want(t, http.StatusOK)
		if a.field(t, "title") != fault.Lookup(code).Title {
			t.Errorf("%s: %s", code, a.body)
		}
		f.call(http.MethodGet, "/problems/"+string(code), "", nil, header("Accept", "text/html")).want(t, http.StatusOK)
	}
	f.call(http.MethodGet, "/problems/nothing", "", nil).refused(t, http.StatusNotFound, fault.NotFound)
}
