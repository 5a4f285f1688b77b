package web_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/approval"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

// two is a tenant with people in it: Hana of the help desk asks, Carla approves, Adele may do both.
type two struct {
	*fixture
	sim                *graphsim.Cloud
	base               string
	hana, carla, adele string // access tokens
	object             map[string]string
}

func twoPeople(t *testing.T, setting string) *two {
	t.Helper()
	f, sim := entraSignIn(t)
	w := &two{fixture: f, sim: sim, base: "/v1/tenants/" + graphsim.Contoso, object: map[string]string{}}
	token := func(name string) string {
		account := sampleAccount(t, sim, name+"@contoso.example")
		_, w.object[name], _ = strings.Cut(account, "/")
		return f.accessToken(t, sim, account)
	}
	w.hana, w.carla, w.adele = token("hana"), token("carla"), token("adele")
	for who, may := range map[string][]identity.Permission{
		"adele": {identity.ApprovalDecide}, "hana": {identity.BulkReset}, "carla": {identity.PasscodeReveal},
	} {
		f.call(http.MethodPost, w.base+"/grants", f.admin, map[string]any{"personTenant": graphsim.Contoso, "personObject": w.object[who],
			"name": who, "permissions": may, "days": 1, "reason": "a test"}).want(t, http.StatusCreated)
	}
	f.fleet.mu.Lock()
	// Their users' ids are spelt otherwise than the sign-in spells them: that must not make them other people.
	f.fleet.devices[graphsim.Contoso] = []graph.ManagedDevice{
		{ID: pixel, DeviceName: hostile, OperatingSystem: "AndroidEnterprise", UserPrincipalName: "sam@contoso.example", UserID: "sam"},
		{ID: laptop, DeviceName: "carlas", OperatingSystem: "AndroidEnterprise", UserPrincipalName: "carla@contoso.example", UserID: strings.ToUpper(w.object["carla"])},
		{ID: foreign, DeviceName: "hanas", OperatingSystem: "AndroidEnterprise", UserPrincipalName: "hana@contoso.example", UserID: strings.ToUpper(w.object["hana"])},
	}
	f.fleet.mu.Unlock()
	w.set(map[string]any{"secondPerson": setting})
	return w
}

func (w *two) set(change map[string]any) {
	w.t.Helper()
	w.call(http.MethodPatch, w.base+"/settings", w.admin, change).want(w.t, http.StatusOK)
}

func (w *two) askReset(token, device string) answer {
	return w.call(http.MethodPost, w.base+"/devices/"+device+"/resets", token, map[string]any{"reason": "forgot it", "ticket": "INC-1"})
}

func (w *two) approval(id string) (a struct{ State, Hash, Action string }) {
	w.t.Helper()
	w.call(http.MethodGet, w.base+"/approvals/"+id, w.admin, nil).into(w.t, &a)
	return a
}

func (w *two) approve(token, id string, options ...option) answer {
	w.t.Helper()
	return w.call(http.MethodPost, w.base+"/approvals/"+id+"/approve", token, map[string]any{"hash": w.approval(id).Hash}, options...)
}

// says checks that an answer is a refusal that tells why.
func (a answer) says(t *testing.T, status int, code fault.Code, text string) {
	t.Helper()
	a.refused(t, status, code)
	if !strings.Contains(string(a.body), text) {
		t.Errorf("it does not say %q: %s", text, a.body)
	}
}

