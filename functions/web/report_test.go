package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/functions/web/callback"
	"pinreset/shared/audit"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/tenant"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// agent is a device with its key.
type agent struct {
	f      *fixture
	id     string // of the key
	path   string
	signer webhook.Signer
	next   int64
}

func (f *fixture) agent(tenantID, device, kind string) *agent {
	f.t.Helper()
	a := f.call(http.MethodPost, "/v1/tenants/"+tenantID+"/devices/"+device+"/keys", f.admin, map[string]string{"kind": kind, "reason": "a test"})
	a.want(f.t, http.StatusCreated)
	signer, err := webhook.ParseSigner(a.field(f.t, "key"))
	if err != nil {
		f.t.Fatal(err)
	}
	return &agent{f: f, id: a.field(f.t, "id"), path: a.field(f.t, "callback"), signer: signer, next: 1}
}

// body is a report with the next sequence.
func (a *agent) body() []byte {
	a.next++
	return a.numbered(a.next)
}

func (a *agent) numbered(sequence int64) []byte {
	return fmt.Appendf(nil, `{"version":1,"sequence":%d,"collectedAt":%q,"edition":"Enterprise"}`, sequence, a.f.Now().Format(time.RFC3339))
}

func (a *agent) signed(id string, body []byte) http.Header {
	return webhook.Sign(a.signer, id, a.f.Now(), body)
}

func (f *fixture) deliver(path string, h http.Header, body []byte) answer {
	f.t.Helper()
	return f.deliverFrom(path, h, bytes.NewReader(body))
}

func (f *fixture) deliverFrom(path string, h http.Header, body io.Reader) answer {
	f.t.Helper()
	r, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.server.URL+path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	for name, values := range h {
		r.Header[name] = values
	}
	return f.send(http.DefaultTransport, r)
}

var kindsOfKey = []string{"hmac", "ed25519"}

func device(outcome string) callback.Result {
	return callback.Result{From: callback.Device, Outcome: outcome}
}

func TestReportIsTakenOnce(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsOfKey {
		f := setUp(t)
		a := f.agent(contoso, laptop, kind)
		rows, messages := f.stored()
		body := a.body()
		first := f.deliver(a.path, a.signed("msg_1", body), body)
		first.want(t, http.StatusAccepted)
		if r, m := f.stored(); r != rows+3 || m != messages+1 {
			t.Errorf("%s: %d rows and %d messages for a report, its id and the sequence", kind, r-rows, m-messages)
		}
		rows, messages = f.stored()
		// Sent again at once, after four days, and to the end of the memory: the same answer, and no effect.
		for _, after := range []time.Duration{0, 4 * 24 * time.Hour, 4*24*time.Hour - time.Second} {
			f.Advance(after)
			again := f.deliver(a.path, a.signed("msg_1", body), body)
			again.want(t, http.StatusAccepted)
			if !bytes.Equal(again.body, first.body) {
				t.Errorf("%s: answered %s, then %s", kind, first.body, again.body)
			}
		}
		if got := f.results(device(callback.Repeated)); got != 3 {
			t.Errorf("%s: %d repetitions were counted", kind, got)
		}
		// Past the memory its sequence still refuses it.
		f.Advance(time.Second)
		f.deliver(a.path, a.signed("msg_1", body), body).refused(t, http.StatusConflict, fault.StateConflict)
		if r, m := f.stored(); r != rows || m != messages {
			t.Errorf("%s: repetitions left %d rows and %d messages", kind, r-rows, m-messages)
		}
	}
}

