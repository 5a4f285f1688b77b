package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"pinreset/events"
	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
)

var tenantColumns = columns("id", "NAME=displayName", "CONSENT=consent.state", "NEXT STEP=consent.next", "ADDED=addedAt")

func (p *process) tenantCommand() *cobra.Command {
	list := p.verb("list", "List the tenants that you may see", func(ctx context.Context, _ []string) error {
		c, err := p.api()
		if err != nil {
			return err
		}
		return printList(p, tenantColumns, c.Tenants(ctx), "no tenant yet: pinreset tenant add TENANT-ID --name NAME")
	})
	show := p.verb("show [TENANT]", "Show a tenant with its consent and settings", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		t, err := s.Tenant(ctx, s.tenant)
		if err != nil {
			return err
		}
		cols := append(tenantColumns[:len(tenantColumns):len(tenantColumns)],
			columns("PASSCODE HOURS=settings.passcodeHours", "RESET DEADLINE HOURS=settings.resetDeadlineHours", "PORTAL CODES SEALED=settings.sealPortalCodes")...)
		return printOne(p, cols, t, func(w io.Writer) {
			p.printConsent(w, s.Client, t.Consent)
			printWays(w, t.Ways)
			if t.Kind == tenant.OnPremises {
				p.printOnPremises(w, t.Domain)
				return
			}
			if t.Consent.State != onboarding.Proven {
				p.note("next: pinreset tenant consent %s   (shows the links)", t.ID)
			}
		})
	})
	show.ValidArgsFunction = p.completeTenantArgument
	return p.noun("tenant", "Tenants: add, consent, settings", p.tenantAdd(), list, show, p.tenantConsent(), p.tenantReadiness(), p.tenantSettings(), p.tenantGrants(), p.tenantGrant(), p.tenantRevoke(), p.tenantSuspended(), p.tenantLift(), p.tenantOffboard())
}

func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}

func (p *process) tenantAdd() *cobra.Command {
	var n client.NewTenant
	var w watch
	var onPremises bool
	c := p.verb("add TENANT-ID|NAME", "Look after a tenant: its consent begins, unless it is on premises", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		switch {
		case onPremises:
			return p.addOnPremises(ctx, args[0], n, w)
		case n.Domain != "":
			return &mistake{"--domain needs --on-premises"}
		case n.DisplayName == "":
			return &mistake{`required flag(s) "name" not set`}
		}
		if !events.IsGUID(args[0]) {
			return &mistake{fmt.Sprintf("TENANT-ID %q is not a GUID", args[0])}
		}
		c, err := p.api()
		if err != nil {
			return err
		}
		n.TenantID = args[0]
		t, err := c.AddTenant(ctx, n)
		if err != nil {
			return err
		}
		p.note("%s is added; its consent has begun", t.DisplayName)
		return p.followConsent(ctx, scope{c, t.ID}, t.Consent.RequestID, w)
	})
	c.Long = "Look after a tenant.\n\n" +
		"A Microsoft Entra tenant is named by its id, and its consent begins:\n" +
		"  pinreset tenant add TENANT-ID --name \"Contoso\"\n" +
		"An organisation with Active Directory and no Microsoft Entra ID is named by its domain, and gets an id; nothing is consented:\n" +
		"  pinreset tenant add --on-premises --domain corp.example \"Contoso\""
	c.Flags().StringVar(&n.DisplayName, "name", "", "display name of the tenant")
	c.Flags().BoolVar(&onPremises, "on-premises", false, "the tenant has Active Directory and no Microsoft Entra ID")
	c.Flags().StringVar(&n.Domain, "domain", "", "DNS name of the Active Directory domain, with --on-premises")
	p.createFlag(c, &n.CreateServicePrincipals)
	w.flags(c)
	return c
}

func (p *process) createFlag(c *cobra.Command, create *bool) {
	c.Flags().BoolVar(create, "create-service-principals", false,
		"create the two PIN reset service principals through Graph; whether Microsoft allows it is not documented")
}

func (p *process) tenantConsent() *cobra.Command {
	var restart bool
	var start client.ConsentStart
	var w watch
	c := p.verb("consent [TENANT]", "Show the consent steps with their links, or start them again", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		switch {
		case restart:
		case start.CreateServicePrincipals:
			return &mistake{"--create-service-principals needs --restart"}
		case start.Reason != "":
			return &mistake{"--reason needs --restart"}
		}
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		request := ""
		if restart {
			if request, err = s.RestartConsent(ctx, s.tenant, start); err != nil {
				return err
			}
			p.note("the consent is started again")
		}
		if restart || w.on {
			return p.followConsent(ctx, s, request, w)
		}
		state, err := s.Consent(ctx, s.tenant)
		if err != nil {
			return err
		}
		return p.showConsent(s.Client, state)
	})
	c.Flags().BoolVar(&restart, "restart", false, "start the consent again")
	c.Flags().StringVar(&start.Reason, "reason", "", "why, for the audit log")
	p.createFlag(c, &start.CreateServicePrincipals)
	w.flags(c)
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}

