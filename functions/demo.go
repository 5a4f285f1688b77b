package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pinreset/functions/consent"
	"pinreset/functions/passcodereset"
	"pinreset/shared/client"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
)

// demoConfig is what the demo is told.
type demoConfig struct {
	Output  string // "json" and "jsonl" give one object a step; anything else is for people
	Verbose bool
}

// demoStep is one step of the story, as printed.
type demoStep struct {
	Step        string  `json:"step"`
	OK          bool    `json:"ok"`
	Detail      string  `json:"detail"`
	Diagnostics string  `json:"diagnostics,omitempty"`
	Seconds     float64 `json:"seconds"`
}

// demoWrites is how many resets a tenant may ask for in demoWindow in the demo, in place of Microsoft's 200 in 20 s, so that
// reaching the limit takes a handful of devices and waiting for it takes seconds.
const (
	demoWrites = 5
	demoWindow = 8 * time.Second
)

// demo is a run of the whole product in this process: the server, the simulated cloud, and a client that does what a help
// desk and a tenant's administrator do.
type demo struct {
	*server
	api   *client.Client
	out   io.Writer
	err   io.Writer
	json  bool
	fails int
	// diagnostics links that were shown; each must answer.
	links []string
}

// runDemo tells the main story end to end in a temporary directory and checks each step. It is an error when a step did not
// end as it should.
func runDemo(ctx context.Context, c demoConfig, stdout, stderr io.Writer) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 100*time.Second, errors.New("the demo took too long"))
	defer cancel()
	dir, err := os.MkdirTemp("", "pinreset-demo-")
	if err != nil {
		return fmt.Errorf("make a directory for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := loadConfig(func(string) string { return "" }) // the demo is the same whatever is configured
	if err != nil {
		return err
	}
	cfg.Listen, cfg.Data, cfg.NoSample = "127.0.0.1:0", filepath.Join(dir, "data"), true
	cfg.SimListen, cfg.SimPages, cfg.SimData = "127.0.0.1:0", "127.0.0.1:0", filepath.Join(dir, "sim")
	logger := slog.New(slog.DiscardHandler)
	if c.Verbose {
		logger = logTo(stderr, slog.LevelInfo)
	}
	limits := graph.PublishedLimits()
	devices := limits.Families[graph.Devices]
	devices.Write = graph.Window{Limit: demoWrites, Per: demoWindow}
	limits.Families[graph.Devices] = devices
	s, err := start(ctx, cfg, startOptions{
		pace: pace{
			consent: consent.Schedule{First: 300 * time.Millisecond, Longest: time.Second, Deadline: time.Hour},
			reset:   passcodereset.Schedule{Looks: []time.Duration{300 * time.Millisecond, 500 * time.Millisecond, time.Second}, Trace: 5 * time.Second, Lost: time.Minute},
		},
		timing: graphsim.Timing{ReplicationLag: time.Second, EntryDelay: 200 * time.Millisecond, PickUp: 300 * time.Millisecond, Work: 300 * time.Millisecond},
		limits: &limits, sim: graphsim.Limits{DeviceWrites: graphsim.Limit{N: demoWrites, Per: demoWindow}}, logger: logger,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	token, err := os.ReadFile(filepath.Join(cfg.Data, "admin-token"))
	if err != nil {
		return fmt.Errorf("read administrator's token: %w", err)
	}
	api, err := client.New(client.Options{Server: s.url, Token: strings.TrimSpace(string(token))})
	if err != nil {
		return err
	}
	d := &demo{server: s, api: api, out: stdout, err: stderr, json: c.Output == "json" || c.Output == "jsonl"}
	return d.tell(ctx)
}

// tell runs the steps in their order.
func (d *demo) tell(ctx context.Context) error {
	began := time.Now()
	d.say("A model of Microsoft's cloud and pinreset run in this process; nothing reaches Microsoft.")
	for _, s := range []struct {
		name string
		run  func(context.Context) (detail, diagnostics string, err error)
	}{
		{"tenant added, consent pending", d.addTenant},
		{"consent given, both PIN reset applications proven", d.consents},
		{"Android Enterprise: passcode reset and revealed", d.android},
		{"iPhone: passcode removed, no code", d.iphone},
		{"Windows laptop: refused, with what to do instead", d.windows},
		{"work profile without an active reset token: failed, with the reason", d.workProfile},
		{"device switched off: waits, says why, goes on when it is back", d.offline},
		{"answer lost after the call: found again, not called twice", d.lostAnswer},
		{"eight resets at once: paced below the limit, none refused", d.paced},
		{"every diagnostics link answers", d.allLinks},
	} {
		if !d.json {
			fmt.Fprintf(d.err, "… %s\n", s.name)
		}
		t := time.Now()
		detail, diagnostics, err := s.run(ctx)
		step := demoStep{Step: s.name, OK: err == nil, Detail: detail, Diagnostics: d.api.Link(diagnostics), Seconds: float64(time.Since(t).Milliseconds()) / 1000}
		if err != nil {
			d.fails++
			step.Detail = strings.TrimPrefix(detail+"; ", "; ") + err.Error()
		}
		d.print(step)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if d.fails > 0 {
		return fmt.Errorf("%d steps of the demo did not end as they should", d.fails)
	}
	d.say(fmt.Sprintf("Done in %.0f s. Start your own: go run ./functions up", time.Since(began).Seconds()))
	return nil
}

func (d *demo) say(text string) {
	if !d.json {
		fmt.Fprintln(d.out, text)
	}
}

func (d *demo) print(s demoStep) {
	if d.json {
		line, err := json.Marshal(s)
		if err != nil {
			panic(err) // plain fields always encode
		}
		fmt.Fprintf(d.out, "%s\n", line)
		return
	}
	mark := "ok  "
	if !s.OK {
		mark = "FAIL"
	}
	fmt.Fprintf(d.out, "%s %s (%.1f s)\n     %s\n", mark, s.Step, s.Seconds, s.Detail)
	if s.Diagnostics != "" {
		fmt.Fprintf(d.out, "     %s\n", s.Diagnostics)
	}
}

// tenant of the story: one in which nobody has consented to anything.
const demoTenant = graphsim.Fabrikam

func (d *demo) addTenant(ctx context.Context) (string, string, error) {
	if _, err := d.api.AddTenant(ctx, client.NewTenant{TenantID: demoTenant, DisplayName: "Fabrikam"}); err != nil {
		return "", "", err
	}
	for {
		c, err := d.api.Consent(ctx, demoTenant)
		if err != nil {
			return "", "", err
		}
		if len(c.Steps) > 0 {
			if c.State != onboarding.Pending || c.Next != onboarding.StepApp {
				return "", "", fmt.Errorf("consent is %s, next step %q", c.State, c.Next)
			}
			return fmt.Sprintf("%d steps wait for an administrator of Fabrikam; first: %s", len(c.Steps), c.Steps[0].Title), "", nil
		}
		if err := rest(ctx, 50*time.Millisecond); err != nil {
			return "", "", err
		}
	}
}

// consents does what the tenant's administrator does: open each link and accept.
func (d *demo) consents(ctx context.Context) (string, string, error) {
	c, err := d.api.Consent(ctx, demoTenant)
	if err != nil {
		return "", "", err
	}
	var landings []string
	for _, step := range c.Steps {
		landing, err := accept(ctx, step.Link)
		if err != nil {
			return "", "", fmt.Errorf("accept %s: %w", step.Title, err)
		}
		landings = append(landings, fmt.Sprintf("%s → page with status %d", step.Name, landing))
	}
	c, err = d.api.WaitConsent(ctx, demoTenant, c.RequestID, nil)
	if err != nil {
		return "", "", err
	}
	if c.State != onboarding.Proven {
		return "", c.Diagnostics, fmt.Errorf("consent ended %s: %s", c.State, c.FailureTitle)
	}
	return fmt.Sprintf("accepted four links (%s); the directory was read %d times until everything was proven", strings.Join(landings, ", "), c.Checks), "", nil
}

// accept presses Accept on a consent page, and on the one that may follow, and returns the status of the last page.
func accept(ctx context.Context, link string) (status int, err error) {
	jar := &http.Client{Timeout: 10 * time.Second}
	for _, decision := range []string{"next", "accept"} {
		if decision == "next" && !strings.Contains(link, onboarding.ClientAppID) {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(url.Values{"decision": {decision}}.Encode()))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := jar.Do(req) // follows the way back to pinreset's callback
		if err != nil {
			return 0, err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
		status = res.StatusCode
	}
	return status, nil
}

// reset starts a reset by the device's name and waits for its end.
func (d *demo) reset(ctx context.Context, name string) (client.Reset, error) {
	r, err := d.startReset(ctx, name)
	if err != nil {
		return r, err
	}
	r, err = d.api.WaitReset(ctx, demoTenant, r.ID, nil)
	if r.Diagnostics != "" {
		d.links = append(d.links, r.Diagnostics)
	}
	return r, err
}

func (d *demo) startReset(ctx context.Context, name string) (client.Reset, error) {
	for device, err := range d.api.Devices(ctx, demoTenant, "fab-"+name) {
		if err != nil {
			return client.Reset{}, err
		}
		r, _, err := d.api.StartReset(ctx, demoTenant, device.ID, "demo: user on the phone", "DEMO-1")
		return r, err
	}
	return client.Reset{}, fmt.Errorf("no device is named fab-%s", name)
}

func (d *demo) android(ctx context.Context) (string, string, error) {
	r, err := d.reset(ctx, "sales-pixel-12")
	if err != nil || r.State != passcode.Issued {
		return "", r.Diagnostics, unexpected(err, r)
	}
	shown, err := d.api.Reveal(ctx, demoTenant, r.ID, "demo: read to the user", "DEMO-1")
	if err != nil {
		return "", "", err
	}
	code := shown.Passcode.Clear()
	if len(code) < 4 {
		return "", "", errors.New("the revealed code is too short to be one")
	}
	return fmt.Sprintf("code %s (masked here), readable until %s, seen %d time", strings.Repeat("•", len(code)), shown.ExpiresAt.Format("Mon 2 Jan 15:04 MST"), shown.Views), "", nil
}

func (d *demo) iphone(ctx context.Context) (string, string, error) {
	r, err := d.reset(ctx, "ceo-iphone")
	if err != nil || r.State != passcode.Removed || r.Readable {
		return "", r.Diagnostics, unexpected(err, r)
	}
	return "the phone has no passcode any more and asks its user for a new one", "", nil
}

func (d *demo) windows(ctx context.Context) (string, string, error) {
	return d.mustFail(ctx, "hr-laptop-11", "platform_not_supported")
}

func (d *demo) workProfile(ctx context.Context) (string, string, error) {
	return d.mustFail(ctx, "intern-galaxy-09", "reset_token_not_active")
}

// mustFail resets a device whose reset must fail with the code, and tells the first thing to do.
func (d *demo) mustFail(ctx context.Context, device, code string) (string, string, error) {
	r, err := d.reset(ctx, device)
	if err != nil || string(r.FailureCode) != code {
		return "", r.Diagnostics, unexpected(err, r)
	}
	page, err := d.api.Diagnostics(ctx, demoTenant, r.Diagnostics[strings.LastIndex(r.Diagnostics, "/")+1:])
	if err != nil {
		return "", r.Diagnostics, err
	}
	return fmt.Sprintf("%s. First: %s", page.Title, page.Fix[0]), r.Diagnostics, nil
}

func (d *demo) offline(ctx context.Context) (string, string, error) {
	r, err := d.startReset(ctx, "field-pixel-offline")
	if err != nil {
		return "", "", err
	}
	for r.State != passcode.Waiting || r.Why == "" {
		if err := rest(ctx, 100*time.Millisecond); err != nil {
			return "", "", err
		}
		if r, err = d.api.Reset(ctx, demoTenant, r.ID); err != nil || !r.Open {
			return "", r.Diagnostics, unexpected(err, r)
		}
	}
	waited := fmt.Sprintf("%s (last contact %s)", r.WhyText, r.LastSync.Format("2 Jan"))
	online := true
	if err := d.sim.AdjustDevice(demoTenant, "fab-field-pixel-offline", graphsim.DeviceKnobs{Online: &online}); err != nil {
		return "", "", err
	}
	r, err = d.api.WaitReset(ctx, demoTenant, r.ID, nil)
	if err != nil || r.State != passcode.Issued {
		return waited, r.Diagnostics, unexpected(err, r)
	}
	return waited + "; switched on: code ready", "", nil
}

func (d *demo) lostAnswer(ctx context.Context) (string, string, error) {
	if err := d.sim.Inject(demoTenant, graphsim.Fault{Kind: graphsim.LostAnswer, Family: graphsim.Devices}); err != nil {
		return "", "", err
	}
	r, err := d.reset(ctx, "warehouse-aosp-01")
	if err != nil || r.State != passcode.Issued {
		return "", r.Diagnostics, unexpected(err, r)
	}
	if n := d.effective()["fab-warehouse-aosp-01"]; n != 1 {
		return "", "", fmt.Errorf("the device was reset %d times", n)
	}
	return "the connection broke after Intune had taken the call; the device's own list showed it, and it was reset once", "", nil
}

func (d *demo) paced(ctx context.Context) (string, string, error) {
	before := d.sim.Counters().Families[graphsim.Devices]
	names := []string{"sales-pixel-12", "store-kiosk-07", "marketing-galaxy-04", "legal-galaxy-05", "depot-tablet-06", "meeting-aosp-02", "ceo-iphone", "board-ipad-01"}
	ids := make([]string, 0, len(names))
	for _, name := range names {
		r, err := d.startReset(ctx, name)
		if err != nil {
			return "", "", err
		}
		ids = append(ids, r.ID)
	}
	for _, id := range ids {
		if r, err := d.api.WaitReset(ctx, demoTenant, id, nil); err != nil || r.State != passcode.Issued && r.State != passcode.Removed {
			return "", r.Diagnostics, unexpected(err, r)
		}
	}
	after := d.sim.Counters().Families[graphsim.Devices]
	paced := 0
	for _, f := range d.graph.Snapshot().Families {
		if f.Family == graph.Devices {
			paced = f.Waited + f.Refused
		}
	}
	detail := fmt.Sprintf("the demo's limit is %d resets in %s: %d resets, %d times held back by ourselves, %d refused by Graph",
		demoWrites, demoWindow, after.Writes-before.Writes, paced, after.Throttled-before.Throttled)
	if after.Throttled != before.Throttled || paced == 0 {
		return detail, "", errors.New("that is not pacing")
	}
	return detail, "", nil
}

// allLinks follows each diagnostics link, as JSON with the token and as a page with a session.
func (d *demo) allLinks(ctx context.Context) (string, string, error) {
	if len(d.links) == 0 {
		return "", "", errors.New("no failure was shown")
	}
	browser, err := d.signedIn(ctx)
	if err != nil {
		return "", "", err
	}
	for _, link := range d.links {
		if _, err := d.api.Diagnostics(ctx, demoTenant, link[strings.LastIndex(link, "/")+1:]); err != nil {
			return "", link, fmt.Errorf("as JSON: %w", err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+link, nil)
		if err != nil {
			return "", link, err
		}
		req.Header.Set("Accept", "text/html")
		res, err := browser.Do(req)
		if err != nil {
			return "", link, err
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
			return "", link, fmt.Errorf("as a page: %s, %s", res.Status, res.Header.Get("Content-Type"))
		}
	}
	return fmt.Sprintf("%d links, each as a page and as JSON: 200", len(d.links)), "", nil
}

// signedIn is a browser that has signed in with a one-time link, as `up` prints one.
func (d *demo) signedIn(ctx context.Context) (*http.Client, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	browser := &http.Client{Timeout: 10 * time.Second, Jar: jar}
	form := url.Values{"code": {d.session.OneTimeCode(d.admin)}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url+"/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", d.url)
	res, err := browser.Do(req)
	if err != nil {
		return nil, err
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sign in: %s", res.Status)
	}
	return browser, nil
}

func (d *demo) effective() map[string]int {
	for _, t := range d.sim.Counters().Tenants {
		if t.ID == demoTenant {
			return t.Resets
		}
	}
	return nil
}

func unexpected(err error, r client.Reset) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("the reset is %s %s", r.State, r.FailureCode)
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