// TestForgedReportsChangeNothing sends everything that must be refused and compares the store before and after.
func TestForgedReportsChangeNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range kindsOfKey {
		f := setUp(t)
		a, b, other := f.agent(contoso, laptop, kind), f.agent(contoso, pixel, kind), f.agent(fabrikam, foreign, kind)
		revoked := f.agent(contoso, laptop, kind)
		f.call(http.MethodDelete, "/v1/tenants/"+contoso+"/devices/"+laptop+"/keys/"+revoked.id+"?reason=lost", f.admin, nil).want(t, http.StatusOK)
		good := a.numbered(1000)
		f.deliver(a.path, a.signed("taken", good), good).want(t, http.StatusAccepted)
		fresh := a.numbered(2000)
		set := func(h http.Header, name, value string) http.Header { h.Set(name, value); return h }
		without := func(h http.Header, name string) http.Header { h.Del(name); return h }
		at := func(d time.Duration) http.Header { return webhook.Sign(a.signer, "m", f.Now().Add(d), fresh) }
		packed := strings.ReplaceAll
		big := append(bytes.TrimSuffix(a.numbered(3000), []byte("}")), []byte(`,"dsregcmd":"`+strings.Repeat("x", 70<<10)+`"}`)...)
		cases := []struct {
			what, path string
			header     http.Header
			body       []byte
			status     int
			code       fault.Code
			outcome    string
		}{
			{"forged", a.path, b.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.Forged},
			{"another body", a.path, a.signed("m", good), fresh, 401, fault.Unauthenticated, callback.Forged},
			{"another id", a.path, set(a.signed("m", fresh), webhook.HeaderID, "n"), fresh, 401, fault.Unauthenticated, callback.Forged},
			{"the wrong device's key", b.path, a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.Forged},
			{"the wrong tenant's key", other.path, a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.Forged},
			{"its key's id in the wrong tenant", packed(a.path, strings.ReplaceAll(contoso, "-", ""), strings.ReplaceAll(fabrikam, "-", "")), a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"a tenant of nobody", packed(a.path, strings.ReplaceAll(contoso, "-", ""), strings.ReplaceAll(nowhere, "-", "")), a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"an unknown key", a.path[:len(a.path)-4] + "zzzz", a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"a hostile key", "/callbacks/devices/" + strings.ReplaceAll(contoso, "-", "") + ".%2e%2e%2fsettings", a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"no key", "/callbacks/devices/x", a.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"a revoked key", revoked.path, revoked.signed("m", fresh), fresh, 401, fault.Unauthenticated, callback.BadKey},
			{"too old", a.path, at(-webhook.Tolerance - time.Second), fresh, 401, fault.Unauthenticated, callback.BadTime},
			{"from the future", a.path, at(webhook.Tolerance + time.Second), fresh, 401, fault.Unauthenticated, callback.BadTime},
			{"no id", a.path, without(a.signed("m", fresh), webhook.HeaderID), fresh, 401, fault.Unauthenticated, callback.BadHeader},
			{"no timestamp", a.path, without(a.signed("m", fresh), webhook.HeaderTimestamp), fresh, 401, fault.Unauthenticated, callback.BadHeader},
			{"no signature", a.path, without(a.signed("m", fresh), webhook.HeaderSignature), fresh, 401, fault.Unauthenticated, callback.BadHeader},
			{"nothing at all", a.path, nil, nil, 401, fault.Unauthenticated, callback.BadHeader},
			{"oversized", a.path, a.signed("m", big), big, 413, fault.RequestTooLarge, callback.TooLarge},
			{"id used for another body", a.path, a.signed("taken", fresh), fresh, 409, fault.StateConflict, callback.Reused},
			{"replayed under another id", a.path, a.signed("m", good), good, 409, fault.StateConflict, callback.Late},
			{"out of order", a.path, a.signed("m", a.numbered(999)), a.numbered(999), 409, fault.StateConflict, callback.Late},
			{"no report", a.path, a.signed("m", []byte("{")), []byte("{"), 400, fault.InvalidRequest, callback.Malformed},
			{"two values", a.path, a.signed("m", append(fresh, fresh...)), append(fresh, fresh...), 400, fault.InvalidRequest, callback.Malformed},
			{"a field wrong", a.path, a.signed("m", a.numbered(0)), a.numbered(0), 422, fault.InvalidRequest, callback.Malformed},
			{"names a device", a.path, a.signed("m", []byte(`{"deviceId":"x"}`)), []byte(`{"deviceId":"x"}`), 400, fault.InvalidRequest, callback.Malformed},
		}
		content := f.content()
		_, messages := f.stored()
		var uniform []byte
		for _, c := range cases {
			before := f.results(device(c.outcome))
			got := f.deliver(c.path, c.header, c.body)
			var p struct {
				Status int
				Code   fault.Code
			}
			got.into(t, &p)
			if got.status != c.status || p.Code != c.code {
				t.Errorf("%s, %s: %d %s, want %d %s: %s", kind, c.what, got.status, p.Code, c.status, c.code, got.body)
			}
			if n := f.results(device(c.outcome)); n != before+1 {
				t.Errorf("%s, %s: counted %d times as %s", kind, c.what, n-before, c.outcome)
			}
			if _, m := f.stored(); m != messages || !maps.Equal(f.content(), content) {
				t.Errorf("%s, %s: changed rows, or left %d messages", kind, c.what, m-messages)
			}
			if c.status == 401 {
				if uniform == nil {
					uniform = got.shape()
				}
				if !bytes.Equal(uniform, got.shape()) {
					t.Errorf("%s, %s: answers otherwise than the first:\n%s\n\n%s", kind, c.what, got.shape(), uniform)
				}
			}
		}
		if n := f.results(device(callback.Accepted)); n != 1 {
			t.Errorf("%s: %d reports are counted as accepted, want the good one", kind, n)
		}
		// None of it has spoilt what is good.
		f.deliver(a.path, a.signed("m", fresh), fresh).want(t, http.StatusAccepted)
	}
}

