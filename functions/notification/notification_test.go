package notification_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/notification"
	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/egress"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/notice"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

const contoso = graphsim.Contoso

// receiver is a program of the tenant's, which answers as it is told and keeps what it was sent.
type receiver struct {
	*httptest.Server
	mu      sync.Mutex
	answers []int // of the first requests; 204 for all after
	got     []request
}

type request struct {
	header http.Header
	body   []byte
	at     time.Time // by the bench's clock
}

func listen(t *testing.T, now func() time.Time, answers ...int) *receiver {
	t.Helper()
	r := &receiver{answers: answers}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		status := http.StatusNoContent
		if len(r.got) < len(r.answers) {
			status = r.answers[len(r.got)]
		}
		r.got = append(r.got, request{q.Header.Clone(), body, now()})
		if status >= 300 && status < 400 {
			w.Header().Set("Location", "/elsewhere")
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// fixture is a bench with one tenant, whose notifications are sent for real.
type fixture struct {
	*dispatchtest.Bench
	sim   *graphsim.Cloud
	seals *notice.Seals
	key   webhook.Signer
}

func setUp(t *testing.T, torn bool, mail *notification.Mail, way ...egress.Options) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now})
	kek, err := secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key"))
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Bench: b, sim: sim, seals: notice.NewSeals(kek), key: webhook.NewShared()}
	out := egress.Options{Loopback: true}
	if len(way) > 0 {
		out = way[0]
	}
	b.Serve((&notification.Handler{
		Devices: client, Seals: f.seals, Mail: mail, Client: egress.NewClient(egress.NewDialer(out)),
	}).Route())
	return f
}