// TestResetWaitsForASecondPerson: nothing is sent before somebody else approves, and then the reset begins under the id that it was
// given when it was asked for.
func TestResetWaitsForASecondPerson(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	asked := w.askReset(w.hana, pixel)
	asked.want(t, http.StatusAccepted)
	id := asked.field(t, "id")
	if state := asked.field(t, "state"); state != string(passcode.Unapproved) || w.queued(passcode.Queue) != 0 {
		t.Errorf("%s with %d messages", state, w.queued(passcode.Queue))
	}
	var waits struct {
		MayDecide bool
		Deciders  []string
		ExpiresAt time.Time
	}
	w.call(http.MethodGet, w.base+"/approvals/"+id, w.carla, nil).into(t, &waits)
	if !waits.MayDecide || !slices.Equal(waits.Deciders, []string{"adele"}) || !waits.ExpiresAt.Equal(started.Add(30*time.Minute)) {
		t.Errorf("%+v", waits)
	}
	w.approve(w.hana, id).refused(t, http.StatusForbidden, fault.Forbidden) // without the permission
	w.approve(w.admin, id).says(t, http.StatusForbidden, fault.Forbidden, "token")
	w.approve(w.carla, id, key("k")).want(t, http.StatusOK)
	w.approve(w.carla, id, key("k")).want(t, http.StatusOK) // sent twice is done once
	var reset struct{ State, ApprovedBy string }
	w.call(http.MethodGet, w.base+"/resets/"+id, w.hana, nil).into(t, &reset)
	if reset.State != string(passcode.Accepted) || !strings.HasPrefix(reset.ApprovedBy, "Carla") || w.queued(passcode.Queue) != 1 {
		t.Errorf("%+v with %d messages", reset, w.queued(passcode.Queue))
	}
	if log := w.auditOf(graphsim.Contoso)[:3]; !slices.Contains(log, audit.ApprovalGiven) || !slices.Contains(log, audit.ResetRequested) {
		t.Errorf("audit log %v", log)
	}
	// The requester sees the code of what was approved; somebody else needs an approval of her own.
	w.issue(graphsim.Contoso, id, canary)
	w.sameUser(id)
	see := map[string]any{"reason": "at the phone"}
	w.call(http.MethodPost, w.base+"/resets/"+id+"/reveal", w.hana, see).want(t, http.StatusOK)
	w.call(http.MethodPost, w.base+"/resets/"+id+"/reveal", w.carla, see).refused(t, http.StatusForbidden, fault.SecondPersonRequired)
}

// sameUser has the reset's device belong to whom it was made for, as the real function does when it calls the device.
func (w *two) sameUser(id string) {
	w.t.Helper()
	u := w.unit(graphsim.Contoso)
	r, err := passcode.Read(w.t.Context(), u, id)
	if err != nil {
		w.t.Fatal(err)
	}
	r.UserID = "sam"
	if err := passcode.Write(u, r); err != nil {
		w.t.Fatal(err)
	}
	w.commit(u)
}

// TestApprovalIsRefused: one's own, about one's own device, for another request, expired, used, declined. Each says so, and begins nothing.
func TestApprovalIsRefused(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	w.call(http.MethodPost, w.base+"/grants", w.admin, map[string]any{"personTenant": graphsim.Contoso, "personObject": w.object["hana"],
		"name": "hana", "permissions": []identity.Permission{identity.ApprovalDecide}, "days": 1, "reason": "a test"}).want(t, http.StatusCreated)

	mine := w.askReset(w.hana, pixel).field(t, "id")
	w.approve(w.hana, mine).says(t, http.StatusForbidden, fault.Forbidden, "yourself")
	w.askReset(w.hana, foreign).says(t, http.StatusForbidden, fault.Forbidden, "your own device")
	carlas := w.askReset(w.hana, laptop).field(t, "id")
	w.approve(w.carla, carlas).says(t, http.StatusForbidden, fault.Forbidden, "your own device")
	w.call(http.MethodPost, w.base+"/approvals/"+mine+"/approve", w.carla, map[string]any{"hash": w.approval(carlas).Hash}).
		says(t, http.StatusConflict, fault.ApprovalNotValid, "another request")
	w.approve(w.adele, carlas).want(t, http.StatusOK)
	w.approve(w.adele, carlas).says(t, http.StatusConflict, fault.ApprovalNotValid, "used")

	again := w.askReset(w.hana, pixel).field(t, "id")
	no := map[string]any{"hash": w.approval(again).Hash}
	w.call(http.MethodPost, w.base+"/approvals/"+again+"/decline", w.carla, no).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	no["reason"] = "nobody called"
	w.call(http.MethodPost, w.base+"/approvals/"+again+"/decline", w.carla, no).want(t, http.StatusOK)
	w.approve(w.adele, again).says(t, http.StatusConflict, fault.ApprovalNotValid, "declined")

	withdrawn := w.askReset(w.hana, pixel).field(t, "id")
	w.call(http.MethodPost, w.base+"/resets/"+withdrawn+"/cancel", w.hana, map[string]any{"reason": "wrong phone"}).want(t, http.StatusOK)
	w.approve(w.adele, withdrawn).refused(t, http.StatusConflict, fault.ApprovalNotValid)

	w.Advance(approval.Life)
	w.carla = w.accessToken(t, w.sim, sampleAccount(t, w.sim, "carla@contoso.example"))
	w.approve(w.carla, mine).says(t, http.StatusConflict, fault.ApprovalNotValid, "expired")
	if n := w.queued(passcode.Queue); n != 1 {
		t.Errorf("%d messages, of one approval", n)
	}
}

