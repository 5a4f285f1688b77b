package web_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pinreset/functions/web/portal"
	"pinreset/shared/approval"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
)

// objects are what a tenant has, by kind of id.
type objects struct {
	tenant string
	ids    map[string]string
}

// furnish gives a tenant one of everything that has an id.
func (f *fixture) furnish(tenantID, device string) objects {
	f.t.Helper()
	reset := f.startReset(tenantID, device)
	failure, letter := f.setAside(tenantID, []byte("{}"))
	a := f.call(http.MethodPost, "/v1/tenants/"+tenantID+"/bulk-resets", f.admin, map[string]any{"all": true, "expected": 3, "reason": "lost"})
	a.want(f.t, http.StatusAccepted)
	token, _ := f.token(identity.Grant{Name: "operator", Tenants: []string{tenantID}, Permissions: identity.Permissions(), Days: 1})
	u := f.unit(tenantID)
	waits, err := approval.Ask(u, f.newID(), approval.Approval{Request: approval.Request{Action: approval.Reset, DeviceID: device, Reason: "a test"}, Why: approval.ForEvery})
	if err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
	rollout, audit := f.startRollout(tenantID), f.startAudit(tenantID)
	return objects{tenantID, map[string]string{"rollout": rollout, "audit": audit, "device": device, "reset": reset, "failure": failure, "dead letter": letter, "token": token, "bulk reset": a.field(f.t, "id"), "approval": waits.ID}}
}

// missing has ids of the same form and length, of things that are not there.
func (o objects) missing() objects {
	ids := map[string]string{}
	for kind, id := range o.ids {
		ids[kind] = id[:len(id)-6] + "999999"
	}
	return objects{nowhere, ids}
}

var kinds = []string{"approval", "rollout", "audit", "bulk reset", "device", "reset", "failure", "dead letter", "token"}

var freshID = regexp.MustCompile(`01\d{24}`)

// shape is all that a caller can tell about an answer, byte for byte, less what it sent itself and what is new each time.
func (a answer) shape(sent ...string) []byte {
	header := a.header.Clone()
	trace := header.Get("X-Correlation-Id")
	header.Del("X-Correlation-Id")
	header.Del("Date")
	var all bytes.Buffer
	fmt.Fprintln(&all, a.status)
	_ = header.Write(&all) // into memory
	all.Write(a.body)
	text := strings.ReplaceAll(all.String(), trace, "<trace>")
	for _, s := range sent {
		text = strings.ReplaceAll(text, s, "<sent>")
	}
	return []byte(freshID.ReplaceAllString(text, "<new>"))
}

