package web_test

import (
	"bytes"
	"net/http"
	"slices"
	"testing"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/subscription"
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

// TestOffboardEndsSubscriptions: Graph is told first, and one that it can't be told of holds nothing up.
func TestOffboardEndsSubscriptions(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.stuck = groupOfFabrikam
	f.subscribe(contoso, groupOfContoso, time.Hour)
	f.subscribe(contoso, groupOfFabrikam, time.Hour)
	f.subscribe(fabrikam, groupOfContoso, time.Hour)
	var done struct{ Rows, Left, Subscriptions, Unended int }
	a := f.call(http.MethodPost, "/v1/tenants/"+contoso+"/offboard", f.admin, map[string]any{"reason": "contract ended", "confirm": contoso})
	a.want(t, http.StatusOK)
	if a.into(t, &done); done.Subscriptions != 1 || done.Unended != 1 || done.Left != 0 || done.Rows == 0 {
		t.Errorf("offboarding says %+v", done)
	}
	if want := []string{contoso + " " + groupOfContoso}; !slices.Equal(f.ended, want) {
		t.Errorf("ended %v, want %v", f.ended, want)
	}
	entries, _, err := audit.List(t.Context(), f.rows, dispatch.SystemPartition, 10, "")
	if err != nil || len(entries) == 0 || entries[0].Change["subscriptions"] != "1" || entries[0].Change["unended"] != "1" {
		t.Errorf("the system's log says %+v (%v)", entries, err)
	}
}

// TestGraphNotificationsAreOptedInto where Graph can reach the callback, and nowhere else.
func TestGraphNotificationsAreOptedInto(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/settings"
	on, off := map[string]any{"graphNotifications": true}, map[string]any{"graphNotifications": false}
	_, messages := f.stored()
	f.call(http.MethodPatch, path, f.admin, on).refused(t, http.StatusConflict, fault.StateConflict)
	f.call(http.MethodPatch, path, f.admin, off).want(t, http.StatusOK)
	if _, m := f.stored(); m != messages {
		t.Errorf("%d messages of what is as it was", m-messages)
	}
	f.reachable = true
	f.server.Config.Handler = f.handler()
	asked := func() int {
		stats, err := f.rows.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range stats.Queues {
			if q.Queue == subscription.Queue.Bulk() {
				return int(q.Due)
			}
		}
		return 0
	}
	for i, body := range []map[string]any{on, on, off, off} {
		f.call(http.MethodPatch, path, f.admin, body).want(t, http.StatusOK)
		if n := asked(); n != i/2+1 {
			t.Errorf("after change %d, %d messages", i, n)
		}
	}
}
