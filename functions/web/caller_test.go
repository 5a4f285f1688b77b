package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/callercheck"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// called is a tenant whose callers are checked, with Sam, who has a phone and no access to anything.
type called struct {
	*two
	sam *browser
}

func checksCallers(t *testing.T, setting string) *called {
	t.Helper()
	w := twoPeople(t, "off")
	account := sampleAccount(t, w.sim, "sam@contoso.example")
	_, sam, _ := strings.Cut(account, "/")
	w.fleet.mu.Lock()
	w.fleet.devices[graphsim.Contoso] = []graph.ManagedDevice{
		{ID: pixel, DeviceName: "sams", OperatingSystem: "AndroidEnterprise", OSVersion: "14", EnrollmentType: "androidEnterpriseFullyManaged", UserPrincipalName: "sam@contoso.example", UserID: strings.ToUpper(sam)},
		{ID: laptop, DeviceName: "nobodys", OperatingSystem: "AndroidEnterprise"},
	}
	w.fleet.mu.Unlock()
	w.set(map[string]any{"callerCheck": setting})
	c := &called{w, w.browser()}
	if a := c.sam.signInAs(t, account, "/me/confirm"); a.status != http.StatusOK || a.header.Get("Final-Path") != "/me/confirm" {
		t.Fatalf("Sam is at %s with %d", a.header.Get("Final-Path"), a.status)
	}
	return c
}

func (c *called) code(token, path string) string {
	c.t.Helper()
	a := c.call(http.MethodPost, c.base+path+"/caller-check", token, nil)
	a.want(c.t, http.StatusCreated)
	return a.field(c.t, "code")
}

func types(b *browser, code string) answer {
	b.t.Helper()
	return b.post("/me/confirm", url.Values{"code": {code}})
}

// otherCode is six digits that are not the code's.
func otherCode(code string) string {
	if code[5] == '0' {
		return code[:5] + "1"
	}
	return code[:5] + "0"
}