// TestSameReportManyTimesAtOnce sends one report from many sides at once, and others between.
func TestSameReportManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	a := f.agent(contoso, laptop, "hmac")
	body := a.body()
	_, messages := f.stored()
	var wg sync.WaitGroup
	answers := make([]answer, 16)
	for i := range answers {
		wg.Go(func() { answers[i] = f.deliver(a.path, a.signed("msg_1", body), body) })
	}
	wg.Wait()
	for _, got := range answers {
		if got.status != http.StatusAccepted || !bytes.Equal(got.body, answers[0].body) {
			t.Errorf("%d %s, and %s", got.status, got.body, answers[0].body)
		}
	}
	if _, m := f.stored(); m != messages+1 {
		t.Errorf("%d messages for one report", m-messages)
	}
	if n := f.results(device(callback.Accepted)); n != 1 {
		t.Errorf("accepted %d times", n)
	}
}

func TestReportIsNotLostOnABrokenStore(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	a := f.agent(contoso, laptop, "ed25519")
	body := a.body()
	f.store.broken.Store(true)
	got := f.deliver(a.path, a.signed("msg_1", body), body)
	got.refused(t, http.StatusServiceUnavailable, fault.Unavailable)
	if got.header.Get("Retry-After") == "" || f.results(device(callback.Unstored)) != 1 {
		t.Errorf("not told when to come again: %v", got.header)
	}
	f.store.broken.Store(false)
	f.deliver(a.path, a.signed("msg_1", body), body).want(t, http.StatusAccepted)
}