// TestNothingTellsAnothersFromMissing asks, for each call that the API describes and each permission alone and all of
// them, after a tenant's own things, another tenant's, and things that are not there: by the tenant's id, the id of a device,
// reset, failure, dead letter or token, a cursor of another list, tenant or person, and an idempotency key that others used.
// Whatever is another's answers exactly as what is missing.
func TestNothingTellsAnothersFromMissing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	own, other := f.furnish(contoso, pixel), f.furnish(fabrikam, foreign)
	none := other.missing()
	for range 2 { // lists of more than one page
		f.setAside(fabrikam, []byte("{}"))
		f.setAside(contoso, []byte("{}"))
	}
	callers := map[string]string{"all permissions": f.may(identity.Permissions()...)}
	for _, p := range identity.Permissions() {
		callers[string(p)] = f.may(p)
	}
	colleague, stranger := f.may(identity.Permissions()...), f.admin

	cases, kindsSeen := 0, map[string]int{}
	same := func(what string, r route, caller string, a, b answer, sentA, sentB []string) {
		t.Helper()
		cases += 2
		kindsSeen[what]++
		if x, y := a.shape(sentA...), b.shape(sentB...); !bytes.Equal(x, y) {
			t.Errorf("%s %s, %s, with %s: another's differs from a missing one's:\n%s\n\n%s", r.method, r.path, what, caller, x, y)
		}
	}
	routes := append(f.routes(), route{method: http.MethodGet, path: "/tenants/{tenant}/diag/{id}"})
	for _, r := range routes {
		for caller, token := range callers {
			ask := func(o objects, kind, query string, options ...option) answer {
				return f.call(r.method, r.in(o.tenant, o.ids[kind])+query, token, r.body(), options...)
			}
			// The tenant is another's, or there is none; so is what is in it.
			if strings.Contains(r.path, "{tenant}") {
				for _, kind := range kinds {
					same("tenant", r, caller, ask(other, kind, ""), ask(none, kind, ""), []string{other.tenant, other.ids[kind]}, []string{none.tenant, none.ids[kind]})
					if !strings.Contains(r.path, "{id}") {
						break
					}
				}
			}
			// The tenant is one's own, and the id another's.
			if strings.Contains(r.path, "{id}") {
				for _, kind := range kinds {
					theirs, nobodys := objects{own.tenant, other.ids}, objects{own.tenant, none.ids}
					same(kind, r, caller, ask(theirs, kind, ""), ask(nobodys, kind, ""), []string{theirs.ids[kind]}, []string{nobodys.ids[kind]})
				}
			}
			// The cursor is another's.
			if r.paged {
				garbage := "?cursor=" + strings.Repeat("A", 60)
				kind := ""
				if strings.Contains(r.path, "{id}") {
					kind = r.idKind()
				}
				want := ask(own, kind, garbage)
				for _, from := range []struct{ what, path, token string }{
					{"cursor of another tenant", r.in(other.tenant, other.ids[kind]), stranger},
					{"cursor of a colleague", r.in(own.tenant, own.ids[kind]), colleague},
					{"cursor of another list", r.otherList(), token},
				} {
					if cursor := f.cursor(from.path, from.token); cursor != "" {
						same(from.what, r, caller, ask(own, kind, "?cursor="+url.QueryEscape(cursor)), want, nil, nil)
					}
				}
			}
			// The idempotency key was used by others, for something else.
			if r.keyed && strings.Contains(r.path, "{tenant}") {
				id := objects{own.tenant, none.ids} // what is asked for is not there, so that asking changes nothing
				used := fmt.Sprintf("used-%s-%s", caller, r.path)
				for _, by := range []struct {
					what, tenant, token string
				}{{"idempotency key of another tenant", fabrikam, stranger}, {"idempotency key of a colleague", contoso, colleague}} {
					f.call(http.MethodPost, "/v1/tenants/"+by.tenant+"/consent", by.token, "{}", key(used)).want(t, http.StatusAccepted)
					for _, kind := range kinds {
						same(by.what, r, caller, ask(id, kind, "", key(used)), ask(id, kind, "", key(fmt.Sprintf("fresh-%d", keys.Add(1)))), []string{used}, nil)
						if !strings.Contains(r.path, "{id}") {
							break
						}
					}
				}
			}
		}
	}

	// One's own answers otherwise: else everything above could be refused for a reason of its own.
	ownSeen, all := 0, callers["all permissions"]
	for _, r := range routes {
		if r.method != http.MethodGet || !strings.Contains(r.path, "{tenant}") {
			continue
		}
		kind := r.idKind()
		a := f.call(r.method, r.in(own.tenant, own.ids[kind]), all, nil)
		if a.status != http.StatusOK {
			t.Errorf("%s %s of one's own: %d %s", r.method, r.path, a.status, a.body)
		}
		for _, id := range append([]string{fabrikam, "secret-project-phone"}, other.ids["reset"], other.ids["failure"], other.ids["dead letter"]) {
			if bytes.Contains(a.body, []byte(id)) {
				t.Errorf("%s %s of one's own has %s of another tenant", r.method, r.path, id)
			}
		}
		ownSeen++
	}
	mine := callers["all permissions"]
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/consent", mine, "{}", key("mine")).want(t, http.StatusAccepted)
	f.call(http.MethodPost, "/v1/tenants/"+contoso+"/resets/"+own.ids["reset"]+"/cancel", mine, `{"reason":"a test"}`, key("mine")).
		refused(t, http.StatusUnprocessableEntity, fault.IdempotencyKeyReused)
	if cursor := f.cursor("/v1/tenants/"+contoso+"/failures", mine); cursor == "" {
		t.Error("no list has a second page")
	} else {
		f.call(http.MethodGet, "/v1/tenants/"+contoso+"/failures?cursor="+url.QueryEscape(cursor), mine, nil).want(t, http.StatusOK)
	}
	if cases < 2000 || ownSeen < 10 || len(kindsSeen) < 11 {
		t.Errorf("only %d cases, %d of one's own, kinds %v", cases, ownSeen, kindsSeen)
	}
	fmt.Printf("authorization cases=%d routes=%d callers=%d kinds=%v\n", cases+ownSeen, len(routes), len(callers), kindsSeen)
}

