package web_test

import (
	"bytes"
	"net/http"
	"testing"

	"pinreset/shared/audit"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// TestOffboard: after it the tenant answers as one that never was, its tokens reach it no more, its neighbour has lost
// nothing, and the system's own log tells what was done.
func TestOffboard(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, canary)
	theirs := f.startReset(fabrikam, foreign)
	f.issue(fabrikam, theirs, canary)
	f.setAside(contoso, []byte("{}"))
	grant := func(tenants ...string) (id, text string) {
		return f.token(identity.Grant{Name: "desk", Tenants: tenants, Permissions: identity.Permissions(), Days: 1})
	}
	_, only := grant(contoso)
	_, both := grant(contoso, fabrikam)
	path := "/v1/tenants/" + contoso

	for what, body := range map[string]any{
		"no confirmation":  map[string]any{"reason": "contract ended", "confirm": ""},
		"another's id":     map[string]any{"reason": "contract ended", "confirm": fabrikam},
		"the display name": map[string]any{"reason": "contract ended", "confirm": "Contoso"},
		"no reason":        map[string]any{"confirm": contoso, "reason": ""},
	} {
		if a := f.call(http.MethodPost, path+"/offboard", f.admin, body); a.status < 400 || a.status > 499 {
			t.Errorf("%s: status %d", what, a.status)
		}
	}
	body := map[string]any{"reason": "contract ended", "confirm": contoso}
	f.call(http.MethodPost, path+"/offboard", only, body).refused(t, http.StatusForbidden, fault.Forbidden)
	f.call(http.MethodGet, path, f.admin, nil).want(t, http.StatusOK)

	var done struct{ Rows, Messages, Keys, Tokens, Left int }
	a := f.call(http.MethodPost, path+"/offboard", f.admin, body)
	a.want(t, http.StatusOK)
	a.into(t, &done)
	if done.Rows < 5 || done.Messages < 1 || done.Keys != 1 || done.Tokens != 2 || done.Left != 0 {
		t.Errorf("offboarding says %+v", done)
	}

	missing := f.call(http.MethodGet, "/v1/tenants/"+nowhere, f.admin, nil)
	for what, call := range map[string]answer{
		"the tenant":  f.call(http.MethodGet, path, f.admin, nil),
		"its resets":  f.call(http.MethodGet, path+"/resets", f.admin, nil),
		"its reset":   f.call(http.MethodGet, path+"/resets/"+id, f.admin, nil),
		"its code":    f.call(http.MethodPost, path+"/resets/"+id+"/reveal", f.admin, map[string]any{"reason": "x"}),
		"once more":   f.call(http.MethodPost, path+"/offboard", f.admin, body),
		"by a holder": f.call(http.MethodGet, path, both, nil),
	} {
		if call.status != http.StatusNotFound || !bytes.Equal(call.body, missing.body) {
			t.Errorf("%s: %d %s, want what a tenant that never was gets: %s", what, call.status, call.body, missing.body)
		}
	}
	f.call(http.MethodGet, "/v1/tenants", only, nil).refused(t, http.StatusUnauthorized, fault.Unauthenticated)
	f.call(http.MethodPost, "/v1/tenants/"+fabrikam+"/resets/"+theirs+"/reveal", both, map[string]any{"reason": "user on the phone"}).want(t, http.StatusOK)
	for _, s := range []work.Store{f.rows, f.ring} {
		if p, err := s.List(t.Context(), work.Query{Partition: contoso}); err != nil || len(p.Rows) != 0 {
			t.Errorf("%d rows are left: %v", len(p.Rows), err)
		}
	}
	entries, _, err := audit.List(t.Context(), f.rows, dispatch.SystemPartition, 10, "")
	if err != nil || len(entries) != 2 || entries[0].Action != audit.TenantOffboarded || entries[0].Change["state"] != "done" ||
		entries[0].Change["tenant"] != contoso || entries[0].Change["keys"] != "1" || entries[0].Reason != "contract ended" || entries[0].Actor.ID != f.adminID {
		t.Errorf("the system's log says %+v (%v)", entries, err)
	}
	// It can be looked after again, from the beginning.
	f.addTenant(contoso, "Contoso")
	if a := f.call(http.MethodGet, path+"/resets", f.admin, nil); a.status != http.StatusOK || bytes.Contains(a.body, []byte(id)) {
		t.Errorf("looked after again, its resets are %s", a.body)
	}
}