// TestTwoApproversAtOnce: of many who approve at the same moment one does, and one message is sent.
func TestTwoApproversAtOnce(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	id := w.askReset(w.hana, pixel).field(t, "id")
	hash := map[string]any{"hash": w.approval(id).Hash}
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		seen = map[int]int{}
	)
	for i := range 12 {
		all.Go(func() {
			a := w.call(http.MethodPost, w.base+"/approvals/"+id+"/approve", []string{w.carla, w.adele}[i%2], hash)
			mu.Lock()
			defer mu.Unlock()
			seen[a.status]++
		})
	}
	all.Wait()
	if seen[http.StatusOK] != 1 || seen[http.StatusConflict] != 11 || w.queued(passcode.Queue) != 1 {
		t.Errorf("statuses %v, %d messages", seen, w.queued(passcode.Queue))
	}
}

// TestRevealNeedsAnApprovalOfItsOwn: bound to the person and the words, and used once.
func TestRevealNeedsAnApprovalOfItsOwn(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "off")
	id := w.askReset(w.hana, pixel).field(t, "id")
	w.issue(graphsim.Contoso, id, canary)
	w.sameUser(id)
	w.set(map[string]any{"secondPerson": "every"}) // after the reset: nobody approved it
	reset := w.base + "/resets/" + id
	see := func(token, reason, approval string) answer {
		return w.call(http.MethodPost, reset+"/reveal", token, map[string]any{"reason": reason, "approval": approval})
	}
	see(w.hana, "at the phone", "").refused(t, http.StatusForbidden, fault.SecondPersonRequired)
	asked := w.call(http.MethodPost, reset+"/approval", w.hana, map[string]any{"reason": "at the phone"})
	asked.want(t, http.StatusAccepted)
	a := asked.field(t, "id")
	see(w.hana, "at the phone", a).says(t, http.StatusConflict, fault.ApprovalNotValid, "Nobody has approved")
	w.approve(w.adele, a).want(t, http.StatusOK)
	see(w.hana, "other words", a).says(t, http.StatusConflict, fault.ApprovalNotValid, "another request")
	see(w.carla, "at the phone", a).says(t, http.StatusConflict, fault.ApprovalNotValid, "another request")
	see(w.hana, "at the phone", "01J").refused(t, http.StatusNotFound, fault.NotFound)
	if shown := see(w.hana, "at the phone", a); shown.status != http.StatusOK || !strings.Contains(string(shown.body), canary) {
		t.Errorf("%d", shown.status)
	}
	see(w.hana, "at the phone", a).says(t, http.StatusConflict, fault.ApprovalNotValid, "used")

	late := w.call(http.MethodPost, reset+"/approval", w.hana, map[string]any{"reason": "once more"}).field(t, "id")
	w.approve(w.adele, late).want(t, http.StatusOK)
	w.Advance(approval.Life)
	w.hana = w.accessToken(t, w.sim, sampleAccount(t, w.sim, "hana@contoso.example"))
	see(w.hana, "once more", late).says(t, http.StatusConflict, fault.ApprovalNotValid, "expired")
	var shown struct{ Views int }
	if w.call(http.MethodGet, reset, w.admin, nil).into(t, &shown); shown.Views != 1 {
		t.Errorf("%d views", shown.Views)
	}
}

