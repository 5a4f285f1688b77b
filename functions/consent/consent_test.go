package consent_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/functions/consent"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch/dispatchtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/graph/graphtest"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

const fabrikam = graphsim.Fabrikam

// schedule is the default one, with fewer looks in its three days.
var schedule = consent.Schedule{First: consent.DefaultSchedule.First, Longest: 30 * time.Minute, Deadline: consent.DefaultSchedule.Deadline}

type fixture struct {
	*dispatchtest.Bench
	sim *graphsim.Cloud
	run string // the consent run's id
}

// audited is where audits that the handler asked for wait: nobody runs them here.
const audited work.Queue = "audited"

func askForAudit(ctx context.Context, u *work.Unit, due time.Time) error {
	_, err := u.Send(ctx, audited, due, events.TenantAuditRequested{RequestID: u.NewID(), Cause: events.AuditByConsent, By: events.Pinreset()})
	return err
}

func (f *fixture) audits() int {
	f.T.Helper()
	due, later := f.Waiting(audited)
	return due + later
}

// setUp adds a tenant in which nothing has been consented.
func setUp(t *testing.T, torn, create bool) *fixture {
	t.Helper()
	b := dispatchtest.New(t, torn)
	sim, client := graphtest.New(t, graphsim.Options{Now: b.Clock.Now})
	f := &fixture{Bench: b, sim: sim, run: b.NewID()}
	general, privileged := sim.Apps()
	b.Serve((&consent.Handler{Directory: client, Store: b.Store(), App: general.ClientID, Privileged: privileged.ClientID, Schedule: schedule, Audit: askForAudit}).Route())
	u := b.Unit(tenant.Partition)
	by := events.Actor{Kind: events.Operator, ID: "op-1"}
	_, err := tenant.Add(u, fabrikam, "Fabrikam", by)
	err = errors.Join(err, u.Forward(onboarding.Queue, time.Time{}, events.Event{ID: b.NewID(), Tenant: fabrikam, Time: b.Clock.Now(),
		Data: events.TenantAdded{RequestID: f.run, DisplayName: "Fabrikam", CreateServicePrincipals: create, By: by}}), u.Commit(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fixture) consent() onboarding.Consent {
	f.T.Helper()
	c, err := onboarding.Read(context.WithoutCancel(f.T.Context()), f.Unit(fabrikam))
	if err != nil && !errors.Is(err, work.ErrNotFound) {
		f.T.Fatal(err)
	}
	return c
}

func (f *fixture) until(what string, done func(onboarding.Consent) bool) onboarding.Consent {
	f.T.Helper()
	f.RunUntil(100*time.Hour, func() bool { return done(f.consent()) })
	f.T.Logf("%s at %s", what, f.Clock.Now().Format(time.TimeOnly))
	return f.consent()
}

func (f *fixture) accept(apps ...string) {
	f.T.Helper()
	for _, app := range apps {
		if err := f.sim.Consent(fabrikam, app); err != nil {
			f.T.Fatal(err)
		}
	}
}

func states(c onboarding.Consent) string {
	var s []string
	for _, step := range c.Steps {
		s = append(s, step.Name+"="+step.State)
	}
	return strings.Join(s, " ")
}

func TestStepByStep(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, false)
	c := f.until("first look", func(c onboarding.Consent) bool { return c.Checks >= 2 })
	if got := states(c); got != "app=waiting privileged=waiting service=waiting client=waiting" || c.State != onboarding.Pending {
		t.Fatalf("before any consent: %s %s", c.State, got)
	}
	if c.Next().Why != fault.WaitingForConsent {
		t.Errorf("waits for %s", c.Next().Why)
	}
	f.accept("general")
	f.Drain(f.Clock.Now().Add(10 * time.Minute))
	if c := f.consent(); c.Next() == nil || c.Next().Name != onboarding.StepPrivileged {
		t.Fatalf("only one of our own two applications: %s", states(c))
	}
	f.accept("privileged")
	c = f.until("our own applications proven", func(c onboarding.Consent) bool {
		return c.Step(onboarding.StepPrivileged).State == onboarding.StepProven
	})
	if got := states(c); got != "app=proven privileged=proven service=waiting client=waiting" {
		t.Fatal(got)
	}
	f.accept("service")
	c = f.until("service proven", func(c onboarding.Consent) bool { return c.Step(onboarding.StepService).State == onboarding.StepProven })
	if c.State != onboarding.Pending || c.Step(onboarding.StepService).ServicePrincipal == "" {
		t.Fatalf("half consented is %s, service principal %q", c.State, c.Step(onboarding.StepService).ServicePrincipal)
	}
	f.accept("client")
	c = f.until("proven", func(c onboarding.Consent) bool { return c.State == onboarding.Proven })
	if c.Created || !c.Complete() {
		t.Errorf("created %t, %s", c.Created, states(c))
	}
	f.Drain(f.Clock.Now().Add(200 * time.Hour)) // nothing may be left that changes it
	if c := f.consent(); c.State != onboarding.Proven {
		t.Errorf("later it is %s", c.State)
	}
}

func TestCreatedThroughGraphOnlyWhenAskedFor(t *testing.T) {
	t.Parallel()
	for _, ask := range []bool{false, true} {
		t.Run(fmt.Sprint(ask), func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false, ask)
			f.accept("general", "privileged")
			if err := f.sim.Grant(fabrikam, "general", "Application.ReadWrite.All"); err != nil {
				t.Fatal(err)
			}
			f.Drain(f.Clock.Now().Add(time.Hour))
			if c := f.consent(); (c.State == onboarding.Proven) != ask || c.Created != ask {
				t.Errorf("asked %t: %s, created %t, %s", ask, c.State, c.Created, states(c))
			}
		})
	}
}

