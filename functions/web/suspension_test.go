package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

// TestAbnormalRateSuspends: whoever goes on asking after the budget is spent is stopped in this tenant, by whichever way the person comes,
// until an administrator lifts it; the failure and the audit log tell of it once. Another tenant and other people are not concerned.
func TestAbnormalRateSuspends(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "off")
	w.call(http.MethodPost, "/v1/tenants/"+contoso+"/grants", w.admin, map[string]any{"personTenant": graphsim.Contoso, "personObject": w.object["hana"],
		"name": "hana", "permissions": []identity.Permission{identity.TenantRead, identity.ResetStart}, "days": 1, "reason": "a test"}).want(t, http.StatusCreated)
	w.set(map[string]any{"budgetHour": 3, "suspendAbove": 6})
	ask := func(i int) answer { return w.askReset(w.hana, numbered(i)) }
	for i := range 3 {
		ask(i).want(t, http.StatusAccepted)
	}
	for i := range 3 {
		ask(3+i).refused(t, http.StatusTooManyRequests, fault.BudgetSpent)
	}
	var all sync.WaitGroup
	for i := range 4 { // at the same moment
		all.Go(func() { ask(6+i).refused(t, http.StatusForbidden, fault.PersonSuspended) })
	}
	all.Wait()
	if n := w.queued(passcode.Queue); n != 3 {
		t.Errorf("%d resets", n)
	}
	w.call(http.MethodGet, w.base+"/devices", w.hana, nil).refused(t, http.StatusForbidden, fault.PersonSuspended)
	b := w.browser()
	b.signInAs(t, sampleAccount(t, w.sim, "hana@contoso.example"), "/tenants/"+graphsim.Contoso).want(t, http.StatusForbidden)
	w.call(http.MethodGet, "/v1/tenants/"+contoso, w.hana, nil).want(t, http.StatusOK) // elsewhere she works on
	w.askReset(w.adele, pixel).want(t, http.StatusAccepted)

	var told, listed int
	for _, action := range w.auditOf(graphsim.Contoso) {
		if action == audit.PersonSuspended {
			told++
		}
	}
	var failures struct{ Items []struct{ Code fault.Code } }
	w.call(http.MethodGet, w.base+"/failures", w.admin, nil).into(t, &failures)
	for _, f := range failures.Items {
		if f.Code == fault.PersonSuspended {
			listed++
		}
	}
	if told != 1 || listed != 1 {
		t.Errorf("%d in the audit log, %d failures", told, listed)
	}

	// It does not end by itself, not by the suspended person, and once it is lifted the count begins anew.
	w.Advance(2 * time.Hour)
	w.hana = w.accessToken(t, w.sim, sampleAccount(t, w.sim, "hana@contoso.example"))
	ask(20).refused(t, http.StatusForbidden, fault.PersonSuspended)
	var list struct {
		Items []struct {
			ID     string
			Active bool
			Asked  int
		}
	}
	w.call(http.MethodGet, w.base+"/suspensions", w.admin, nil).into(t, &list)
	if len(list.Items) != 1 || !list.Items[0].Active || list.Items[0].Asked != 7 {
		t.Fatalf("%+v", list)
	}
	lift := w.base + "/suspensions/" + list.Items[0].ID + "/lift"
	w.call(http.MethodPost, lift, w.hana, map[string]any{"reason": "it was I"}).refused(t, http.StatusForbidden, fault.PersonSuspended)
	w.call(http.MethodPost, lift, w.admin, map[string]any{}).want(t, http.StatusUnprocessableEntity)
	w.call(http.MethodPost, lift, w.admin, map[string]any{"reason": "she tried a script"}).want(t, http.StatusOK)
	w.call(http.MethodPost, lift, w.admin, map[string]any{"reason": "again"}).refused(t, http.StatusConflict, fault.StateConflict)
	for i := range 3 {
		ask(21+i).want(t, http.StatusAccepted)
	}
}

// TestEventsAreCounted: whoever asks by events has the same budget, is told of it, and is stopped in the same way. An event that is sent
// twice, or for a device that has a reset, is counted no second time.
func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "off")
	w.set(map[string]any{"budgetHour": 3, "suspendAbove": 5})
	send := func(i, device int) answer {
		name := fmt.Sprint("req-", i)
		return w.call(http.MethodPost, "/v1/events", w.hana, event(t, name, "passcode.reset.requested.v1", graphsim.Contoso,
			map[string]any{"requestId": name, "deviceId": numbered(device), "reason": "forgot it"}))
	}
	for i := range 3 {
		send(i, i).want(t, http.StatusAccepted)
	}
	send(2, 2).want(t, http.StatusAccepted)
	send(30, 2).want(t, http.StatusAccepted)
	send(3, 3).refused(t, http.StatusTooManyRequests, fault.BudgetSpent)
	w.askReset(w.hana, numbered(4)).refused(t, http.StatusTooManyRequests, fault.BudgetSpent) // it is one budget
	send(5, 5).refused(t, http.StatusForbidden, fault.PersonSuspended)
	if n := w.queued(passcode.Queue); n != 3 {
		t.Errorf("%d resets", n)
	}
}

// TestSuspensionHasAWindow: as many over a longer time are somebody's work.
func TestSuspensionHasAWindow(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "off")
	w.set(map[string]any{"budgetHour": 100, "budgetDay": 100, "suspendAbove": 5, "suspendMinutes": 10})
	for i := range 12 {
		w.askReset(w.hana, numbered(i)).want(t, http.StatusAccepted)
		w.Advance(2 * time.Minute)
	}
	w.hana = w.accessToken(t, w.sim, sampleAccount(t, w.sim, "hana@contoso.example"))
	w.Advance(10 * time.Minute)
	for i := range 5 {
		w.askReset(w.hana, numbered(20+i)).want(t, http.StatusAccepted)
	}
	w.askReset(w.hana, numbered(30)).refused(t, http.StatusForbidden, fault.PersonSuspended) // within the budget
}

// TestSuspendedAsksForNothingMore: what a suspended person had asked for before begins no more.
func TestSuspendedAsksForNothingMore(t *testing.T) {
	t.Parallel()
	w := twoPeople(t, "every")
	w.set(map[string]any{"suspendAbove": 2})
	id := w.askReset(w.hana, pixel).field(t, "id")
	w.askReset(w.hana, laptop).want(t, http.StatusAccepted)
	w.askReset(w.hana, pixel).refused(t, http.StatusForbidden, fault.PersonSuspended)
	w.approve(w.adele, id).says(t, http.StatusConflict, fault.StateConflict, "suspended")
	if n := w.queued(passcode.Queue); n != 0 {
		t.Errorf("%d messages", n)
	}
	// The page of the people shows it, and lifts it.
	b := w.browser().signIn(w.admin)
	people := "/tenants/" + graphsim.Contoso + "/people"
	page := b.get(people)
	page.want(t, http.StatusOK)
	page.sound(t, people)
	who := identity.PersonID(graphsim.Contoso, w.object["hana"])
	if !strings.Contains(string(page.body), people+"/"+who+"/lift") {
		t.Errorf("no way to lift it: %s", page.body)
	}
	b.post(people+"/"+who+"/lift", url.Values{"key": {"k"}}).want(t, http.StatusUnprocessableEntity)
	if page := b.post(people+"/"+who+"/lift", url.Values{"key": {"k"}, "reason": {"she was asked"}}); strings.Contains(string(page.body), "Suspended") {
		t.Error(fmt.Sprint("still suspended, ", page.status))
	}
	w.approve(w.adele, id).want(t, http.StatusOK)
}