// choose sets the tenant's settings.
func (f *fixture) choose(change func(*notice.Settings)) {
	f.T.Helper()
	u := f.Unit(contoso)
	s, err := notice.Read(f.T.Context(), u)
	if err != nil {
		f.T.Fatal(err)
	}
	change(&s)
	if err := errors.Join(notice.Write(u, s), u.Commit(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
}

func (f *fixture) endpoint(channel, address string) notice.Endpoint {
	f.T.Helper()
	o := notice.Opened{Address: address}
	if channel == events.NoticeByWebhook {
		o.Key = f.key.Clear()
	}
	e, err := f.seals.Seal(f.T.Context(), contoso, channel, o, f.Clock.Now())
	if err != nil {
		f.T.Fatal(err)
	}
	return e
}

// start accepts a reset, as the API does; its reason must appear nowhere.
func (f *fixture) start() passcode.Reset {
	f.T.Helper()
	u := f.Unit(contoso)
	r, _, err := passcode.Accept(f.T.Context(), u, events.PasscodeResetRequested{
		RequestID: f.NewID(), DeviceID: graphtest.DeviceID(f.T, f.sim, contoso, "sales-pixel-12"), Reason: "canary-reason", Ticket: "canary-ticket",
		By: events.Actor{Kind: events.Operator, ID: "op-1", Name: "canary-name"}})
	if err := errors.Join(err, u.Commit(f.T.Context())); err != nil {
		f.T.Fatal(err)
	}
	return r
}

func (f *fixture) deliveries() []notice.Delivery {
	f.T.Helper()
	all, _, err := notice.ListDeliveries(f.T.Context(), f.Store(), contoso, 100, "")
	if err != nil {
		f.T.Fatal(err)
	}
	return all
}

// TestWebhook: a reset that starts is told to the tenant's program, signed, with the names of the device and nothing that anybody wrote.
func TestWebhook(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, nil)
	to := listen(t, f.Clock.Now)
	f.choose(func(s *notice.Settings) {
		s.Contact, s.Webhook = "desk@contoso.example", f.endpoint(events.NoticeByWebhook, to.URL+"/hook?secret=canary-path")
	})
	r := f.start()
	f.Drain(f.Clock.Now().Add(time.Minute))
	got := to.requests()
	if len(got) != 1 {
		t.Fatalf("%d requests, want 1", len(got))
	}
	m, err := webhook.Check(got[0].header, got[0].body, f.Clock.Now(), f.key.Checker())
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Type      string
		Timestamp time.Time
		Data      map[string]string
	}
	if err := json.Unmarshal(got[0].body, &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != events.NoticeResetStarted || body.Data["deviceName"] != "sales-pixel-12" || body.Data["platform"] != "AndroidEnterprise" || body.Data["resetId"] != r.ID ||
		body.Data["actor"] != "operator" || body.Data["contact"] != "desk@contoso.example" || body.Data["tenant"] != contoso || !body.Timestamp.Equal(r.RequestedAt) {
		t.Errorf("told %s", got[0].body)
	}
	if strings.Contains(string(got[0].body), "canary") {
		t.Errorf("the body quotes somebody: %s", got[0].body)
	}
	all := f.deliveries()
	if len(all) != 1 || all[0].State != notice.Sent || all[0].ID != m.ID || all[0].Attempts != 1 || strings.Contains(all[0].To, "canary") {
		t.Errorf("deliveries %+v", all)
	}
	for _, row := range f.rows() {
		if strings.Contains(string(row.Value), "canary-path") || strings.Contains(string(row.Value), f.key.Clear()) {
			t.Errorf("row %s holds the address or the key", row.Row)
		}
	}
}

func (f *fixture) rows() []work.Row {
	f.T.Helper()
	p, err := f.Store().List(f.T.Context(), work.Query{Partition: contoso, Limit: 1000})
	if err != nil {
		f.T.Fatal(err)
	}
	return p.Rows
}

// TestSchedule: what is not taken is tried again by the schedule of the specification, under the same id, and ends as a dead letter
// with a failure; replayed, it arrives.
func TestSchedule(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, nil)
	answers := []int{500, 301, 404, 429, 503, 302, 400, 401, 500, 503}
	to := listen(t, f.Clock.Now, answers...)
	f.choose(func(s *notice.Settings) { s.Webhook = f.endpoint(events.NoticeByWebhook, to.URL) })
	f.start()
	f.Drain(f.Clock.Now().Add(100 * time.Hour))
	got := to.requests()
	if len(got) != len(answers) {
		t.Fatalf("%d attempts, want %d", len(got), len(answers))
	}
	want := []time.Duration{0, 5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}
	for i := range got {
		if i > 0 {
			if after := got[i].at.Sub(got[i-1].at); after != want[i] {
				t.Errorf("attempt %d came %s after the one before, want %s", i+1, after, want[i])
			}
		}
		m, err := webhook.Check(got[i].header, got[i].body, got[i].at, f.key.Checker())
		if err != nil || m.ID != f.deliveries()[0].ID || string(got[i].body) != string(got[0].body) {
			t.Errorf("attempt %d: id %s, %v, body %s", i+1, m.ID, err, got[i].body)
		}
	}
	d := f.deliveries()[0]
	page, err := diag.Load(t.Context(), f.Store(), contoso, diag.IDFor(contoso, d.ID))
	if err != nil || d.State != notice.Failed || d.Attempts != notice.MaxAttempts || d.Code != fault.NotificationUndelivered || d.Diagnostics != page.Link || page.DeadLetter == "" {
		t.Fatalf("delivery %+v, page %+v, %v", d, page, err)
	}
	if len(page.Timeline) != len(answers) {
		t.Errorf("%d attempts on the page, want %d", len(page.Timeline), len(answers))
	}
	u := f.Unit(contoso)
	for _, row := range f.rows() {
		if strings.HasPrefix(row.Row, diag.LetterPrefix) {
			var letter diag.DeadLetter
			if err := json.Unmarshal(row.Value, &letter); err != nil {
				t.Fatal(err)
			}
			u.Post(work.Message{ID: letter.MessageID + ".replay", Queue: letter.Queue, Partition: contoso, Body: letter.Body})
		}
	}
	if err := u.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.Drain(f.Clock.Now().Add(time.Minute))
	if d := f.deliveries()[0]; d.State != notice.Sent || d.Diagnostics != "" || len(to.requests()) != len(answers)+1 {
		t.Errorf("after the replay: %+v, %d requests", d, len(to.requests()))
	}
}

// TestGone: an answer of 410 turns the way off, with a failure and an entry in the log, and nothing is sent any more.
func TestGone(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{events.NoticeByWebhook, events.NoticeByTeams} {
		t.Run(channel, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false, nil)
			to := listen(t, f.Clock.Now, http.StatusGone)
			f.choose(func(s *notice.Settings) { *s.Endpoint(channel) = f.endpoint(channel, to.URL) })
			r := f.start()
			f.Drain(f.Clock.Now().Add(time.Hour))
			u := f.Unit(contoso)
			s, err := notice.Read(t.Context(), u)
			d := f.deliveries()[0]
			if e := s.Endpoint(channel); err != nil || e.On || e.OffFor != fault.NotificationGone || d.State != notice.Failed || d.Code != fault.NotificationGone {
				t.Errorf("settings %+v, delivery %+v, %v", s, d, err)
			}
			if _, err := diag.Load(t.Context(), f.Store(), contoso, diag.IDFor(contoso, d.ID)); err != nil {
				t.Errorf("page: %v", err)
			}
			log, _, err := audit.List(t.Context(), f.Store(), contoso, 10, "")
			if err != nil || !slices.ContainsFunc(log, func(e audit.Entry) bool { return e.Action == audit.NotificationsChanged && e.RequestID == d.ID }) {
				t.Errorf("log %+v, %v", log, err)
			}
			u = f.Unit(contoso)
			if _, err := passcode.Cancel(t.Context(), u, r.ID, "", events.Pinreset()); err != nil {
				t.Fatal(err)
			}
			if err := u.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.Drain(f.Clock.Now().Add(time.Hour))
			if n := len(to.requests()); n != 1 {
				t.Errorf("%d requests, want 1", n)
			}
		})
	}
}