func TestKeysOfADevice(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/devices/" + laptop + "/keys"
	list := func() (ids []string) {
		t.Helper()
		var page struct {
			Items []struct {
				ID, Callback, Key string
				RevokedAt         time.Time
				LastReport        time.Time
			}
		}
		a := f.call(http.MethodGet, path, f.admin, nil)
		a.want(t, http.StatusOK)
		a.into(t, &page)
		for _, k := range page.Items {
			if k.Key != "" {
				t.Error("a list shows a key")
			}
			if k.RevokedAt.IsZero() {
				ids = append(ids, k.ID)
			}
		}
		return ids
	}
	// An answer that was lost is asked for again: the same key, without what it signs with.
	first := f.call(http.MethodPost, path, f.admin, `{"kind":"hmac"}`, key("k1"))
	again := f.call(http.MethodPost, path, f.admin, `{"kind":"hmac"}`, key("k1"))
	if first.field(t, "id") != again.field(t, "id") || bytes.Contains(again.body, []byte(`"key"`)) {
		t.Errorf("repeated: %s", again.body)
	}
	old := &agent{f: f, id: first.field(t, "id"), path: first.field(t, "callback"), next: 1}
	var err error
	if old.signer, err = webhook.ParseSigner(first.field(t, "key")); err != nil || old.signer.Scheme() != webhook.HMAC {
		t.Fatal(err)
	}
	// Two are valid side by side, so that a report is never without a key; a third is one too many.
	young := f.agent(contoso, laptop, "ed25519")
	f.call(http.MethodPost, path, f.admin, `{}`).refused(t, http.StatusConflict, fault.StateConflict)
	for _, a := range []*agent{old, young} {
		body := a.numbered(time.Now().UnixNano())
		f.deliver(a.path, a.signed("m-"+a.id, body), body).want(t, http.StatusAccepted)
	}
	if got := list(); fmt.Sprint(got) != fmt.Sprint([]string{young.id, old.id}) {
		t.Errorf("valid keys %v", got)
	}
	// Another device's key is not there; nor is another tenant's device.
	for _, wrong := range []string{"/v1/tenants/" + contoso + "/devices/" + pixel + "/keys/" + old.id, "/v1/tenants/" + fabrikam + "/devices/" + laptop + "/keys/" + old.id, path + "/" + noKey} {
		f.call(http.MethodDelete, wrong, f.admin, nil).refused(t, http.StatusNotFound, fault.NotFound)
	}
	for range 2 { // twice is once
		f.call(http.MethodDelete, path+"/"+old.id+"?reason=rotated", f.admin, nil).want(t, http.StatusOK)
	}
	if got := list(); fmt.Sprint(got) != fmt.Sprint([]string{young.id}) {
		t.Errorf("valid keys after the change %v", got)
	}
	body := old.numbered(time.Now().UnixNano())
	f.deliver(old.path, old.signed("m", body), body).refused401(t)

	// A public key is of one device, for good.
	public := webhook.NewPair().Checker().Clear()
	give := func(device string) answer {
		return f.call(http.MethodPost, "/v1/tenants/"+contoso+"/devices/"+device+"/keys", f.admin, map[string]string{"publicKey": public})
	}
	made := give(pixel)
	made.want(t, http.StatusCreated)
	if bytes.Contains(made.body, []byte(`"key"`)) {
		t.Errorf("a key that the device made itself is shown: %s", made.body)
	}
	give(laptop).refused(t, http.StatusConflict, fault.StateConflict)
	f.call(http.MethodDelete, "/v1/tenants/"+contoso+"/devices/"+pixel+"/keys/"+made.field(t, "id"), f.admin, nil).want(t, http.StatusOK)
	give(pixel).refused(t, http.StatusConflict, fault.StateConflict)
	for _, bad := range []string{`{"publicKey":"whpk_AAAA"}`, `{"publicKey":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`, `{"kind":"hmac","publicKey":"` + public + `"}`, `{"kind":"rsa"}`} {
		f.call(http.MethodPost, path, f.admin, bad).refused(t, http.StatusUnprocessableEntity, fault.InvalidRequest)
	}

	// What a device signs with is nowhere in the store, in no log and in no list.
	for _, a := range []*agent{old, young} {
		secret := a.signer.Clear()[strings.Index(a.signer.Clear(), "_")+1:]
		for _, partition := range []string{contoso, tenant.Partition, identity.Partition} {
			p, err := f.rows.List(t.Context(), work.Query{Partition: partition, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range p.Rows {
				if bytes.Contains(row.Value, []byte(secret)) {
					t.Errorf("row %s has a key in the clear", row.Row)
				}
			}
		}
		if strings.Contains(f.log.String(), secret) {
			t.Error("the log has a key in the clear")
		}
	}
	actions := strings.Join(f.auditOf(contoso), " ")
	if strings.Count(actions, audit.DeviceKeyAdded) != 3 || strings.Count(actions, audit.DeviceKeyRevoked) != 2 {
		t.Errorf("audit log: %s", actions)
	}
}

// TestAValidKeyNeverLeavesTheList keeps one key while the other is changed more often than the list is long: the old one still
// signs, so it is still counted, shown, and there to be revoked.
func TestAValidKeyNeverLeavesTheList(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	path := "/v1/tenants/" + contoso + "/devices/" + laptop + "/keys"
	first := f.agent(contoso, laptop, "ed25519")
	for range 25 {
		f.call(http.MethodDelete, path+"/"+f.agent(contoso, laptop, "ed25519").id, f.admin, nil).want(t, http.StatusOK)
	}
	last := f.agent(contoso, laptop, "hmac")
	f.call(http.MethodPost, path, f.admin, `{}`).refused(t, http.StatusConflict, fault.StateConflict)
	var page struct {
		Items []struct {
			ID        string
			RevokedAt time.Time
		}
	}
	a := f.call(http.MethodGet, path, f.admin, nil)
	a.into(t, &page)
	var valid []string
	for i, k := range page.Items {
		if k.RevokedAt.IsZero() {
			valid = append(valid, k.ID)
		}
		if i > 0 && k.ID > page.Items[i-1].ID {
			t.Errorf("%s comes after %s: not newest first", k.ID, page.Items[i-1].ID)
		}
	}
	if fmt.Sprint(valid) != fmt.Sprint([]string{last.id, first.id}) || len(page.Items) != 20 {
		t.Errorf("%d keys are listed, valid %v, not %s and %s", len(page.Items), valid, last.id, first.id)
	}
}

// TestAStolenKeyDoesNotSilenceTheDevice takes the highest sequence there is under a key, as a thief would, or a clock that is
// years ahead. Once that key is revoked the device is heard again; nothing that it sent before can be sent again.
func TestAStolenKeyDoesNotSilenceTheDevice(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	own, stolen := f.agent(contoso, laptop, "ed25519"), f.agent(contoso, laptop, "hmac")
	before := own.numbered(7)
	f.deliver(own.path, own.signed("m-1", before), before).want(t, http.StatusAccepted)
	highest := stolen.numbered(math.MaxInt64)
	f.deliver(stolen.path, stolen.signed("m-2", highest), highest).want(t, http.StatusAccepted)
	next := own.numbered(8)
	f.deliver(own.path, own.signed("m-3", next), next).refused(t, http.StatusConflict, fault.StateConflict)

	f.call(http.MethodDelete, "/v1/tenants/"+contoso+"/devices/"+laptop+"/keys/"+stolen.id, f.admin, nil).want(t, http.StatusOK)
	f.deliver(own.path, own.signed("m-4", before), before).refused(t, http.StatusConflict, fault.StateConflict)
	f.deliver(own.path, own.signed("m-3", next), next).want(t, http.StatusAccepted)
	// A key that is made later counts on from the keys that are valid.
	young := f.agent(contoso, laptop, "hmac")
	f.deliver(young.path, young.signed("m-5", next), next).refused(t, http.StatusConflict, fault.StateConflict)
	later := young.numbered(9)
	f.deliver(young.path, young.signed("m-5", later), later).want(t, http.StatusAccepted)
}

// refused401 checks the one answer to everything that is not believed.
func (a answer) refused401(t testing.TB) {
	t.Helper()
	var p struct{ Code fault.Code }
	if a.into(t, &p); a.status != http.StatusUnauthorized || p.Code != fault.Unauthenticated {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// TestReportsAreListed shows what a device sent, without its raw text.
func TestReportsAreListed(t *testing.T) {
	t.Parallel()
	f := setUp(t)
	a := f.agent(contoso, laptop, "ed25519")
	for i := range 3 {
		body := a.body()
		f.deliver(a.path, a.signed(fmt.Sprint("m", i), body), body).want(t, http.StatusAccepted)
		f.Advance(time.Minute)
	}
	path := "/v1/tenants/" + contoso + "/devices/" + laptop + "/reports"
	var page struct {
		Items []struct {
			ID, KeyID string
			At        time.Time
			Resets    json.RawMessage
		}
		Next string
	}
	got := f.call(http.MethodGet, path+"?limit=2", f.admin, nil)
	got.want(t, http.StatusOK)
	got.into(t, &page)
	if len(page.Items) != 2 || page.Next == "" || page.Items[0].KeyID != a.id || !page.Items[0].At.After(page.Items[1].At) || string(page.Items[0].Resets) != "[]" {
		t.Errorf("first page %s", got.body)
	}
	if bytes.Contains(got.body, []byte("Enterprise")) {
		t.Errorf("a report that was not read yet shows its text: %s", got.body)
	}
	rest := f.call(http.MethodGet, path+"?limit=2&cursor="+page.Next, f.admin, nil)
	rest.into(t, &page)
	if len(page.Items) != 1 {
		t.Errorf("second page %s", rest.body)
	}
	f.call(http.MethodGet, path, f.may(identity.TenantRead), nil).refused(t, http.StatusForbidden, fault.Forbidden)
}