// TestCreationNotPermitted: asked for, but the permission was not granted; the administrator's click still does it.
func TestCreationNotPermitted(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, true)
	f.accept("general", "privileged")
	f.Drain(f.Clock.Now().Add(time.Hour))
	if c := f.consent(); c.State != onboarding.Pending || c.Created || c.Next().Why != fault.WaitingForConsent {
		t.Fatalf("%s, created %t, waits for %s", c.State, c.Created, c.Next().Why)
	}
	f.accept("service", "client")
	f.until("proven", func(c onboarding.Consent) bool { return c.State == onboarding.Proven })
}

func TestEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		prepare func(*fixture)
		code    fault.Code
	}{
		{"nobody ever consents", func(*fixture) {}, fault.AppNotConsented},
		{"Microsoft's applications are forgotten", func(f *fixture) { f.accept("general", "privileged") }, fault.ConsentTimedOut},
		{"one of them is switched off", func(f *fixture) {
			f.accept("general", "privileged", "service", "client")
			if err := f.sim.EnableServicePrincipal(fabrikam, "service", false); err != nil {
				f.T.Fatal(err)
			}
		}, fault.ServicePrincipalOff},
		{"the administrator declines", func(f *fixture) {
			f.Drain(f.Clock.Now())
			u := f.Unit(fabrikam)
			_, err := u.Send(f.T.Context(), onboarding.Queue, time.Time{}, events.ConsentReturned{RequestID: f.run, App: graphsim.PinResetService, Error: "access_denied"})
			if err := errors.Join(err, u.Commit(f.T.Context())); err != nil {
				f.T.Fatal(err)
			}
		}, fault.ConsentDeclined},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := setUp(t, false, false)
			c.prepare(f)
			got := f.until("failed", func(c onboarding.Consent) bool { return c.State == onboarding.Failed })
			if got.FailureCode != c.code {
				t.Errorf("failed with %s, want %s", got.FailureCode, c.code)
			}
			page, err := diag.Load(t.Context(), f.Store(), fabrikam, diag.IDFor(fabrikam, f.run))
			if err != nil || got.Diagnostics != page.Link || page.Code != c.code {
				t.Errorf("diagnostics %q, page %s %s: %v", got.Diagnostics, page.Link, page.Code, err)
			}
		})
	}
}

func TestStartedAgain(t *testing.T) {
	t.Parallel()
	f := setUp(t, false, false)
	f.until("failed", func(c onboarding.Consent) bool { return c.State == onboarding.Failed })
	u := f.Unit(fabrikam)
	second := f.NewID()
	_, err := u.Send(t.Context(), onboarding.Queue, time.Time{}, events.ConsentRequested{RequestID: second, By: events.Pinreset()})
	if err := errors.Join(err, u.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	f.accept("general", "privileged", "service", "client")
	c := f.until("proven", func(c onboarding.Consent) bool { return c.State == onboarding.Proven })
	if c.RequestID != second || c.FailureCode != "" || c.Diagnostics != "" {
		t.Errorf("second run: %+v", c)
	}
}

func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	dispatchtest.EachCrash(t, 6, 2, func(t *testing.T, torn bool, n int) (int, string) {
		f := setUp(t, torn, false)
		f.accept("general", "privileged", "service", "client")
		f.CrashAt(n)
		c := f.until("proven", func(c onboarding.Consent) bool { return c.State == onboarding.Proven })
		passed, crashed := f.Boundaries()
		if audits := f.audits(); c.RequestID != f.run || !c.Complete() || audits != 1 {
			t.Errorf("crash %d (%s): %s, %d audits asked for", n, crashed, states(c), audits)
		}
		return passed, crashed
	})
}