// TestRefusedAddress: an address that is not on the public internet is not called, and the failure says so.
func TestRefusedAddress(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, nil)
	f.choose(func(s *notice.Settings) {
		s.Webhook = f.endpoint(events.NoticeByWebhook, "https://169.254.169.254/latest/meta-data")
	})
	f.start()
	f.Drain(f.Clock.Now().Add(time.Hour))
	if d := f.deliveries()[0]; d.State != notice.Failed || d.Code != fault.NotificationRefused || d.Attempts != 1 {
		t.Errorf("delivery %+v", d)
	}
}

// hidden resolves as the name server of a private network does.
type hidden struct{}

func (hidden) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host == "payroll.example" {
		return []netip.Addr{netip.MustParseAddr("10.20.30.40")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, Server: "10.20.30.53:53", IsNotFound: true}
}

// TestPrivateNetworkIsNotTold: whoever sets an address and reads what became of it learns nothing of the network that this runs in.
func TestPrivateNetworkIsNotTold(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]egress.Options{
		"a name of the private network": {Resolver: hidden{}},
		"a name that is not there":      {Resolver: hidden{}},
		"a connection that breaks": {Dial: func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "read", Net: "tcp", Source: &net.TCPAddr{IP: net.IPv4(10, 20, 30, 41), Port: 50514}, Err: errors.New("connection reset by peer")}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false, nil, o)
			host := map[bool]string{true: "8.8.8.8", false: "gone.example"}[o.Dial != nil]
			if strings.Contains(name, "private") {
				host = "payroll.example"
			}
			f.choose(func(s *notice.Settings) { s.Webhook = f.endpoint(events.NoticeByWebhook, "https://"+host+"/hook") })
			f.start()
			f.Drain(f.Clock.Now().Add(time.Minute))
			d := f.deliveries()[0]
			stored := fmt.Sprintf("%+v", d)
			page, err := f.Store().List(t.Context(), work.Query{Partition: contoso, Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range page.Rows {
				stored += string(row.Value)
			}
			if strings.Contains(stored, "10.20.30.") || d.Attempts == 0 || !strings.Contains(stored, host) {
				t.Errorf("it tells of the network, or of nothing: %s", stored)
			}
		})
	}
}

// TestEachCrash kills the process between every two effects: everybody is told at least once, under one id for each way.
func TestEachCrash(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 8, 2, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn, nil)
		hook, teams := listen(t, f.Clock.Now, 500), listen(t, f.Clock.Now)
		f.choose(func(s *notice.Settings) {
			s.Webhook, s.Teams = f.endpoint(events.NoticeByWebhook, hook.URL), f.endpoint(events.NoticeByTeams, teams.URL)
		})
		f.start()
		f.CrashAt(n)
		f.Drain(f.Clock.Now().Add(100 * time.Hour))
		passed, crashed := f.Boundaries()
		ids := map[string]int{}
		for _, q := range hook.requests() {
			m, err := webhook.Check(q.header, q.body, q.at, f.key.Checker())
			if err != nil {
				t.Errorf("crash %d (%s): %v", n, crashed, err)
			}
			ids[m.ID]++
		}
		if len(ids) != 1 || len(hook.requests()) < 2 || len(hook.requests()) > 3 || len(teams.requests()) < 1 || len(teams.requests()) > 2 {
			t.Errorf("crash %d (%s): ids %v, %d requests at Teams", n, crashed, ids, len(teams.requests()))
		}
		all := f.deliveries()
		for _, d := range all {
			if d.State != notice.Sent {
				t.Errorf("crash %d (%s): %+v", n, crashed, d)
			}
		}
		if len(all) != 2 {
			t.Errorf("crash %d (%s): %d deliveries, want 2", n, crashed, len(all))
		}
		return passed, crashed
	})
}
