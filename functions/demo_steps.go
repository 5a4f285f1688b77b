package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"pinreset/shared/client"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
)

// scene is a step of the story. It returns what to tell, and the path of a diagnostics page where one is shown.
type scene struct {
	name string
	run  func(context.Context) (detail, diagnostics string, err error)
}

// story is the scenes in their order; later ones build on earlier ones.
func (d *demo) story() []scene {
	return []scene{
		{"tenant added, consent pending", d.addTenant},
		{"policy rollout before Microsoft's applications have consent: refused", d.guarded},
		{"consent given, both PIN reset applications proven", d.consents},
		{"wrong OMA-URI in a policy of somebody else: found by lint", d.linted},
		{"the same rollout after consent: coverage rises, phones counted apart", d.covered},
		{"signed report of a laptop: its red check turns green", d.reported},
		{"policy deleted behind our back: found by the next audit and put right", d.drifted},
		{"Android Enterprise: passcode reset and revealed", d.android},
		{"iPhone: passcode removed, no code", d.iphone},
		{"Windows laptop: refused, with what to do instead", d.windows},
		{"work profile without an active reset token: failed, with the reason", d.workProfile},
		{"device switched off: waits, says why, goes on when it is back", d.offline},
		{"answer lost after the call: found again, not called twice", d.lostAnswer},
		{"eight resets at once: paced below the limit, none refused", d.paced},
		{"reset clicked in the Intune portal: adopted and explained", d.clicked},
		{"tenant on premises: its verdict, without Entra", d.withoutEntra},
		{"every diagnostics link answers", d.allLinks},
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

// consents does what the tenant's administrator does: open each link that is left and accept.
func (d *demo) consents(ctx context.Context) (string, string, error) {
	c, err := d.api.Consent(ctx, demoTenant)
	if err != nil {
		return "", "", err
	}
	var landings []string
	for _, step := range c.Steps {
		if step.State == onboarding.StepProven {
			continue
		}
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
	return fmt.Sprintf("accepted the two links that are left (%s); the directory was read %d times until everything was proven", strings.Join(landings, ", "), c.Checks), "", nil
}

// accept presses Accept on a consent page, and on the one that may follow, and returns the status of the last page.
func accept(ctx context.Context, link string) (status int, err error) {
	browser := &http.Client{Timeout: 10 * time.Second}
	for _, decision := range []string{"next", "accept"} {
		if decision == "next" && !strings.Contains(link, onboarding.ClientAppID) {
			continue
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(url.Values{"decision": {decision}}.Encode()))
		if err != nil {
			return 0, err
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := browser.Do(req) // follows the way back to pinreset's callback
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
		d.show(r.Diagnostics)
	}
	return r, err
}

// show keeps a diagnostics link that the reader sees.
func (d *demo) show(link string) { d.links = append(d.links, link) }

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
