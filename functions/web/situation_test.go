package web_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/readiness"
	"pinreset/shared/survey"
)

// TestTenantPageShowsWhereItStands: assignments, drift, rollouts and people of one tenant, to who may see each.
func TestTenantPageShowsWhereItStands(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.audited(contoso, func(*readiness.TenantFacts) {})
	rollout := f.startRollout(contoso)
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/grants", f.admin, map[string]any{
		"personTenant": nowhere, "personObject": laptopObject, "name": "Kim <b>Park</b>", "permissions": []string{"tenant.read"}, "days": 1, "reason": "r",
	}).want(t, http.StatusCreated)
	u := f.unit(contoso)
	err := survey.WriteLast(u, survey.Last{
		Report: survey.Report{ID: f.newID(), Outcome: events.AuditWhole, At: f.Now(), Drift: []survey.Drift{{Code: fault.PolicyUnassigned, Detail: "a group is gone", RemedyID: rollout}}},
		Trend:  []survey.Point{{At: f.Now().Add(-24 * time.Hour), State: readiness.Ready, Targeted: 10, Succeeded: 4}, {At: f.Now(), State: readiness.Ready, Targeted: 10, Succeeded: 9, Drifts: 1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.commit(u)
	base := "/tenants/" + contoso
	whole := f.browser().signIn(f.admin).get(base + "?live=off")
	whole.want(t, http.StatusOK)
	whole.sound(t, base)
	for _, want := range []string{
		"PIN recovery</th>", laptops, "a group is gone", "/rollouts/" + rollout, "9 of 10, 90 %", "<polyline", "Kim &lt;b&gt;Park", "until Mon 23 Nov 2026", "/tenants/" + contoso + "/settings",
	} {
		if !strings.Contains(string(whole.body), want) {
			t.Errorf("the page lacks %q: %s", want, whole.body)
		}
	}
	f.Advance(25 * time.Hour)
	if later := f.browser().signIn(f.admin).get(base + "?live=off"); strings.Contains(string(later.body), "Kim") || !strings.Contains(string(later.body), "Nobody by a grant") {
		t.Error("a grant that ran out is still shown")
	}
	little := f.browser().signIn(f.may(identity.TenantRead)).get(base)
	little.want(t, http.StatusOK)
	for _, not := range []string{"People let in", "<h3>Rollouts"} {
		if strings.Contains(string(little.body), not) {
			t.Errorf("who may not sees %q", not)
		}
	}
}

// TestDevicePageShowsWhatIsKnown: what it said of itself, the ways out, and who did what with it.
func TestDevicePageShowsWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.known()
	f.audited(contoso, func(*readiness.TenantFacts) {})
	path := "/tenants/" + contoso + "/devices/" + laptop
	b := f.browser().signIn(f.admin)
	if a := b.get(path); strings.Contains(string(a.body), "What it said of itself") {
		t.Error("a device that said nothing is quoted")
	}
	f.tells("DestructiveAndNonDestructive")
	f.Advance(3 * time.Minute)
	a := b.get(path)
	a.want(t, http.StatusOK)
	a.sound(t, path)
	for _, want := range []string{"What it said of itself, 3 min 0 s ago", "<dt>canReset</dt><dd>DestructiveAndNonDestructive</dd>", `hx-get="` + path + `/readiness"`, "/audit?device=" + laptop} {
		if !strings.Contains(string(a.body), want) {
			t.Errorf("the page lacks %q: %s", want, a.body)
		}
	}
	if ways := b.get(path + "/readiness"); ways.status != http.StatusOK || !strings.Contains(string(ways.body), `<div id="ways"><details`) {
		t.Errorf("what is put into the page: %d %s", ways.status, ways.body)
	}
	if a := f.browser().signIn(f.may(identity.TenantRead, identity.DeviceRead)).get(path); strings.Contains(string(a.body), "/audit?device=") {
		t.Error("who may not read the log is led to it")
	}
}