// followConsent watches a consent that was started if asked to, prints where it stands, and says whether it has ended.
func (p *process) followConsent(ctx context.Context, s scope, request string, w watch) error {
	var state client.Consent
	err := w.run(ctx, p, func(ctx context.Context, line *progress) (err error) {
		state, err = s.WaitConsent(ctx, s.tenant, request, func(c client.Consent) {
			line.show(consentLine(c))
		})
		return err
	})
	if err == nil && !w.on {
		state, err = s.begun(ctx, request)
	}
	if err != nil && !errors.Is(err, errStillPending) {
		return err
	}
	if err := p.showConsent(s.Client, state); err != nil {
		return err
	}
	switch state.State {
	case onboarding.Proven, onboarding.NotApplicable:
		return nil
	case onboarding.Pending:
		return &failure{
			text: "The consent is pending: an administrator of the tenant must follow the links", exit: exitPending,
			next: []string{fmt.Sprintf("pinreset tenant consent %s --watch", s.tenant)},
		}
	}
	e := fault.Lookup(state.FailureCode)
	return &failure{text: e.Title, code: e.Code, page: s.Link(state.Diagnostics), next: e.Fix}
}

// beginTime is how long a person waits for the first links of a consent that was just started.
const beginTime = 3 * time.Second

// begun reads the consent that was started once its message has been worked on and there are steps to show. When that takes
// longer than a moment, there are none yet.
func (s scope) begun(ctx context.Context, request string) (client.Consent, error) {
	state := client.Consent{State: onboarding.Pending, RequestID: request}
	limited, stop := context.WithTimeoutCause(ctx, beginTime, errStillPending)
	defer stop()
	_, err := s.WaitConsent(limited, s.tenant, request, func(c client.Consent) {
		if state = c; len(c.Steps) > 0 {
			stop()
		}
	})
	if ctx.Err() == nil && limited.Err() != nil {
		return state, nil
	}
	return state, err
}

func consentLine(c client.Consent) string {
	for _, step := range c.Steps {
		if step.Name == c.Next {
			text := fmt.Sprintf("consent %s: %s is %s", c.State, step.Title, step.State)
			if step.WhyText != "" {
				text += " · " + step.WhyText
			}
			return text
		}
	}
	return "consent " + c.State
}

var consentColumns = columns("state", "RUN=requestId", "checks", "deadline", "NEXT CHECK=nextCheck", "NEXT STEP=next", "FAILURE=failureCode", "diagnostics")

func (p *process) showConsent(c *client.Client, s client.Consent) error {
	return printOne(p, consentColumns, s, func(w io.Writer) { p.printConsent(w, c, s) })
}

// printConsent prints the steps for people: what to do first, and what the administrator will see.
func (p *process) printConsent(w io.Writer, c *client.Client, s client.Consent) {
	for i, step := range s.Steps {
		fmt.Fprintf(w, "\n%d. %s: %s", i+1, clean(step.Title), clean(step.State))
		if step.WhyText != "" {
			fmt.Fprintf(w, " (%s)", clean(step.WhyText))
		}
		fmt.Fprintln(w)
		if step.State == onboarding.StepProven {
			continue
		}
		if step.Link != "" {
			fmt.Fprintf(w, "   open  %s\n", clean(c.Link(step.Link)))
		}
		if step.Warning != "" {
			fmt.Fprintf(w, "   note  %s\n", clean(step.Warning))
		}
	}
}