// TestBulkWaitsForASecondPerson: what is counted needs none; what is reset does, and begins under the id that it was given.
func TestBulkWaitsForASecondPerson(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "bulk")
	w.askReset(w.hana, pixel).want(t, http.StatusAccepted)
	if n := w.queued(passcode.Queue); n != 1 {
		t.Fatalf("%d messages: a single reset waits, too", n)
	}
	w.call(http.MethodPost, w.base+"/bulk-resets", w.hana, `{"all":true,"planOnly":true}`).want(t, http.StatusAccepted)
	before := w.queued(passcode.BulkQueue.Bulk())
	w.call(http.MethodPost, w.base+"/bulk-resets", w.hana, `{"all":true,"expected":3,"reason":"lost at the fair"}`).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	asked := w.call(http.MethodPost, w.base+"/bulk-resets", w.hana, `{"all":true,"expected":3,"planHash":"of-the-plan","reason":"lost at the fair"}`)
	asked.want(t, http.StatusAccepted)
	id := asked.field(t, "id")
	if state := w.call(http.MethodGet, w.base+"/bulk-resets/"+id, w.hana, nil).field(t, "state"); state != string(passcode.BulkUnapproved) || w.queued(passcode.BulkQueue.Bulk()) != before {
		t.Errorf("%s, %d messages", state, w.queued(passcode.BulkQueue.Bulk())-before)
	}
	w.call(http.MethodGet, w.base+"/resets/"+id, w.hana, nil).refused(t, http.StatusNotFound, fault.NotFound) // it is no reset
	w.approve(w.carla, id).want(t, http.StatusOK)
	var bulk struct{ ID, State, ApprovedBy string }
	w.call(http.MethodGet, w.base+"/bulk-resets/"+id, w.hana, nil).into(t, &bulk)
	if bulk.ID != id || bulk.State != string(passcode.BulkFinding) || bulk.ApprovedBy == "" || w.queued(passcode.BulkQueue.Bulk()) != before+1 {
		t.Errorf("%+v, %d messages", bulk, w.queued(passcode.BulkQueue.Bulk())-before)
	}
}

// TestPrivilegedUserNeedsASecondPerson: a role asks for one, no role does not, and what can't be read is neither.
func TestPrivilegedUserNeedsASecondPerson(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "privileged")
	w.fleet.holds(nil, "sam", "62e90394-69f5-4237-9190-012177145e10")
	if state := w.askReset(w.hana, pixel).field(t, "state"); state != string(passcode.Unapproved) {
		t.Errorf("with a role: %s", state)
	}
	w.fleet.holds(fault.After(3*time.Second, fault.GraphThrottled, errors.New("429")), "sam")
	w.askReset(w.hana, pixel).refused(t, http.StatusServiceUnavailable, fault.GraphThrottled)
	w.fleet.holds(fault.Permanent(fault.GraphForbidden, errors.New("403")), "sam")
	w.askReset(w.hana, pixel).refused(t, http.StatusBadGateway, fault.RankUnknown)
	w.fleet.holds(fmt.Errorf("read user: %w", graph.ErrNotFound), "sam")
	w.askReset(w.hana, pixel).refused(t, http.StatusBadGateway, fault.RankUnknown)
	if n := w.queued(passcode.Queue); n != 0 {
		t.Fatalf("%d messages", n)
	}
	w.fleet.holds(nil, "somebody else", "62e90394-69f5-4237-9190-012177145e10")
	accepted := w.askReset(w.hana, pixel)
	if state := accepted.field(t, "state"); state != string(passcode.Accepted) {
		t.Errorf("without a role: %s", state)
	}
	// The user got a role since: the code is not shown without an approval.
	id := accepted.field(t, "id")
	w.issue(graphsim.Contoso, id, canary)
	w.sameUser(id)
	w.fleet.holds(nil, "sam", "62e90394-69f5-4237-9190-012177145e10")
	w.call(http.MethodPost, w.base+"/resets/"+id+"/reveal", w.hana, map[string]any{"reason": "r"}).refused(t, http.StatusForbidden, fault.SecondPersonRequired)
}

// TestEventsGoRoundNobody: an event that asks for a reset can't wait for a second person, so it is refused.
func TestEventsGoRoundNobody(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	body := event(t, "e-1", "passcode.reset.requested.v1", graphsim.Contoso, map[string]any{"requestId": "req-1", "deviceId": pixel, "reason": "forgot it"})
	w.call(http.MethodPost, "/v1/events", w.admin, body).refused(t, http.StatusForbidden, fault.SecondPersonRequired)
	if n := w.queued(passcode.Queue); n != 0 {
		t.Errorf("%d messages", n)
	}
}

// TestEventTakesNoApprovalsID: a reset that waits for a second person has its id already. A sender who names the same one for another
// device would keep it from ever being approved, and be shown in its place.
func TestEventTakesNoApprovalsID(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "privileged")
	w.fleet.holds(nil, "sam", "62e90394-69f5-4237-9190-012177145e10")
	id := w.askReset(w.hana, pixel).field(t, "id")
	body := event(t, "e-1", "passcode.reset.requested.v1", graphsim.Contoso, map[string]any{"requestId": id, "deviceId": laptop, "reason": "forgot it"})
	w.call(http.MethodPost, "/v1/events", w.admin, body).refused(t, http.StatusConflict, fault.StateConflict)
	w.approve(w.adele, id).want(t, http.StatusOK)
	if device := w.call(http.MethodGet, w.base+"/resets/"+id, w.hana, nil).field(t, "deviceId"); device != pixel {
		t.Errorf("the reset that was approved is of %s", device)
	}
}