// idKind is the kind of the route's id.
func (r route) idKind() string {
	for part, kind := range map[string]string{"/devices/{id}": "device", "/resets/{id}": "reset", "/deadletters/{id}": "dead letter", "/tokens/{id}": "token", "/bulk-resets/{id}": "bulk reset", "/rollouts/{id}": "rollout", "/audits/{id}": "audit", "/approvals/{id}": "approval"} {
		if strings.Contains(r.path, part) {
			return kind
		}
	}
	return "failure"
}

// otherList is a list of Contoso that is not the route's.
func (r route) otherList() string {
	if strings.HasSuffix(r.path, "/failures") {
		return "/v1/tenants/" + contoso + "/deadletters"
	}
	return "/v1/tenants/" + contoso + "/failures"
}

// cursor is that of a list's second page, "" where it has none or is refused.
func (f *fixture) cursor(path, token string) string {
	f.t.Helper()
	a := f.call(http.MethodGet, path+"?limit=1", token, nil)
	if a.status != http.StatusOK {
		return ""
	}
	var list struct{ Next string }
	a.into(f.t, &list)
	return list.Next
}

// TestPagesTellNothingOfOthers does the same with every page, in browsers that are signed in for Contoso alone, with each permission and
// with all of them.
func TestPagesTellNothingOfOthers(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	own, other := f.furnish(contoso, pixel), f.furnish(fabrikam, foreign)
	none := other.missing()
	form := url.Values{
		"reason": {"a test"}, "name": {"x"}, "do": {"drop"}, "all": {"devices"}, "passcodeHours": {"24"}, "resetDeadlineHours": {"24"}, "budgetHour": {"400"}, "budgetDay": {"500"},
	}
	const everything = "all permissions"
	callers := map[string]*browser{everything: f.browser().signIn(f.may(identity.Permissions()...))}
	for _, p := range identity.Permissions() {
		b := f.browser()
		b.post("/sign-in", url.Values{"token": {f.may(p)}}) // most may not see the page that follows
		callers[string(p)] = b
	}
	cases, sent := 0, 0
	for _, pattern := range append(portal.Routes(), "GET /tenants/{tenant}/diag/{id}") {
		method, path, _ := strings.Cut(pattern, " ")
		r := route{method: method, path: path}
		for caller, b := range callers {
			ask := func(tenant, id string) answer {
				if method == http.MethodPost {
					sent++
					form.Set("key", fmt.Sprintf("%032x", sent)) // one that was used would tell of itself
					return b.post(r.in(tenant, id), form)
				}
				return b.get(r.in(tenant, id))
			}
			for _, kind := range kinds {
				for _, where := range [][2]string{{fabrikam, nowhere}, {contoso, contoso}} {
					if where[0] == contoso && (!strings.Contains(path, "{id}") || method == http.MethodPost && kind == "device") {
						continue // not about another's; or a device that is looked for once the reset runs
					}
					x, y := ask(where[0], other.ids[kind]), ask(where[1], none.ids[kind])
					if !bytes.Equal(x.shape(where[0], other.ids[kind]), y.shape(where[1], none.ids[kind])) {
						t.Errorf("%s, %s, with %s: another's differs from a missing one's:\n%s\n\n%s", pattern, kind, caller, x.shape(), y.shape())
					}
					if x.status != http.StatusNotFound && (where[0] == fabrikam || caller == everything) {
						t.Errorf("%s, %s, with %s: another's answers %d", pattern, kind, caller, x.status)
					}
					cases += 2
				}
				if !strings.Contains(path, "{id}") {
					break
				}
			}
			if a := ask(contoso, own.ids[r.idKind()]); method == http.MethodGet && caller == everything && a.status != http.StatusOK && !(strings.HasSuffix(path, "/events") && a.status == http.StatusNoContent) {
				t.Errorf("%s of one's own: %d", pattern, a.status)
			}
		}
	}
	if cases < 5000 {
		t.Errorf("%d cases", cases)
	}
	t.Logf("%d cases", cases)
}
