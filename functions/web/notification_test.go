package web_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"pinreset/functions/web/callback"
	"pinreset/shared/fault"
	"pinreset/shared/subscription"
)

const (
	groupOfContoso  = "44444444-0000-4000-8000-000000000001" // subscriptions
	groupOfFabrikam = "44444444-0000-4000-8000-000000000002"
)

func (f *fixture) subscribe(tenantID, id string, life time.Duration) (secret string) {
	f.t.Helper()
	secret, hash := subscription.NewSecret()
	u := f.unit(tenantID)
	if err := subscription.Put(u, subscription.Subscription{ID: id, Resource: "/groups/g/members", ExpiresAt: f.Now().Add(life), Hash: hash}); err != nil {
		f.t.Fatal(err)
	}
	f.commit(u)
	return secret
}

type notification map[string]any

func notify(tenantID, id, secret string) notification {
	return notification{"tenantId": tenantID, "subscriptionId": id, "clientState": secret, "changeType": "updated",
		"resource": "groups/x", "subscriptionExpirationDateTime": "2026-12-01T00:00:00Z", "resourceData": map[string]any{"id": "x", "members@delta": []any{}}}
}

func (f *fixture) notified(all ...notification) answer {
	f.t.Helper()
	body, err := json.Marshal(map[string]any{"value": all})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.deliver("/callbacks/graph", http.Header{"Content-Type": {"application/json"}}, body)
}

func fromGraph(outcome string) callback.Result {
	return callback.Result{From: callback.Graph, Outcome: outcome}
}

func TestGraphValidatesTheAddress(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	rows, messages := f.stored()
	for _, token := range []string{"Validation: Testing client application reachability for subscription Request-Id: 1", `<script>alert(1)</script>`, "ä&=+ %"} {
		a := f.deliver("/callbacks/graph?validationToken="+url.QueryEscape(token), nil, nil)
		if a.status != http.StatusOK || string(a.body) != token || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || a.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%q: %d %s %q", token, a.status, a.header.Get("Content-Type"), a.body)
		}
	}
	f.deliver("/callbacks/graph?validationToken="+strings.Repeat("x", 5000), nil, nil).refused(t, http.StatusRequestEntityTooLarge, fault.RequestTooLarge)
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("validation left %d rows and %d messages", r-rows, m-messages)
	}
}

func TestNotificationsOfManyTenantsInOneBody(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c, o := f.subscribe(contoso, groupOfContoso, time.Hour), f.subscribe(fabrikam, groupOfFabrikam, time.Hour)
	_, messages := f.stored()
	f.notified(notify(contoso, groupOfContoso, c), notify(strings.ToUpper(fabrikam), strings.ToUpper(groupOfFabrikam), o), notify(contoso, groupOfContoso, c)).want(t, http.StatusAccepted)
	if _, m := f.stored(); m != messages+2 || fmt.Sprint(f.counted.changes) != fmt.Sprint([]string{contoso, fabrikam}) {
		t.Errorf("%d messages, changes of %v", m-messages, f.counted.changes)
	}
	// What comes while that is pending adds nothing; what comes after it was due does.
	f.notified(notify(contoso, groupOfContoso, c)).want(t, http.StatusAccepted)
	if _, m := f.stored(); m != messages+2 {
		t.Errorf("%d messages while one was pending", m-messages-2)
	}
	f.Advance(30 * time.Second)
	f.notified(notify(contoso, groupOfContoso, c)).want(t, http.StatusAccepted)
	if _, m := f.stored(); m != messages+3 {
		t.Errorf("%d messages after it was due", m-messages-2)
	}
	if n := f.results(fromGraph(callback.Accepted)); n != 4 {
		t.Errorf("%d tenants' notifications were counted", n)
	}
}