// TestCallerConfirmsAReset: no reset before the device's own user has typed this operator's code, and one for each time.
func TestCallerConfirmsAReset(t *testing.T) {
	t.Parallel()
	c := checksCallers(t, "reset")
	device := "/devices/" + pixel
	c.askReset(c.hana, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
	code := c.code(c.hana, device)
	if !regexp.MustCompile(`^\d{6}$`).MatchString(code) {
		t.Fatalf("code %q", code)
	}
	c.askReset(c.hana, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)

	// Somebody else's sign-in with the right code, and a token, confirm nothing.
	carla := c.browser()
	carla.signInAs(t, sampleAccount(t, c.sim, "carla@contoso.example"), "/").want(t, http.StatusOK)
	types(carla, code).want(t, http.StatusUnprocessableEntity)
	types(c.browser().signIn(c.admin), code).want(t, http.StatusForbidden)
	c.askReset(c.hana, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)

	types(c.sam, otherCode(code)).want(t, http.StatusUnprocessableEntity)
	if a := types(c.sam, code[:3]+" "+code[3:]); a.status != http.StatusOK || !strings.Contains(string(a.body), "Confirmed") {
		t.Fatalf("%d %s", a.status, a.body)
	}
	types(c.sam, code).want(t, http.StatusUnprocessableEntity) // typed once
	if state := c.call(http.MethodGet, c.base+device+"/caller-check", c.hana, nil).field(t, "state"); state != "confirmed" {
		t.Errorf("for Hana it is %s", state)
	}
	c.askReset(c.adele, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed) // another operator was not called
	c.askReset(c.hana, pixel).want(t, http.StatusAccepted)
	if n := c.queued(passcode.Queue); n != 1 {
		t.Errorf("%d messages", n)
	}
	first := c.askReset(c.hana, pixel) // while it has not ended it is the answer, and nothing is to be confirmed
	first.want(t, http.StatusOK)
	c.call(http.MethodPost, c.base+"/resets/"+first.field(t, "id")+"/cancel", c.hana, map[string]any{"reason": "r"}).want(t, http.StatusOK)
	c.askReset(c.hana, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
	var confirmed int
	for _, action := range c.auditOf(graphsim.Contoso) {
		if action == audit.CallerConfirmed {
			confirmed++
		}
	}
	if confirmed != 1 {
		t.Errorf("%d confirmations in the audit log", confirmed)
	}
	c.call(http.MethodPost, c.base+"/devices/"+laptop+"/caller-check", c.hana, nil).refused(t, http.StatusConflict, fault.StateConflict)
	c.askReset(c.hana, laptop).refused(t, http.StatusForbidden, fault.CallerNotConfirmed) // of nobody, who can't confirm
	body := event(t, "e-1", "passcode.reset.requested.v1", graphsim.Contoso, map[string]any{"requestId": "req-1", "deviceId": pixel, "reason": "forgot it"})
	c.call(http.MethodPost, "/v1/events", c.admin, body).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
}

// TestCallersCodeEnds: after ten minutes, and after five wrong ones, even when they are typed at the same moment.
func TestCallersCodeEnds(t *testing.T) {
	t.Parallel()
	c := checksCallers(t, "reset")
	code := c.code(c.hana, "/devices/"+pixel)
	var all sync.WaitGroup
	for range callercheck.MaxTries {
		all.Go(func() { types(c.sam, otherCode(code)) })
	}
	all.Wait()
	types(c.sam, code).want(t, http.StatusUnprocessableEntity)
	if state := c.call(http.MethodGet, c.base+"/devices/"+pixel+"/caller-check", c.hana, nil).field(t, "state"); state != "locked" {
		t.Errorf("after five wrong ones it is %s", state)
	}
	again := c.code(c.hana, "/devices/"+pixel)
	if again == code {
		t.Error("the same code again")
	}
	c.Advance(callercheck.Life)
	types(c.sam, again).want(t, http.StatusUnprocessableEntity)

	code = c.code(c.hana, "/devices/"+pixel)
	types(c.sam, code).want(t, http.StatusOK)
	c.Advance(callercheck.Life)
	c.askReset(c.hana, pixel).refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
}

// TestCallerConfirmsAReveal: the reset needs nothing, and the code does.
func TestCallerConfirmsAReveal(t *testing.T) {
	t.Parallel()
	c := checksCallers(t, "reveal")
	id := c.askReset(c.hana, pixel).field(t, "id")
	c.issue(graphsim.Contoso, id, canary)
	u := c.unit(graphsim.Contoso)
	r, err := passcode.Read(t.Context(), u, id)
	if err != nil {
		t.Fatal(err)
	}
	r.UserID = c.fleet.devices[graphsim.Contoso][0].UserID
	if err := passcode.Write(u, r); err != nil {
		t.Fatal(err)
	}
	c.commit(u)
	see := func() answer {
		return c.call(http.MethodPost, c.base+"/resets/"+id+"/reveal", c.hana, map[string]any{"reason": "at the phone"})
	}
	see().refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
	types(c.sam, c.code(c.hana, "/resets/"+id)).want(t, http.StatusOK)
	see().want(t, http.StatusOK)
	see().want(t, http.StatusOK) // read out once more, in the same call
	c.Advance(callercheck.Life)
	see().refused(t, http.StatusForbidden, fault.CallerNotConfirmed)
}

// TestCallersCodeIsNotKept: who reads the log, the store or an address learns no caller's code, whether it was typed, mistyped or let be.
func TestCallersCodeIsNotKept(t *testing.T) {
	t.Parallel()
	c := checksCallers(t, "reset")
	hana := c.browser()
	hana.signInAs(t, sampleAccount(t, c.sim, "hana@contoso.example"), "/").want(t, http.StatusOK)
	device := "/tenants/" + graphsim.Contoso + "/devices/" + pixel
	var codes, addresses []string
	var operators string // the first page that shows a code
	for range 2 {
		code := c.code(c.hana, "/devices/"+pixel)
		page := hana.post(device+"/caller", url.Values{"key": {c.newID()}})
		shown := c.call(http.MethodGet, c.base+"/devices/"+pixel+"/caller-check", c.hana, nil) // Hana's newer one
		wrong := types(c.sam, otherCode(shown.field(t, "code")))
		if operators == "" {
			operators = string(page.body)
		}
		codes = append(codes, code, shown.field(t, "code"), otherCode(shown.field(t, "code")))
		right := types(c.sam, shown.field(t, "code"))
		right.want(t, http.StatusOK)
		addresses = append(addresses, page.header.Get("Final-Path"), wrong.header.Get("Final-Path"), right.header.Get("Final-Path"))
	}
	places := map[string]string{"the log": c.log.String(), "an address": strings.Join(addresses, "\n")}
	kept, err := c.rows.List(t.Context(), work.Query{Partition: graphsim.Contoso, Limit: 1000})
	if err != nil || kept.Next != "" {
		t.Fatalf("not every row was read: %v", err)
	}
	checks := 0
	for _, row := range kept.Rows {
		places["row "+row.Row] = row.Row + "\n" + string(row.Value)
		if strings.HasPrefix(row.Row, callercheck.Prefix) {
			checks++
		}
	}
	if checks != 1 || !strings.Contains(places["the log"], "/me/confirm") {
		t.Fatalf("%d rows of checks, or a log without the requests", checks)
	}
	whole := func(code string) *regexp.Regexp {
		return regexp.MustCompile(`(^|[^0-9A-Za-z])` + code + `([^0-9A-Za-z]|$)`)
	}
	if !whole(codes[1]).MatchString(operators) {
		t.Errorf("the search does not find the code on the operator's page: %s", operators)
	}
	for _, code := range codes {
		for place, text := range places {
			if whole(code).MatchString(text) {
				t.Errorf("%s has the code %s", place, code)
			}
		}
	}
}

// TestCallerInThePortal: the operator's page shows the code, waits by itself, and has the reset's form once the caller has confirmed.
// Who confirms sees nothing else.
func TestCallerInThePortal(t *testing.T) {
	t.Parallel()
	c := checksCallers(t, "reset")
	hana := c.browser()
	hana.signInAs(t, sampleAccount(t, c.sim, "hana@contoso.example"), "/").want(t, http.StatusOK)
	device := "/tenants/" + graphsim.Contoso + "/devices/" + pixel
	has := func(a answer, text string, want bool) {
		t.Helper()
		a.want(t, http.StatusOK)
		a.sound(t, device)
		if strings.Contains(string(a.body), text) != want {
			t.Errorf("%q shown: %t", text, !want)
		}
	}
	has(hana.get(device), device+"/reset", false)
	page := hana.post(device+"/caller", url.Values{"key": {"k1"}})
	has(page, "data-live", true)
	code := c.call(http.MethodGet, c.base+"/devices/"+pixel+"/caller-check", c.hana, nil).field(t, "code")
	has(page, code, true)
	types(c.sam, code).want(t, http.StatusOK)
	page = hana.get(device)
	has(page, device+"/reset", true)
	has(page, "data-live", false)
	hana.post(device+"/reset", url.Values{"key": {"k2"}, "reason": {"forgot it"}}).want(t, http.StatusOK)
	if n := c.queued(passcode.Queue); n != 1 {
		t.Errorf("%d messages", n)
	}
	c.sam.get("/").want(t, http.StatusForbidden)
	c.sam.get(device).want(t, http.StatusNotFound)
	c.sam.post(device+"/reset", url.Values{"key": {"k3"}, "reason": {"mine"}}).want(t, http.StatusNotFound)
	c.Advance(time.Minute)
	if a := c.browser().get("/me/confirm"); a.header.Get("Final-Path") != "/sign-in" {
		t.Errorf("nobody is at %s", a.header.Get("Final-Path"))
	}
}
