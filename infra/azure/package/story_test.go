package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/devicereport"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/azure/functionshost"
	"pinreset/shared/onboarding"
	"pinreset/shared/passcode"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/survey"
	"pinreset/shared/webhook"
	"pinreset/shared/work"
)

// announced are the events that came by the topic.
type announced struct {
	mu   sync.Mutex
	seen []events.Event
}

// subscribe keeps what the topic carries, until the test ends.
func (n *namespace) subscribe(t *testing.T) *announced {
	t.Helper()
	r, err := n.client.NewReceiverForSubscription("announcements", subscriber, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &announced{}
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(ended)
		for {
			got, err := r.ReceiveMessages(ctx, 10, nil)
			if err != nil {
				return
			}
			for _, m := range got {
				e, err := events.Parse(m.Body)
				if err != nil {
					t.Errorf("what the topic carries is no event: %v", err)
				}
				a.mu.Lock()
				a.seen = append(a.seen, e)
				a.mu.Unlock()
				if err := r.CompleteMessage(ctx, m, nil); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return a
}

// failure waits for the failure of a request.
func (a *announced) failure(t *testing.T, request string) (f events.FailureRaised) {
	t.Helper()
	eventually(t, "the topic told of no failure of "+request, func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, e := range a.seen {
			if d, ok := e.Data.(events.FailureRaised); ok && d.RequestID == request {
				f = d
				return true
			}
		}
		return false
	})
	return f
}

// page reads the diagnostics page that a failure links to.
func (d *deployed) page(f events.FailureRaised) {
	d.t.Helper()
	r, err := http.NewRequestWithContext(d.t.Context(), http.MethodGet, d.api.Link(f.Diagnostics), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+d.token)
	r.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		d.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), f.Code) {
		d.t.Errorf("%s answers %s %.200s: %v", f.Diagnostics, res.Status, text, err)
	}
}