// TestSecondPersonInThePortal goes through the pages: the request waits where the requester is sent to, the approver finds it on the first
// page and on the tenant's, decides, and the requester sees the code; a colleague asks for an approval of her own.
func TestSecondPersonInThePortal(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	base := "/tenants/" + graphsim.Contoso
	person := func(name string) *browser {
		b := w.browser()
		b.signInAs(t, sampleAccount(t, w.sim, name+"@contoso.example"), "/").want(t, http.StatusOK)
		return b
	}
	hana, carla, adele := person("hana"), person("carla"), person("adele")
	shows := func(a answer, texts ...string) answer {
		t.Helper()
		a.want(t, http.StatusOK)
		a.sound(t, a.header.Get("Final-Path"))
		for _, text := range texts {
			if !strings.Contains(string(a.body), text) {
				t.Errorf("%s does not show %q", a.header.Get("Final-Path"), text)
			}
		}
		return a
	}
	page := shows(hana.post(base+"/devices/"+pixel+"/reset", url.Values{"key": {"k1"}, "reason": {"forgot it"}}), "Waits for a second person")
	_, id, _ := strings.Cut(page.header.Get("Final-Path"), "/resets/")
	at := base + "/approvals/" + id
	if a := shows(hana.get(at), "adele", "Approver", "30 min"); strings.Contains(string(a.body), `value="approve"`) {
		t.Error("the requester may decide")
	}
	shows(carla.get("/"), "1 for you to decide")
	shows(carla.get(base), at)
	shows(carla.get(at), `value="approve"`, w.approval(id).Hash)
	form := func(do, reason string) url.Values {
		return url.Values{"key": {w.newID()}, "do": {do}, "reason": {reason}, "hash": {w.approval(id).Hash}}
	}
	carla.post(at+"/decide", form("decline", "")).want(t, http.StatusUnprocessableEntity)
	carla.post(at+"/decide", form("perhaps", "")).want(t, http.StatusBadRequest)
	hana.post(at+"/decide", form("approve", "")).want(t, http.StatusForbidden)
	shows(carla.post(at+"/decide", form("approve", "")), "approved it", base+"/resets/"+id)
	shows(hana.get(base+"/resets/"+id), "Carla")
	if a := carla.get("/"); strings.Contains(string(a.body), "for you to decide") {
		t.Error("it is still to be decided")
	}

	w.issue(graphsim.Contoso, id, canary)
	w.sameUser(id)
	asked := shows(adele.post(base+"/resets/"+id+"/reveal", url.Values{"key": {"k2"}, "reason": {"Hana is ill"}}), "Hana is ill", "It waits for a second person")
	at = asked.header.Get("Final-Path")
	_, own, _ := strings.Cut(at, "/approvals/")
	carla.post(at+"/decide", url.Values{"key": {"k3"}, "do": {"approve"}, "hash": {w.approval(own).Hash}}).want(t, http.StatusOK)
	shows(adele.get(at), "Show the code")
	use := url.Values{"key": {"k4"}, "reason": {"Hana is ill"}, "approval": {own}}
	if a := adele.post(base+"/resets/"+id+"/reveal", use); a.status != http.StatusOK || !strings.Contains(string(a.body), "Temporary passcode") {
		t.Errorf("the code: %d", a.status)
	}
	adele.post(base+"/resets/"+id+"/reveal", use).want(t, http.StatusConflict)

	admin := w.browser().signIn(w.admin)
	off := url.Values{"passcodeHours": {"24"}, "resetDeadlineHours": {"24"}, "budgetHour": {"10"}, "budgetDay": {"30"}, "suspendAbove": {"0"}, "suspendMinutes": {"60"},
		"requireStepUp": {"when_available"}, "callerCheck": {"off"}, "secondPerson": {"off"}}
	shows(admin.post(base+"/settings", off), `<option value="off" selected>nothing</option><option value="bulk">`)
	shows(admin.get(base), "approves</dt><dd>nothing")
	if shown := hana.post(base+"/devices/"+pixel+"/reset", url.Values{"key": {"k5"}, "reason": {"forgot it"}}); strings.Contains(string(shown.body), "Waits for a second person") {
		t.Error("it waits although nothing does any more")
	}
}
