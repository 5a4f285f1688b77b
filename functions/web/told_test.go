package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
	"pinreset/shared/work"
)

const (
	toldAt   = "/v1/tenants/" + contoso + "/notifications"
	toldSet  = toldAt + "/settings"
	hookAt   = "https://hook.contoso.example/in?token=hidden-path"
	elseHook = "https://other.contoso.example/in?token=hidden-path"
)

// opened is what the webhook of Contoso has sealed.
func (f *fixture) opened() notice.Opened {
	f.t.Helper()
	s, err := notice.Read(f.t.Context(), f.unit(contoso))
	if err != nil {
		f.t.Fatal(err)
	}
	o, _, err := notice.NewSeals(f.kek).Open(f.t.Context(), contoso, events.NoticeByWebhook, s.Webhook)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// TestNotificationSettings: each change is recorded and announced, the webhook's key is shown once, and its address never.
func TestNotificationSettings(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	first := f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"contact": "desk@contoso.example", "mailContact": true, "webhook": hookAt, "reason": "people ask"})
	first.want(t, http.StatusOK)
	key := first.field(t, "webhookKey")
	if o := f.opened(); !strings.HasPrefix(key, "whsec_") || o.Key != key || o.Address != hookAt {
		t.Fatalf("key %q, sealed %q and %q", key, o.Key, o.Address)
	}
	var s struct {
		Contact                           string
		MailUser, MailContact, MailServer bool
		Webhook, Teams                    struct {
			On   bool
			Host string
		}
	}
	shown := f.call(http.MethodGet, toldSet, f.may(identity.TenantRead), nil)
	shown.into(t, &s)
	if s.Contact != "desk@contoso.example" || !s.MailContact || s.MailUser || s.MailServer || !s.Webhook.On || s.Webhook.Host != "hook.contoso.example" || s.Teams.On {
		t.Errorf("%s", shown.body)
	}
	f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"contact": "desk@contoso.example", "mailContact": true}).want(t, http.StatusOK) // as it is
	moved := f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"webhook": elseHook, "webhookOn": false})
	moved.want(t, http.StatusOK)
	if o := f.opened(); o.Key != key || o.Address != elseHook {
		t.Errorf("moved: sealed %q and %q", o.Key, o.Address)
	}
	if got := f.auditOf(contoso); fmt.Sprint(got) != "[tenant.notifications.changed tenant.notifications.changed]" {
		t.Errorf("log %v", got)
	}
	log := f.call(http.MethodGet, "/v1/tenants/"+contoso+"/audit", f.admin, nil)
	if !strings.Contains(string(log.body), "people ask") || !strings.Contains(string(log.body), "hook.contoso.example → other.contoso.example") {
		t.Errorf("log %s", log.body)
	}
	if got, err := f.rows.Receive(t.Context(), work.Announcements, 10); err != nil || len(got) != 2 {
		t.Errorf("%d announcements, %v", len(got), err)
	}
	for what, text := range map[string]string{"settings": string(shown.body), "a change": string(moved.body), "the log": string(log.body), "the server's log": f.log.String()} {
		if strings.Contains(text, "hidden-path") || strings.Contains(text, key) {
			t.Errorf("%s shows the address or the key", what)
		}
	}
	f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"webhook": ""}).want(t, http.StatusOK)
	if s, err := notice.Read(t.Context(), f.unit(contoso)); err != nil || len(s.Webhook.Sealed) != 0 || s.Webhook.On {
		t.Errorf("removed: %+v, %v", s, err)
	}
}

// TestNotificationSettingsRefused: what is wrong is named, and changes nothing.
func TestNotificationSettingsRefused(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	rows, messages := f.stored()
	for body, field := range map[string]string{
		`{}`:                 "body",
		`{"reason":"only"}`:  "body",
		`{"contact":"desk"}`: "body.contact",
		`{"contact":"Desk <desk@contoso.example>"}`:                             "body.contact",
		`{"contact":"desk@contoso.example\r\nBcc: x@evil.example"}`:             "body.contact",
		`{"mailContact":true}`:                                                  "body.contact",
		`{"webhook":"http://hook.contoso.example"}`:                             "body.webhook",
		`{"webhook":"https://kim:hidden-path@hook.contoso.example"}`:            "body.webhook",
		`{"webhook":"file:///etc/passwd"}`:                                      "body.webhook",
		`{"teams":"https://hook.contoso.example/\u0000hidden-path"}`:            "body.teams",
		`{"webhookOn":true}`:                                                    "body.webhookOn",
		`{"teamsOn":true}`:                                                      "body.teamsOn",
		`{"mailUser":true,"reason":"a\u2066b"}`:                                 "body.reason",
		`{"webhook":"https://hook.contoso.example/#f","reason":"a fragment x"}`: "body.webhook",
	} {
		a := f.call(http.MethodPatch, toldSet, f.admin, body)
		a.refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
		if !strings.Contains(string(a.body), `"`+field+`"`) || strings.Contains(string(a.body), "hidden-path") {
			t.Errorf("%s: %s", body, a.body)
		}
	}
	f.call(http.MethodPost, toldAt+"/webhook-key", f.admin, map[string]any{}, key("none")).refused(t, http.StatusConflict, fault.StateConflict)
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("refused changes left %d rows and %d messages", r-rows, m-messages)
	}
}

