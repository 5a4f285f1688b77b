package web_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/onboarding"
	"pinreset/shared/work"
)

func TestConsentCallback(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	run := func(state string) {
		t.Helper()
		u := work.NewUnit(f.rows, contoso, f.Now(), f.newID)
		if err := onboarding.Write(u, onboarding.Consent{RequestID: "run-1", State: state}); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	run(onboarding.Pending)
	link := func(tenantID string) url.Values {
		t.Helper()
		l := f.links.For(tenantID, onboarding.Consent{RequestID: "run-1"}, onboarding.Step{Name: onboarding.StepApp, AppID: strings.ToUpper(nowhere)}, "op")
		u, err := url.Parse(l.URL)
		if err != nil {
			t.Fatal(err)
		}
		return url.Values{"state": {u.Query().Get("state")}, "admin_consent": {"True"}, "tenant": {fabrikam}} // the tenant is a lie
	}
	back := func(q url.Values) answer {
		t.Helper()
		a := f.call(http.MethodGet, "/consent/callback?"+q.Encode(), "", nil)
		a.sound(t, "callback")
		return a
	}
	due := func() []string {
		t.Helper()
		_, n := f.stored()
		var bodies []string
		if n == 0 {
			return nil
		}
		got, err := f.rows.Receive(t.Context(), onboarding.Queue, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range got {
			bodies = append(bodies, d.Partition+" "+string(d.Body))
		}
		return bodies
	}
	q := link(contoso)
	f.call(http.MethodHead, "/consent/callback?"+q.Encode(), "", nil).want(t, http.StatusOK)
	var wg sync.WaitGroup
	var mu sync.Mutex
	statuses := map[int]int{}
	for range 16 {
		wg.Go(func() {
			a := back(q)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	wg.Wait()
	if statuses[http.StatusOK] != 1 || statuses[http.StatusConflict] != 15 {
		t.Errorf("one state, many times: %v", statuses)
	}
	got := due()
	if len(got) != 1 || !strings.HasPrefix(got[0], contoso+" ") || !strings.Contains(got[0], `"requestId":"run-1"`) || strings.Contains(got[0], `"error"`) {
		t.Fatalf("messages %v", got)
	}
	rows, messages := f.stored()
	for what, q := range map[string]url.Values{
		"no state": {"admin_consent": {"True"}}, "a state of nobody": {"state": {"abc.def"}, "admin_consent": {"True"}},
		"a long state": {"state": {strings.Repeat("a.", 5000)}, "admin_consent": {"True"}}, "an unknown tenant": link(nowhere),
		"a changed state": func() url.Values { q := link(contoso); q.Set("state", "A"+q.Get("state")); return q }(),
		"neither":         func() url.Values { q := link(contoso); q.Del("admin_consent"); return q }(),
		"too late":        func() url.Values { q := link(contoso); return q }(),
	} {
		if what == "too late" {
			f.Advance(onboarding.StateLife)
		}
		if a := back(q); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d", what, a.status)
		}
	}
	if r, m := f.stored(); r != rows || m != messages {
		t.Errorf("bad callbacks left %d rows and %d messages", r-rows, m-messages)
	}
	q = link(contoso)
	q.Set("error", "access_denied")
	if a := back(q); a.status != http.StatusOK || !strings.Contains(string(a.body), "not given") {
		t.Errorf("declined: %d %s", a.status, a.body)
	}
	run(onboarding.Failed)
	if a := back(link(contoso)); a.status != http.StatusConflict || !strings.Contains(string(a.body), "has ended") {
		t.Errorf("after the run has ended: %d %s", a.status, a.body)
	}
	run(onboarding.Pending)
	q = link(contoso)
	q.Set("error", "<script>\u202e")
	back(q).want(t, http.StatusOK)
	f.Advance(2 * time.Minute) // past the first delivery's lease
	all := strings.Join(due(), "\n")
	if !strings.Contains(all, `"error":"access_denied"`) || !strings.Contains(all, `"error":"unreadable"`) {
		t.Errorf("messages %s", all)
	}
}