func (p *process) tenantSettings() *cobra.Command {
	var hours, deadline, perHour, perDay, suspendAbove, suspendMinutes int
	var tokens bool
	var portalCodes bool
	var remediate, notify bool
	var reason, stepUp, authContext, second, caller string
	var c *cobra.Command
	c = p.verb("settings [TENANT]", "Show a tenant's settings, or change those that are named", func(ctx context.Context, args []string) error {
		s, err := p.in(ctx, first(args))
		if err != nil {
			return err
		}
		var change client.SettingsChange
		if c.Flags().Changed("passcode-hours") {
			change.PasscodeHours = &hours
		}
		if c.Flags().Changed("reset-deadline-hours") {
			change.ResetDeadlineHours = &deadline
		}
		if c.Flags().Changed("seal-portal-codes") {
			change.SealPortalCodes = &portalCodes
		}
		if c.Flags().Changed("remediate-policy") {
			change.RemediatePolicy = &remediate
		}
		if c.Flags().Changed("graph-notifications") {
			change.GraphNotifications = &notify
		}
		if c.Flags().Changed("require-step-up") {
			change.RequireStepUp = &stepUp
		}
		if c.Flags().Changed("step-up-context") {
			change.StepUpContext = &authContext
		}
		if c.Flags().Changed("budget-hour") {
			change.BudgetHour = &perHour
		}
		if c.Flags().Changed("budget-day") {
			change.BudgetDay = &perDay
		}
		if c.Flags().Changed("token-budget") {
			change.TokenBudget = &tokens
		}
		if c.Flags().Changed("second-person") {
			change.SecondPerson = &second
		}
		if c.Flags().Changed("suspend-above") {
			change.SuspendAbove = &suspendAbove
		}
		if c.Flags().Changed("suspend-minutes") {
			change.SuspendMinutes = &suspendMinutes
		}
		if c.Flags().Changed("caller-check") {
			change.CallerCheck = &caller
		}
		var all tenant.Settings
		if change == (client.SettingsChange{}) {
			if reason != "" {
				return &mistake{"--reason needs a setting to change"}
			}
			t, err := s.Tenant(ctx, s.tenant)
			if err != nil {
				return err
			}
			all = t.Settings
		} else {
			change.Reason = reason
			if all, err = s.ChangeSettings(ctx, s.tenant, change); err != nil {
				return err
			}
		}
		return printOne(p, columns("PASSCODE HOURS=passcodeHours", "RESET DEADLINE HOURS=resetDeadlineHours", "REMEDIATE POLICY=remediatePolicy", "PORTAL CODES SEALED=sealPortalCodes", "GRAPH NOTIFICATIONS=graphNotifications",
			"REQUIRE STEP-UP=requireStepUp", "STEP-UP CONTEXT=stepUpContext", "BUDGET HOUR=budgetHour", "BUDGET DAY=budgetDay", "TOKEN BUDGET=tokenBudget", "SECOND PERSON=secondPerson", "CALLER CHECK=callerCheck",
			"SUSPEND ABOVE=suspendAbove", "SUSPEND MINUTES=suspendMinutes"), all, nil)
	})
	c.Flags().StringVar(&stepUp, "require-step-up", "", "when a code is shown only after a stronger sign-in with Microsoft: when_available or always")
	c.Flags().StringVar(&authContext, "step-up-context", "", "authentication context that the tenant's own people pass then, c1 to c99, or \"\" for none")
	complete(c, "require-step-up", fixed(string(tenant.WhenAvailable), string(tenant.Always)))
	c.Flags().StringVar(&second, "second-person", "", "what a second person has to approve: off, bulk, privileged (also resets for users who hold a directory role) or every (reset)")
	complete(c, "second-person", fixed(string(tenant.NoSecondPerson), string(tenant.SecondForBulk), string(tenant.SecondForPrivileged), string(tenant.SecondForEvery)))
	c.Flags().StringVar(&caller, "caller-check", "", "what the device's user confirms who calls, by signing in and typing a code: off, reset or reveal")
	complete(c, "caller-check", fixed(string(tenant.NoCallerCheck), string(tenant.CallerForReset), string(tenant.CallerForReveal)))
	c.Flags().IntVar(&hours, "passcode-hours", 0, "hours during which a code can be revealed, 1 to 168")
	c.Flags().BoolVar(&notify, "graph-notifications", false, "whether Graph is asked to tell of changes to the members of groups that policies are assigned to")
	c.Flags().BoolVar(&remediate, "remediate-policy", false, "whether an audit asks for the standing rollout again when its policy was removed, changed or unassigned")
	c.Flags().StringVar(&reason, "reason", "", "why they are changed, for the audit log")
	c.Flags().IntVar(&perHour, "budget-hour", 0, "how many resets a person may start in an hour, and how many codes see, 1 to 500")
	c.Flags().IntVar(&perDay, "budget-day", 0, "the same in 24 hours, 1 to 500")
	c.Flags().IntVar(&suspendAbove, "suspend-above", 0, "how many resets and codes together a person may ask for, refused ones included, before the person is suspended; 0 is three times the hour's budget")
	c.Flags().IntVar(&suspendMinutes, "suspend-minutes", 60, "minutes in which they are counted, 1 to 1440")
	c.Flags().BoolVar(&tokens, "token-budget", false, "give each token the budget of a person")
	c.Flags().BoolVar(&portalCodes, "seal-portal-codes", false, "keep codes of resets that were started in Intune's own portal, sealed like our own")
	c.Flags().IntVar(&deadline, "reset-deadline-hours", 0, "hours that a reset waits for its device, 1 to 720")
	c.ValidArgsFunction = p.completeTenantArgument
	return c
}