// TestModelServicesStory: the demonstration's story by triggers of Service Bus, a timer and HTTP. A tenant is added; a rollout is refused
// before consent and placed after; a reset succeeds and one fails, which the topic tells with a link that answers; a timer begins an audit;
// a device reports.
func TestModelServicesStory(t *testing.T) {
	t.Parallel()
	const tenant = graphsim.Fabrikam // in which nobody has consented to anything
	d, bus, _ := deployServices(t, nil, nil)
	topic := bus.subscribe(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()

	if _, err := d.api.AddTenant(ctx, client.NewTenant{TenantID: tenant, DisplayName: "Fabrikam"}); err != nil {
		t.Fatal(err)
	}
	var consent client.Consent
	steps := func(so func(client.Consent) bool) {
		t.Helper()
		eventually(t, "consent did not go on", func() (ok bool) {
			var err error
			consent, err = d.api.Consent(ctx, tenant)
			return err == nil && so(consent)
		})
	}
	steps(func(c client.Consent) bool { return len(c.Steps) > 0 })
	ours := []string{onboarding.StepApp, onboarding.StepPrivileged}
	accept := func(wanted func(name string) bool) {
		for _, step := range consent.Steps {
			if wanted(step.Name) {
				d.accept(ctx, step.Link)
			}
		}
	}
	accept(func(name string) bool { return slices.Contains(ours, name) })
	steps(func(c client.Consent) bool { return !slices.Contains(ours, c.Next) })

	refused := d.rollOut(ctx, tenant)
	if refused.State != rollout.Failed || refused.FailureCode != fault.ConsentMissing {
		t.Errorf("before consent the rollout is %s %q", refused.State, refused.FailureCode)
	}
	d.page(topic.failure(t, refused.ID))
	accept(func(name string) bool { return !slices.Contains(ours, name) })
	if c, err := d.api.WaitConsent(ctx, tenant, consent.RequestID, nil); err != nil || c.State != onboarding.Proven {
		t.Fatalf("consent is %s: %v", c.State, err)
	}
	if r := d.rollOut(ctx, tenant); !r.Placed || r.FailureCode != "" {
		t.Errorf("after consent the rollout is %s %q", r.State, r.FailureCode)
	}

	ids := map[string]string{}
	for device, err := range d.api.Devices(ctx, tenant, "") {
		if err != nil {
			t.Fatal(err)
		}
		ids[device.Name] = device.ID
	}
	reset := func(device string) client.Reset {
		t.Helper()
		r, _, err := d.api.StartReset(ctx, tenant, ids[device], "forgot it", "")
		if err != nil {
			t.Fatal(err)
		}
		if r, err = d.api.WaitReset(ctx, tenant, r.ID, nil); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := reset("fab-sales-pixel-12"); r.State != passcode.Issued {
		t.Errorf("the reset is %s %s", r.State, r.FailureCode)
	}
	failed := reset("fab-hr-laptop-11")
	f := topic.failure(t, failed.ID)
	if failed.State != passcode.Failed || f.Code != string(fault.PlatformNotSupported) || f.Diagnostics != failed.Diagnostics {
		t.Errorf("the reset of a laptop is %s, and the topic told %q with page %q", failed.State, f.Code, f.Diagnostics)
	}
	d.page(f)

	if result := d.host.Tick("tenantaudit-timer"); !result.OK {
		t.Errorf("the timer: %+v", result)
	}
	eventually(t, "the timer began no audit", func() bool {
		for a, err := range d.api.TenantAudits(ctx, tenant) {
			if err == nil && a.Cause == events.AuditBySchedule && a.Outcome != survey.Pending {
				return true
			}
		}
		return false
	})
	d.reports(ctx, tenant, ids["fab-hr-laptop-11"])
	for _, q := range bus.queues {
		if n := bus.Counts(string(q)).DeadLettered; n != 0 {
			t.Errorf("%d messages of %s are dead letters", n, q)
		}
	}
}

// accept presses Accept on a consent page of the simulated cloud, and on the one that may come before, and follows the way back.
func (d *deployed) accept(ctx context.Context, link string) {
	d.t.Helper()
	decisions := []string{"accept"}
	if strings.Contains(link, onboarding.ClientAppID) {
		decisions = []string{"next", "accept"}
	}
	for _, decision := range decisions {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, link, strings.NewReader(url.Values{"decision": {decision}}.Encode()))
		if err != nil {
			d.t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			d.t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

// rollOut asks for the policy on all users' devices, and waits until it is written, or is not to be.
func (d *deployed) rollOut(ctx context.Context, tenant string) client.Rollout {
	d.t.Helper()
	everyone := client.Target{Shape: policy.OMAURI, AllUsers: true}
	plan, err := d.api.PlanRollout(ctx, tenant, everyone)
	if err != nil {
		d.t.Fatal(err)
	}
	r, _, err := d.api.StartRollout(ctx, tenant, client.NewRollout{Target: everyone, PlanHash: plan.Hash, Reason: "PINs are forgotten"})
	if err != nil {
		d.t.Fatal(err)
	}
	if r, err = d.api.WaitRollout(ctx, tenant, r.ID, func(r client.Rollout) bool { return !r.Open || r.Placed }, nil); err != nil {
		d.t.Fatalf("the rollout is %s: %v", r.State, err)
	}
	return r
}

// reports sends a signed report of the device, which must be read.
func (d *deployed) reports(ctx context.Context, tenant, device string) {
	d.t.Helper()
	k, err := d.api.CreateDeviceKey(ctx, tenant, device, client.NewDeviceKey{Reason: "an agent was installed"})
	if err != nil {
		d.t.Fatal(err)
	}
	key, err := webhook.ParseSigner(k.Secret.Clear())
	if err != nil {
		d.t.Fatal(err)
	}
	body, err := json.Marshal(devicereport.Report{Version: devicereport.Version, Sequence: 1, CollectedAt: time.Now().UTC(), Edition: "Professional", OSVersion: "10.0.22631.3447"})
	if err != nil {
		d.t.Fatal(err)
	}
	id, err := d.api.SendReport(ctx, k.Callback, key, "msg_"+rand.Text(), time.Now(), body)
	if err != nil {
		d.t.Fatal(err)
	}
	eventually(d.t, "the report was not read", func() bool {
		for r, err := range d.api.DeviceReports(ctx, tenant, device) {
			if err == nil && r.ID == id && !r.ReadAt.IsZero() {
				return true
			}
		}
		return false
	})
}

// TestModelPoison: messages that never succeed end as dead letters with their reason, and where they name a tenant, the topic tells of the
// failure with a link that answers. Of one that nobody can read, the program says why; one whose every delivery failed, it gives up in
// its ninth; one that the program did not send has no row to tell it by, so its queue gives it up.
func TestModelPoison(t *testing.T) {
	t.Parallel()
	const request = "poisoned"
	var lost atomic.Int32
	d, bus, store := deployServices(t, nil, func(m functionshost.Delivery) bool {
		// The program's own limit is eight: each of them ends as when the process dies.
		return m.Properties["pinreset-message"] == request && m.Deliveries <= 8 && lost.Add(1) > 0
	})
	topic := bus.subscribe(t)
	devices := d.onboard()
	e := events.Event{ID: request, Tenant: graphsim.Contoso, Time: time.Now().UTC(), Data: d.request(request, devices["sales-pixel-12"])}
	body, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	garbage := []byte("\xff\xfe{}")
	if err := store.Commit(t.Context(), work.Batch{Partition: graphsim.Contoso, Messages: []work.Message{
		{ID: "garbage", Queue: passcode.Queue, Partition: graphsim.Contoso, Body: garbage},
		{ID: request, Queue: passcode.Queue, Partition: graphsim.Contoso, Body: body},
	}}); err != nil {
		t.Fatal(err)
	}
	sender, err := bus.client.NewSender(string(passcode.Queue), nil)
	if err != nil {
		t.Fatal(err)
	}
	foreign := "foreign"
	if err := sender.SendMessage(t.Context(), &azservicebus.Message{MessageID: &foreign, Body: garbage}, nil); err != nil {
		t.Fatal(err)
	}

	letters := map[string]client.DeadLetter{}
	eventually(t, "the messages were not set aside", func() bool {
		for l, err := range d.api.DeadLetters(t.Context(), graphsim.Contoso) {
			if err == nil {
				letters[l.MessageID] = l
			}
		}
		return len(letters) == 2
	})
	for id, want := range map[string]struct {
		reason     fault.Code
		deliveries int
	}{"garbage": {fault.MessageInvalid, 1}, request: {fault.AttemptsExhausted, 9}} {
		l := letters[id]
		if l.Reason != want.reason || l.Deliveries != want.deliveries || l.Detail == "" {
			t.Errorf("%s is set aside for %q after %d deliveries: %q", id, l.Reason, l.Deliveries, l.Detail)
		}
		f := topic.failure(t, l.RequestID)
		if f.Code != string(want.reason) || f.Diagnostics != l.Diagnostics {
			t.Errorf("the topic told of %s as %q, page %q; the letter has %q", id, f.Code, f.Diagnostics, l.Diagnostics)
		}
		d.page(f)
	}
	if n := lost.Load(); n != 8 || d.resets("sales-pixel-12") != 0 {
		t.Errorf("%d deliveries were lost, and the device was reset %d times", n, d.resets("sales-pixel-12"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if reason, err := bus.buried(ctx, passcode.Queue); err != nil || reason != "MaxDeliveryCountExceeded" {
		t.Errorf("the foreign message is a dead letter for %q: %v", reason, err)
	}
	if n := fmt.Sprint(d.host.Exits()); n != "[]" {
		t.Errorf("exits %s", n)
	}
}
