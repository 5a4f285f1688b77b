package web_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

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