// TestWebhookKeyIsRotated: the new key is in the first answer alone, and the address and what is off stay.
func TestWebhookKeyIsRotated(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	old := f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"webhook": hookAt}).field(t, "webhookKey")
	f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"webhookOn": false}).want(t, http.StatusOK)
	f.Advance(1)
	a := f.call(http.MethodPost, toldAt+"/webhook-key", f.admin, map[string]any{"reason": "it leaked"}, key("k"))
	a.want(t, http.StatusCreated)
	made := a.field(t, "key")
	if o := f.opened(); made == old || o.Key != made || o.Address != hookAt {
		t.Errorf("made %q after %q, sealed %+v", made, old, o)
	}
	again := f.call(http.MethodPost, toldAt+"/webhook-key", f.admin, map[string]any{"reason": "it leaked"}, key("k"))
	again.want(t, http.StatusCreated)
	if strings.Contains(string(again.body), "whsec_") || f.opened().Key != made {
		t.Errorf("repeated: %s", again.body)
	}
	if s, err := notice.Read(t.Context(), f.unit(contoso)); err != nil || s.Webhook.On {
		t.Errorf("%+v, %v", s, err)
	}
	p, err := f.rows.List(t.Context(), work.Query{Partition: contoso, Limit: 1000})
	for _, row := range p.Rows {
		if strings.Contains(string(row.Value), made) || strings.Contains(string(row.Value), "hidden-path") {
			t.Errorf("row %s has the key or the address", row.Row)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestNotificationsAreListed, a page at a time, newest first.
func TestNotificationsAreListed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	u := f.unit(contoso)
	for i := range 3 {
		d := notice.Delivery{ID: fmt.Sprintf("%s-%s", f.newID(), events.NoticeByMailUser), Channel: events.NoticeByMailUser, What: events.NoticeResetStarted,
			Actor: events.NoticeByOperator, At: f.Now(), ResetID: fmt.Sprint("reset-", i), DeviceID: pixel, State: notice.Sent, Attempts: 1, To: "kim@contoso.example"}
		if err := notice.WriteDelivery(u, d); err != nil {
			t.Fatal(err)
		}
	}
	f.commit(u)
	var resets []string
	reader := f.may(identity.TenantRead)
	for cursor := "?limit=2"; cursor != ""; {
		var page struct {
			Items []notice.Delivery
			Next  string
		}
		f.call(http.MethodGet, toldAt+cursor, reader, nil).into(t, &page)
		for _, d := range page.Items {
			resets = append(resets, d.ResetID)
		}
		if cursor = ""; page.Next != "" {
			cursor = "?limit=2&cursor=" + page.Next
		}
	}
	if fmt.Sprint(resets) != "[reset-2 reset-1 reset-0]" {
		t.Errorf("listed %v", resets)
	}
}

// TestRevealIsTold: the notification of a look at a code is in the commit of its entry in the log.
func TestRevealIsTold(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	f.call(http.MethodPatch, toldSet, f.admin, map[string]any{"mailUser": true}).want(t, http.StatusOK)
	id := f.startReset(contoso, pixel)
	f.issue(contoso, id, "canary-code-1")
	told := func() (whats []string) { // since the last time: messages are leased, and the clock stands
		t.Helper()
		got, err := f.rows.Receive(t.Context(), notice.Queue, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			e, err := events.Parse(d.Body)
			if err != nil {
				t.Fatal(err)
			}
			if n := e.Data.(events.NotificationDue); n.ResetID == id {
				whats = append(whats, n.What+" "+n.Outcome)
			}
			if strings.Contains(string(d.Body), "canary-code-1") {
				t.Error("a notification has the code")
			}
		}
		return whats
	}
	if got := told(); fmt.Sprint(got) != "[reset.started  reset.ended issued]" {
		t.Errorf("told %q", got)
	}
	path := "/v1/tenants/" + contoso + "/resets/" + id + "/reveal"
	rows, messages := f.stored()
	f.store.broken.Store(true)
	f.call(http.MethodPost, path, f.admin, map[string]any{"reason": "caller is here"}).refused(t, http.StatusServiceUnavailable, fault.Unavailable)
	f.store.broken.Store(false)
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("a look whose commit was lost left %d rows and %d messages", r-rows, m-messages)
	}
	f.call(http.MethodPost, path, f.admin, map[string]any{"reason": "caller is here"}).want(t, http.StatusOK)
	if got := told(); fmt.Sprint(got) != "[passcode.revealed ]" {
		t.Errorf("told %q", got)
	}
	batch := f.store.last.Load()
	if !slices.ContainsFunc(batch.Messages, func(m work.Message) bool { return m.Queue == notice.Queue }) ||
		!slices.ContainsFunc(batch.Writes, func(w work.Write) bool { return strings.Contains(string(w.Value), audit.PasscodeRevealed) }) {
		t.Error("the notification and the entry in the log are not in one commit")
	}
}
