package web_test

import (
	"net/http"
	"strings"
	"testing"

	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/portal"
	"pinreset/shared/work"
)

const someGroup = "5c2f9e1a-4b8d-4e37-a6f0-d1937b24c85e"

func TestBulkResetOverHTTP(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/bulk-resets"
	for what, body := range map[string]string{
		"neither group nor all": `{"expected":3,"reason":"lost"}`, "both": `{"all":true,"group":"` + someGroup + `","expected":3,"reason":"lost"}`,
		"nothing expected": `{"all":true,"reason":"lost"}`, "no reason": `{"all":true,"expected":3}`, "no group's id": `{"group":"pilot","expected":3,"reason":"lost"}`,
		"a plan that expects": `{"all":true,"planOnly":true,"expected":3,"reason":"lost"}`, "less than none": `{"all":true,"expected":-1,"reason":"lost"}`,
	} {
		rows, messages := f.stored()
		if a := f.call(http.MethodPost, path, f.admin, body); a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if r, m := f.stored(); r != rows || m != messages {
			t.Errorf("%s left %d rows and %d messages", what, r-rows, m-messages)
		}
	}
	// Who may reset one device may not reset many.
	f.call(http.MethodPost, path, f.may(without(identity.BulkReset)...), `{"all":true,"expected":3,"reason":"lost"}`).refused(t, http.StatusForbidden, fault.Forbidden)

	// Whoever only counts needs no reason.
	f.call(http.MethodPost, path, f.admin, `{"all":true,"planOnly":true}`).want(t, http.StatusAccepted)
	planned := f.queued(passcode.BulkQueue.Bulk())

	ask := map[string]any{"group": strings.ToUpper(someGroup), "expected": 3, "reason": "lost at the fair", "ticket": "INC-7"}
	first := f.call(http.MethodPost, path, f.admin, ask, key("bulk"))
	first.want(t, http.StatusAccepted)
	again := f.call(http.MethodPost, path, f.admin, ask, key("bulk"))
	again.want(t, http.StatusAccepted)
	id := first.field(t, "id")
	if again.field(t, "id") != id || first.header.Get("Location") != path+"/"+id || first.field(t, "group") != someGroup {
		t.Errorf("first %s, repeated %s", first.body, again.body)
	}
	if q := f.queued(passcode.BulkQueue.Bulk()) - planned; q != 1 {
		t.Errorf("%d messages for one bulk reset", q)
	}
	f.call(http.MethodGet, path+"/"+id+"/items", f.admin, nil).want(t, http.StatusOK)
	f.call(http.MethodPost, path+"/"+id+"/cancel", f.admin, map[string]any{"reason": "found them"}).want(t, http.StatusOK)
	f.call(http.MethodPost, path+"/"+id+"/cancel", f.admin, map[string]any{"reason": "again"}).refused(t, http.StatusConflict, fault.StateConflict)
	if state := f.call(http.MethodGet, path+"/"+id, f.admin, nil).field(t, "state"); state != string(passcode.BulkCancelled) {
		t.Errorf("it is %s", state)
	}
}

func (f *fixture) queued(q work.Queue) (n int) {
	f.t.Helper()
	stats, err := f.rows.Stats(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, s := range stats.Queues {
		if s.Queue == q {
			n += int(s.Due + s.Later)
		}
	}
	return n
}

// TestRecordOfThePortal takes what a diagnostic setting of Intune sends, by its own permission and once.
func TestRecordOfThePortal(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	body := event(t, "rec-1", "portal.action.recorded.v1", contoso, map[string]any{"requestId": "hub-1", "record": map[string]any{"records": []any{map[string]any{"news": 1}}}})
	send := func(token string) answer { return f.call(http.MethodPost, "/v1/events", token, body) }
	send(f.may(without(identity.PortalRecord)...)).refused(t, http.StatusForbidden, fault.Forbidden)
	for range 2 {
		send(f.may(identity.PortalRecord)).want(t, http.StatusAccepted)
	}
	if n := f.queued(portal.Queue.Bulk()); n != 1 {
		t.Errorf("%d messages for one event", n)
	}
}