// TestForgedNotificationsChangeNothing: what is not believed gets the answer of what is, and leaves nothing.
func TestForgedNotificationsChangeNothing(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c, o := f.subscribe(contoso, groupOfContoso, time.Hour), f.subscribe(fabrikam, groupOfFabrikam, time.Minute)
	content := f.content()
	rows, messages := f.stored()
	good := f.notified() // none at all is a collection too
	good.want(t, http.StatusAccepted)
	f.Advance(time.Minute)
	for what, n := range map[string]struct {
		n       notification
		outcome string
	}{
		"another secret":               {notify(contoso, groupOfContoso, o), callback.BadSecret},
		"no secret":                    {notify(contoso, groupOfContoso, ""), callback.BadSecret},
		"a secret cut short":           {notify(contoso, groupOfContoso, c[:len(c)-1]), callback.BadSecret},
		"another tenant":               {notify(fabrikam, groupOfContoso, c), callback.Unknown},
		"nobody's tenant":              {notify(nowhere, groupOfContoso, c), callback.Unknown},
		"an unknown subscription":      {notify(contoso, groupOfFabrikam, c), callback.Unknown},
		"one that has expired":         {notify(fabrikam, groupOfFabrikam, o), callback.Unknown},
		"no tenant's id":               {notify("../"+contoso, groupOfContoso, c), callback.Malformed},
		"no subscription's id":         {notify(contoso, "settings", c), callback.Malformed},
		"a notification without parts": {notification{}, callback.Malformed},
	} {
		before := f.results(fromGraph(n.outcome))
		if a := f.notified(n.n); a.status != http.StatusAccepted || string(a.body) != string(good.body) {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
		if got := f.results(fromGraph(n.outcome)); got != before+1 {
			t.Errorf("%s: counted %d times as %s", what, got-before, n.outcome)
		}
		if _, m := f.stored(); m != messages || !maps.Equal(f.content(), content) {
			t.Errorf("%s: changed rows, or left %d messages", what, m-messages)
		}
	}
	for what, refused := range map[string]struct {
		body    string
		status  int
		code    fault.Code
		outcome string
	}{
		"no collection": {"{", http.StatusBadRequest, fault.InvalidRequest, callback.Malformed},
		"oversized":     {strings.Repeat("x", 2<<20), http.StatusRequestEntityTooLarge, fault.RequestTooLarge, callback.TooLarge},
	} {
		before := f.results(fromGraph(refused.outcome))
		f.deliverFrom("/callbacks/graph", nil, strings.NewReader(refused.body)).refused(t, refused.status, refused.code)
		if got := f.results(fromGraph(refused.outcome)); got != before+1 {
			t.Errorf("%s: counted %d times as %s", what, got-before, refused.outcome)
		}
		if _, m := f.stored(); m != messages || !maps.Equal(f.content(), content) {
			t.Errorf("%s: changed rows, or left %d messages", what, m-messages)
		}
	}
	if n := f.results(fromGraph(callback.Accepted)); n != 0 {
		t.Errorf("%d notifications are counted as accepted", n)
	}
	// A forged one does not keep a good one in the same body from being heard; a broken store is told, so that Graph comes again.
	f.store.broken.Store(true)
	f.notified(notify(contoso, groupOfContoso, c)).refused(t, http.StatusServiceUnavailable, fault.Unavailable)
	f.store.broken.Store(false)
	f.notified(notify(fabrikam, groupOfContoso, c), notify(contoso, groupOfContoso, c)).want(t, http.StatusAccepted)
	if r, m := f.stored(); r != rows+1 || m != messages+1 {
		t.Errorf("a good one left %d rows and %d messages", r-rows, m-messages)
	}
}

// TestEachNotificationProvesItself: that one of its tenant did is no proof of another, and what comes many times is done once.
func TestEachNotificationProvesItself(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	c := f.subscribe(contoso, groupOfContoso, time.Hour)
	_, messages := f.stored()
	all := []notification{notify(contoso, groupOfContoso, c), notify(contoso, groupOfContoso, c+"x"), notify(contoso, groupOfFabrikam, c)}
	for len(all) < 250 {
		all = append(all, notify(contoso, groupOfContoso, c))
	}
	before := f.store.reads.Load()
	f.notified(all...).want(t, http.StatusAccepted)
	if _, m := f.stored(); m != messages+1 || len(f.counted.changes) != 1 {
		t.Errorf("%d messages, changes of %v", m-messages, f.counted.changes)
	}
	if n := f.store.reads.Load() - before; n > 5 {
		t.Errorf("%d reads for two subscriptions", n)
	}
	for outcome, want := range map[string]int{callback.BadSecret: 1, callback.Unknown: 1, callback.Accepted: 1} {
		if n := f.results(fromGraph(outcome)); n != want {
			t.Errorf("%d counted as %s, want %d", n, outcome, want)
		}
	}
	// One more than that is refused whole.
	f.Advance(time.Hour / 2)
	f.notified(append(all, all[0])...).refused(t, http.StatusRequestEntityTooLarge, fault.RequestTooLarge)
	if _, m := f.stored(); m != messages+1 || f.results(fromGraph(callback.TooLarge)) != 1 {
		t.Errorf("%d messages of what was refused", m-messages-1)
	}
}

// TestLifecycleNotifications: what Graph tells of a subscription is kept with it until somebody has looked after it, once.
func TestLifecycleNotifications(t *testing.T) {
	t.Parallel()
	for event, want := range map[string]struct{ tended, changed bool }{
		"reauthorizationRequired": {true, false}, "subscriptionRemoved": {true, true}, "missed": {false, true}, "somethingNew": {true, true},
	} {
		t.Run(event, func(t *testing.T) {
			t.Parallel()
			f := setUp(t)
			c := f.subscribe(contoso, groupOfContoso, time.Hour)
			_, messages := f.stored()
			n := notify(contoso, groupOfContoso, c)
			n["lifecycleEvent"] = event
			forged := notify(contoso, groupOfContoso, "guessed")
			forged["lifecycleEvent"] = event
			f.notified(forged).want(t, http.StatusAccepted)
			if _, m := f.stored(); m != messages {
				t.Fatalf("a forged one left %d messages", m-messages)
			}
			for range 2 {
				f.notified(n, n).want(t, http.StatusAccepted)
			}
			s, err := subscription.Live(t.Context(), f.unit(contoso), groupOfContoso)
			if err != nil || s.Tend != want.tended || (len(f.counted.changes) == 1) != want.changed {
				t.Errorf("%+v, changes %v, %v", s, f.counted.changes, err)
			}
			expected := 0
			for _, yes := range []bool{want.tended, want.changed} {
				if yes {
					expected++
				}
			}
			if _, m := f.stored(); m != messages+expected {
				t.Errorf("%d messages, want %d", m-messages, expected)
			}
		})
	}
}
