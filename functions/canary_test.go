package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// theCode is what the simulated cloud gives as every passcode. Letters and digits only, so that no quoting changes it.
const theCode = "Qz7Vw3Kx9Jm5Tn1Hd"

// sinks are where a code could end up, by name.
type sinks map[string][]byte

func (s sinks) add(name string, data []byte) { s[name] = append(s[name], data...) }

// files adds every file below the directory.
func (s sinks) files(t *testing.T, name, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(dir, path)
		s.add(name+": "+rel, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// search fails where the code is in a sink in any spelling, and then plants it there in every spelling, each of which must be
// found: a sink that is searched wrongly, or not at all, fails too.
func (s sinks) search(t *testing.T) {
	t.Helper()
	total, controls := 0, 0
	for name, data := range s {
		if len(data) == 0 && !strings.HasSuffix(name, ".lock") && !strings.HasSuffix(name, "-wal") {
			t.Errorf("nothing was collected from %s", name)
		}
		total += len(data)
		if spelt := found(data, theCode); len(spelt) > 0 {
			t.Errorf("the code is in %s as %v", name, spelt)
		}
		for spelling, plant := range plants(theCode) {
			at := len(data) / 2
			if !slices.Contains(found(slices.Concat(data[:at], plant, data[at:]), theCode), spelling) {
				t.Errorf("planted in %s as %s and not found", name, spelling)
			}
			controls++
		}
	}
	t.Logf("%d sinks, %d bytes, %d planted controls found", len(s), total, controls)
}

// TestCanary lets a code pass through the whole server at log level debug, asks everything of it that can be asked without
// revealing, stops it in every way, and searches for the code wherever it may have been left. What may hold the code is left
// out: the answer to a reveal, and the simulated cloud's own files.
func TestCanary(t *testing.T) {
	t.Parallel()
	cloudDir := filepath.Join(t.TempDir(), "cloud")
	cloud, err := graphsim.Start(graphsim.Options{Dir: cloudDir, Passcode: func() string { return theCode },
		Timing: graphsim.Timing{EntryDelay: -1, PickUp: 50 * time.Millisecond, Work: 50 * time.Millisecond, ReplicationLag: -1}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cloud.Close() })
	dir, s := t.TempDir(), sinks{}
	outside := canaryOutside(t)
	mailServer := []string{"PINRESET_SMTP=" + outside.mail.Addr().String(), "PINRESET_SMTP_FROM=pinreset@msp.example"}
	var processes []*running
	start := func() *running {
		r := startBinaryAt(t, dir, "127.0.0.1:0", mailServer, "--sim-at", cloudDir, "--log-level", "debug")
		processes = append(processes, r)
		return r
	}

	r := start()
	waitProven(t, r.client())
	yes, contact, hook, teams := true, "desk@contoso.example", outside.URL+"/webhook", outside.URL+"/teams"
	told, err := r.client().ChangeNotifications(t.Context(), graphsim.Contoso, client.NotificationChange{Contact: &contact, MailUser: &yes, MailContact: &yes, Webhook: &hook, Teams: &teams})
	if err != nil {
		t.Fatal(err)
	}
	resets := canaryResets(t, cloud, r.client())
	shown, err := r.client().Reveal(t.Context(), graphsim.Contoso, resets[0].ID, "read to the user", "INC-1")
	if err != nil || shown.Passcode.Clear() != theCode {
		t.Fatalf("the code is not %s: %v", theCode, err) // else the search would prove nothing
	}
	outside.wait(t, "/webhook", "passcode.revealed")
	outside.wait(t, "/teams", "was looked at")
	outside.wait(t, "mail", "\r\n.\r\n")
	s.files(t, "files of a running server", filepath.Join(dir, "data"))

	// A message that can't be read is set aside; it is put where a broken sender would put it.
	r.kill()
	s.files(t, "files after a kill", filepath.Join(dir, "data"))
	poison(t, filepath.Join(dir, "data", "work"))
	r = start()
	asked := canaryAsk(t, s, r, resets)
	canaryCommands(t, s, r, resets[0].ID)
	if asked < 100 {
		t.Errorf("only %d requests were made", asked)
	}
	// The dump of all goroutines is what is left in the log of a program that crashes.
	if err := r.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = r.cmd.Wait()
	if !strings.Contains(r.errs.String(), "goroutine ") {
		t.Errorf("no goroutine dump on standard error")
	}
	r = start()
	if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	s.files(t, "files after a clean stop", filepath.Join(dir, "data"))
	for i, p := range processes {
		s.add(fmt.Sprintf("log and dump of process %d", i+1), p.errs.Bytes())
	}
	key := told.WebhookKey.Clear()
	outside.mu.Lock()
	for name, data := range outside.told {
		s.add("told by "+name, data)
	}
	outside.mu.Unlock()
	for name, data := range s {
		if strings.Contains(string(data), key) {
			t.Errorf("%s has the webhook's key", name)
		}
	}
	if log := processes[0].errs.String(); !strings.Contains(log, `"msg":"run"`) {
		t.Errorf("the log at level debug has no run in it:\n%s", log)
	}
	s.search(t)

	// Controls in the places themselves: the cloud keeps the code in its own files, and a store that was told it has it.
	own := sinks{}
	own.files(t, "cloud", cloudDir)
	if spelt := found(own["cloud: state.jsonl"], theCode); !slices.Contains(spelt, "plain") {
		t.Errorf("the cloud's own file has the code as %v", spelt)
	}
	storeControl(t)
}

// canaryResets resets a device for each way in which a code can come or fail to come, and waits for the ends.
func canaryResets(t *testing.T, cloud *graphsim.Cloud, c *client.Client) (resets []client.Reset) {
	t.Helper()
	outcome := func(o graphsim.Outcome) graphsim.DeviceKnobs { return graphsim.DeviceKnobs{Outcome: &o} }
	knobs := map[string]graphsim.DeviceKnobs{"marketing-galaxy-04": outcome(graphsim.DoneOnBeta), "legal-galaxy-05": outcome(graphsim.DoneWithoutCode)}
	if err := cloud.Inject(graphsim.Contoso, graphsim.Fault{Kind: graphsim.LostAnswer, Family: graphsim.Devices}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sales-pixel-12", "store-kiosk-07", "marketing-galaxy-04", "legal-galaxy-05", "flaky-tablet-03", "intern-galaxy-09", "ceo-iphone", "hr-laptop-11", "field-pixel-offline"} {
		if k, ok := knobs[name]; ok {
			if err := cloud.AdjustDevice(graphsim.Contoso, name, k); err != nil {
				t.Fatal(err)
			}
		}
		for d, err := range c.Devices(t.Context(), graphsim.Contoso, name) {
			if err != nil {
				t.Fatal(err)
			}
			reset, _, err := c.StartReset(t.Context(), graphsim.Contoso, d.ID, "forgot it", "INC-1")
			if err != nil {
				t.Fatal(err)
			}
			resets = append(resets, reset)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	issued := 0
	for i, reset := range resets[:len(resets)-1] { // the last one's device is off
		ended, err := c.WaitReset(ctx, graphsim.Contoso, reset.ID, nil)
		if err != nil {
			t.Fatalf("wait for %s: %v", reset.ID, err)
		}
		if resets[i] = ended; ended.State == passcode.Issued {
			issued++
		}
	}
	if issued < 3 || resets[0].State != passcode.Issued {
		t.Fatalf("only %d codes were issued", issued)
	}
	return resets
}

// poison puts a message into the store that no handler can read.
func poison(t *testing.T, dir string) {
	t.Helper()
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = store.Commit(t.Context(), work.Batch{Partition: graphsim.Contoso, Messages: []work.Message{
		{ID: "poison-1", Queue: passcode.Queue, Partition: graphsim.Contoso, Body: []byte("no event")},
	}})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
}

var pathParameter = regexp.MustCompile(`\{[a-z$]+\}`)

// canaryAsk sends every request of the API and of the pages that does not reveal, and keeps the answers. It returns how many
// there were.
func canaryAsk(t *testing.T, s sinks, r *running, resets []client.Reset) (requests int) {
	t.Helper()
	c := r.client()
	var letter, failure string
	for limit := time.Now().Add(20 * time.Second); letter == ""; pass(20 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("the message that can't be read was not set aside")
		}
		for l, err := range c.DeadLetters(t.Context(), graphsim.Contoso) {
			if err != nil {
				t.Fatal(err)
			}
			letter = l.ID
		}
	}
	for f, err := range c.Failures(t.Context(), graphsim.Contoso) {
		if err != nil {
			t.Fatal(err)
		}
		failure = f.ID
	}
	token, err := os.ReadFile(filepath.Join(r.data, "admin-token"))
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	send := func(method, path, body, contentType string) []byte {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentType)
		req.Header.Set("Origin", r.url)
		if contentType == "application/json" {
			req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
			req.Header.Set("Idempotency-Key", "canary-"+method+path)
		} else {
			req.Header.Set("Accept", "text/html")
		}
		res, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var whole bytes.Buffer
		fmt.Fprintf(&whole, "%s %s\n%s %s\n", method, res.Request.URL, res.Status, res.Header) // where it was led to, too
		if _, err := whole.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		s.add("answer to "+method+" "+pathParameter.ReplaceAllString(path, "*"), whole.Bytes())
		requests++
		return whole.Bytes()
	}
	in := func(path, id string) string {
		return strings.NewReplacer("{tenant}", graphsim.Contoso, "{id}", id, "{code}", "device_action_failed").Replace(path)
	}
	ids := func(path string) []string {
		switch {
		case strings.Contains(path, "/resets/{id}"):
			var all []string
			for _, reset := range resets {
				all = append(all, reset.ID)
			}
			return all
		case strings.Contains(path, "/devices/{id}"):
			return []string{resets[0].DeviceID, resets[2].DeviceID}
		case strings.Contains(path, "/deadletters/{id}"):
			return []string{letter}
		}
		return []string{failure}
	}

	var described struct {
		Paths map[string]map[string]any
	}
	res, err := http.Get(r.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&described); err != nil {
		t.Fatal(err)
	}
	for path, methods := range described.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			bodies := []string{""}
			if method != http.MethodGet {
				bodies = []string{`{"reason":""}`, `{"nothing":1`, `{"reason":"forgot it","passcodeHours":24}`}
			}
			if strings.HasSuffix(path, "/reveal") {
				bodies = bodies[:2] // the refused ones
			}
			for _, id := range ids(path) {
				for _, body := range bodies {
					send(method, in(path, id), body, "application/json")
				}
			}
		}
	}
	for _, path := range []string{"/metrics", "/healthz", "/v1/nothing"} {
		send(http.MethodGet, path, "", "application/json")
	}
	code := r.link[strings.Index(r.link, "code=")+len("code="):]
	send(http.MethodPost, "/sign-in", url.Values{"code": {code}}.Encode(), "application/x-www-form-urlencoded")
	for _, path := range []string{"/", "/sign-in", "/tenants/{tenant}", "/tenants/{tenant}/devices", "/tenants/{tenant}/devices/{id}", "/tenants/{tenant}/resets",
		"/tenants/{tenant}/resets/{id}", "/tenants/{tenant}/resets/{id}/cancel", "/tenants/{tenant}/failures", "/tenants/{tenant}/deadletters",
		"/tenants/{tenant}/deadletters/{id}", "/tenants/{tenant}/audit", "/tenants/{tenant}/diag/{id}", "/problems/{code}", "/nothing"} {
		for _, id := range ids(path) {
			page := send(http.MethodGet, in(path, id), "", "text/html")
			if path == "/tenants/{tenant}" && !bytes.Contains(page, []byte("Contoso")) {
				t.Errorf("the browser is not signed in:\n%s", page)
			}
		}
	}
	// Refused: without a reason. What a reveal that is granted answers is the code.
	send(http.MethodPost, in("/tenants/{tenant}/resets/{id}/reveal", resets[1].ID), "", "application/x-www-form-urlencoded")
	return requests
}

