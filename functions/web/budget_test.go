package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
)

func numbered(i int) string { return fmt.Sprintf("11111111-0000-4000-8000-%012d", 100+i) }

// TestBudgetOfAPerson: the eleventh reset in an hour is refused to a person who signed in, nothing of it is left but the alarm, of which
// there is one, and a colleague's token is not concerned.
func TestBudgetOfAPerson(t *testing.T) {
	t.Parallel()
	f, sim := entraSignIn(t)
	hana := f.browser()
	hana.signInAs(t, sampleAccount(t, sim, "hana@contoso.example"), "/").want(t, http.StatusOK)
	base := "/tenants/" + graphsim.Contoso
	ask := func(i int) answer {
		return hana.post(base+"/devices/"+numbered(i)+"/reset", url.Values{"key": {fmt.Sprint("key-", i)}, "reason": {"forgot it"}})
	}
	for i := range 10 {
		ask(i).want(t, http.StatusOK)
	}
	ask(9).want(t, http.StatusOK) // sent twice is asked once
	before, _, err := passcode.List(t.Context(), f.rows, graphsim.Contoso, 100, "")
	if err != nil || len(before) != 10 {
		t.Fatalf("%d resets, %v", len(before), err)
	}
	for range 2 {
		a := ask(10)
		a.want(t, http.StatusTooManyRequests)
		if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), string(fault.BudgetSpent)) {
			t.Errorf("Retry-After %q: %s", a.header.Get("Retry-After"), a.body)
		}
	}
	after, _, err := passcode.List(t.Context(), f.rows, graphsim.Contoso, 100, "")
	if err != nil || len(after) != 10 {
		t.Errorf("%d resets, %v", len(after), err)
	}
	if alarms := slices.DeleteFunc(f.auditOf(graphsim.Contoso), func(action string) bool { return action != audit.BudgetSpent }); len(alarms) != 1 {
		t.Errorf("%d alarms", len(alarms))
	}
	f.call(http.MethodPost, "/v1"+base+"/devices/"+numbered(20)+"/resets", f.admin, map[string]any{"reason": "forgot it"}).want(t, http.StatusAccepted)
	f.Advance(time.Hour)
	hana.signInAs(t, sampleAccount(t, sim, "hana@contoso.example"), "/").want(t, http.StatusOK)
	ask(10).want(t, http.StatusOK)
}

// TestBudgetOfReveals: codes that are seen are counted apart from resets, with a token too where the tenant chose so, and one that is
// refused is no view.
func TestBudgetOfReveals(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.call(http.MethodPatch, "/v1/tenants/"+contoso+"/settings", f.admin, map[string]any{"budgetHour": 0}).want(t, http.StatusUnprocessableEntity)
	f.call(http.MethodPatch, "/v1/tenants/"+contoso+"/settings", f.admin, map[string]any{"budgetHour": 2, "budgetDay": 2, "tokenBudget": true}).want(t, http.StatusOK)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, canary)
	at := "/v1/tenants/" + contoso + "/resets/" + id
	see := func() answer {
		return f.call(http.MethodPost, at+"/reveal", f.admin, map[string]any{"reason": "user on the phone"})
	}
	see().want(t, http.StatusOK)
	see().want(t, http.StatusOK)
	over := see()
	over.refused(t, http.StatusTooManyRequests, fault.BudgetSpent)
	if strings.Contains(string(over.body), canary) {
		t.Error("the code")
	}
	var shown struct{ Views int }
	if f.call(http.MethodGet, at, f.admin, nil).into(t, &shown); shown.Views != 2 {
		t.Errorf("%d views", shown.Views)
	}
	f.startReset(contoso, numbered(1)) // the second reset: counted apart
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/devices/"+numbered(2)+"/resets", f.admin, map[string]any{"reason": "forgot it"}).
		refused(t, http.StatusTooManyRequests, fault.BudgetSpent)
}
