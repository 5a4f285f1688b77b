package web_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
)

var shownKey = regexp.MustCompile(`whsec_[A-Za-z0-9+/=&#;]+`)

// TestNotificationsPage: the form changes who is told, shows the webhook's key once and its address never, and lists what became of it.
func TestNotificationsPage(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	b := f.browser()
	b.post("/sign-in", url.Values{"token": {f.admin}})
	const path = "/tenants/" + contoso + "/notifications"
	page := func(a answer, want ...string) string {
		t.Helper()
		a.want(t, http.StatusOK)
		a.sound(t, path)
		for _, w := range want {
			if !strings.Contains(string(a.body), w) {
				t.Errorf("no %q in %s", w, a.body)
			}
		}
		return string(a.body)
	}
	page(b.get(path), "Nobody was told of anything yet")
	bad := b.post(path, url.Values{"contact": {`"><b>x`}, "webhook": {"http://hidden-path.example"}, "reason": {"people ask"}})
	bad.want(t, http.StatusUnprocessableEntity)
	bad.sound(t, path)
	if text := string(bad.body); !strings.Contains(text, `value="&#34;&gt;&lt;b&gt;x"`) || !strings.Contains(text, "contact must be one mail address") || !strings.Contains(text, `value="people ask"`) {
		t.Errorf("refused: %s", text)
	}
	made := page(b.post(path, url.Values{"contact": {"desk@contoso.example"}, "mailUser": {"yes"}, "webhook": {hookAt}}), "hook.contoso.example", "not set up to send mail", "shown this once")
	key := shownKey.FindString(made)
	if key == "" || strings.Contains(made, "hidden-path") {
		t.Fatalf("made: %s", made)
	}
	if again := page(b.get(path), `id="webhookOn" name="webhookOn" value="yes" checked`, `id="mailUser" name="mailUser" value="yes" checked`); strings.Contains(again, "whsec_") {
		t.Error("the key is shown again")
	}
	once := b.get(path).key(t)
	rotated := shownKey.FindString(page(b.post(path+"/key", url.Values{"key": {once}}), "shown this once"))
	if rotated == "" || rotated == key {
		t.Errorf("rotated to %q", rotated)
	}
	if again := page(b.post(path+"/key", url.Values{"key": {once}}), "Make another one"); strings.Contains(again, "whsec_") {
		t.Error("a form that was sent again shows a key")
	}
	b.post(path, url.Values{"contact": {"desk@contoso.example"}, "webhookThere": {"yes"}}).want(t, http.StatusOK)
	if s, err := notice.Read(t.Context(), f.unit(contoso)); err != nil || s.MailUser || s.Webhook.On || len(s.Webhook.Sealed) == 0 {
		t.Errorf("boxes that were not ticked: %+v, %v", s, err)
	}
	b.post(path, url.Values{"webhookThere": {"yes"}, "webhookRemove": {"yes"}}).want(t, http.StatusOK)
	if s, err := notice.Read(t.Context(), f.unit(contoso)); err != nil || len(s.Webhook.Sealed) != 0 || s.Contact != "" {
		t.Errorf("removed: %+v, %v", s, err)
	}

	u := f.unit(contoso)
	for _, d := range []notice.Delivery{
		{ID: f.newID(), Channel: events.NoticeByMailUser, State: notice.Skipped, Why: notice.NotConfigured},
		{ID: f.newID(), Channel: events.NoticeByWebhook, State: notice.Queued, Attempts: 2, Problem: "hook.contoso.example answered 503", NextAt: f.Now().Add(5 * time.Minute), Code: fault.NotificationUndelivered},
		{ID: f.newID(), Channel: events.NoticeByTeams, State: notice.Failed, Attempts: 10, Diagnostics: "/tenants/" + contoso + "/diag/7KQ4MXWD"},
	} {
		d.What, d.Actor, d.At, d.ResetID, d.DeviceID, d.DeviceName = events.NoticeResetStarted, events.NoticeByOperator, f.Now(), f.newID(), pixel, hostile
		if err := notice.WriteDelivery(u, d); err != nil {
			t.Fatal(err)
		}
	}
	f.commit(u)
	page(b.get(path), "This server sends no mail", "answered 503", "in 5 min", "/diag/7KQ4MXWD", "To be sent")
	page(b.get("/tenants/"+contoso), path)

	reader := f.browser()
	reader.post("/sign-in", url.Values{"token": {f.may(identity.TenantRead)}})
	if text := page(reader.get(path), "You lack the permission"); strings.Contains(text, `<form class="stack"`) {
		t.Error("somebody who may not change it gets the form")
	}
	reader.post(path, url.Values{"mailUser": {"yes"}}).want(t, http.StatusForbidden)
	reader.post(path+"/key", url.Values{"key": {"another"}}).want(t, http.StatusForbidden)
	if strings.Contains(f.log.String(), "hidden-path") || strings.Contains(f.log.String(), "whsec_") {
		t.Error("the log has the address or the key")
	}
}