// canaryCommands runs the commands that do not reveal, and keeps what they print.
func canaryCommands(t *testing.T, s sinks, r *running, reset string) {
	t.Helper()
	for _, line := range []string{"passcode show " + reset, "passcode show " + reset + " -o json", "passcode list", "passcode list -o jsonl", "device list", "device show sales-pixel-12 -o json",
		"device show sales-pixel-12", "diag list", "deadletter list", "audit log", "audit log -o json", "audit show", "audit export", "event list -o jsonl", "tenant show", "token list -v",
		"passcode show " + reset + " --reveal --reason x", "passcode show " + reset + " -v"} {
		var stdout, stderr bytes.Buffer
		run(t.Context(), append(strings.Fields(line), "--server", r.url, "--tenant", graphsim.Contoso, "--token-file", filepath.Join(r.data, "admin-token")),
			func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		s.add("command "+line, append(stdout.Bytes(), stderr.Bytes()...))
	}
}

// storeControl puts the code into a store in every spelling, and must find each in its files: in the log while it is open, and
// in the database after.
func storeControl(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, plant := range plants(theCode) {
		n++
		err := store.Commit(t.Context(), work.Batch{Partition: "p", Writes: []work.Write{{Row: fmt.Sprintf("r%d", n), Value: plant}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(when, file string) {
		t.Helper()
		s := sinks{}
		s.files(t, when, dir)
		spelt := found(s[when+": "+file], theCode)
		if len(spelt) != n {
			t.Errorf("%s, %s has %d of %d spellings: %v", when, file, len(spelt), n, spelt)
		}
	}
	look("open", "pinreset.db-wal")
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	look("closed", "pinreset.db")
}

// TestCanaryInPanics lets handlers fail and panic with the code in their hands: as a text, an error, in its wrapping, and
// inside other values. An error's text is kept on purpose, so a handler's errors never hold a code; what it panics with is
// not its own choice.
func TestCanaryInPanics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	wrapped := secret.NewText(theCode)
	values := []func() error{
		func() error { panic(theCode) },
		func() error { panic(errors.New(theCode)) },
		func() error { panic(fmt.Errorf("code %s", theCode)) },
		func() error { panic(map[string]string{"passcode": theCode}) },
		func() error { panic([]byte(theCode)) },
		func() error { panic(wrapped) },
		func() error { panic(struct{ Code secret.Text }{wrapped}) },
		func() error {
			return fmt.Errorf("seal %v %s %+v %#v %q %d %x: refused", wrapped, wrapped, wrapped, wrapped, wrapped, wrapped, wrapped)
		},
		func() error {
			_ = strings.Split(theCode, ",")[len(theCode)] // out of range
			return nil
		},
		func() error { // the decoder's own errors quote what they could not read
			var v struct{ Passcode secret.Text }
			return json.Unmarshal([]byte(`{"passcode":{"x":"`+theCode+`"}}`), &v)
		},
	}
	at := 0
	d := dispatch.New(store, store, []dispatch.Route{{Function: "boom", Queue: "q", Handlers: []dispatch.Handler{
		dispatch.On(func(context.Context, *work.Unit, events.Event, events.PasscodeResetCheckDue) error {
			return values[at]()
		}, nil),
	}}}, dispatch.Options{Now: time.Now, NewID: newIDs(), Logger: logger, MaxDeliveries: 1})
	newID := newIDs()
	for at = range values {
		u := work.NewUnit(store, graphsim.Contoso, time.Now(), newID)
		if _, err := u.Send(t.Context(), "q", time.Time{}, events.PasscodeResetCheckDue{RequestID: newID(), DeviceID: graphsim.Contoso}); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		deliveries, err := store.Receive(t.Context(), "q", 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Process(t.Context(), deliveries[0]); err != nil {
			t.Fatal(err)
		}
	}
	page, err := store.List(t.Context(), work.Query{Partition: graphsim.Contoso, Prefix: "letter|"})
	if err != nil {
		t.Fatal(err)
	}
	s := sinks{"log": log.Bytes()}
	s.files(t, "open", dir)
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	s.files(t, "closed", dir)
	if n := strings.Count(log.String(), `"msg":"run"`); n != len(values) || strings.Count(log.String(), "panicked") < 8 {
		t.Errorf("%d of %d runs logged, %d dead letters:\n%s", n, len(values), len(page.Rows), log.String())
	}
	s.search(t)
}
