package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"pinreset/shared/client"
	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

func (p *process) policyCommand() *cobra.Command {
	return p.noun("policy", "The policy that makes PIN resets keep the user's keys: plan, roll out, watch, take back",
		p.policyLint(), p.policyPlan(), p.policyRollout(), p.policyStatus(), p.policyRollback(), p.policyExport())
}

var findingColumns = columns("severity", "code", "text", "fix", "POLICY=policyId")

func (p *process) policyLint() *cobra.Command {
	return p.verb("lint", "Show what is wrong among the tenant's policies, live from all of Intune's stores", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		found, err := s.Policies(ctx, s.tenant)
		if err != nil {
			return err
		}
		for _, f := range found.Policies {
			p.note("%s: %s, %s, %s", f.Name, f.Shape.Title(), f.Value, count(len(f.Assignments), "assignment"))
		}
		if err := printList(p, findingColumns, each(found.Findings), "nothing is wrong"); err != nil {
			return err
		}
		if slices.ContainsFunc(found.Findings, func(f policy.Finding) bool { return f.Severity == policy.Error }) {
			return &failure{text: "Policies of this tenant do not do what they are there for"}
		}
		return nil
	})
}

// targetFlags are the flags that say what a rollout asks for.
func targetFlags(c *cobra.Command, t *client.Target) {
	c.Flags().StringVar((*string)(&t.Shape), "shape", string(policy.OMAURI), "oma-uri, settings-catalog, identity-protection or account-protection")
	c.Flags().StringSliceVar(&t.Include, "group", nil, "object id of a group that gets the policy; may be given several times")
	c.Flags().StringSliceVar(&t.Exclude, "exclude", nil, "object id of a group that does not get it, of the same kind as those that do")
	c.Flags().BoolVar(&t.AllDevices, "all-devices", false, "all devices get it")
	c.Flags().BoolVar(&t.AllUsers, "all-users", false, "all users get it")
	names := make([]string, len(policy.Shapes))
	for i, s := range policy.Shapes {
		names[i] = string(s)
	}
	complete(c, "shape", fixed(names...))
}

func (p *process) policyPlan() *cobra.Command {
	var t client.Target
	c := p.verb("plan", "Show the exact calls that a rollout would make, and how long they take at least; nothing is written", func(ctx context.Context, _ []string) error {
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		return p.planned(ctx, s, t)
	})
	targetFlags(c, &t)
	return c
}

// planned prints the plan, and is an error where the guard would refuse it.
func (p *process) planned(ctx context.Context, s scope, t client.Target) error {
	plan, err := s.PlanRollout(ctx, s.tenant, t)
	if err != nil {
		return err
	}
	if err := printOne(p, columns("hash", "writes", "ETA SECONDS=etaSeconds", "IN PLACE=nothing", "GUARD=guard.state"), plan, func(w io.Writer) { printPlan(w, plan) }); err != nil {
		return err
	}
	if plan.Guard.State == "passed" {
		p.note("next: %s", p.hint("policy rollout %s --plan %s --reason TEXT", targetArgs(t), plan.Hash))
		return nil
	}
	e := fault.Lookup(plan.Guard.Code)
	f := &failure{text: plan.Guard.Text + " A rollout would be refused: " + e.Title, code: e.Code}
	for _, l := range plan.Guard.Links {
		f.next = append(f.next, l.URL)
	}
	return f
}

func printPlan(w io.Writer, plan client.Plan) {
	for i, c := range plan.Calls {
		fmt.Fprintf(w, "\n%d. %s /%s%s\n   %s\n", i+1, c.Method, c.Version, clean(c.Path), clean(c.Purpose))
		if len(c.Body) > 0 {
			var indented strings.Builder
			if err := encode(&indented, json.RawMessage(c.Body), "  "); err == nil {
				for line := range strings.Lines(indented.String()) {
					fmt.Fprintf(w, "   %s\n", clean(strings.TrimRight(line, "\n")))
				}
			}
		}
	}
	if plan.Nothing {
		fmt.Fprint(w, "\nEverything is as asked already: a rollout would write nothing.\n")
	} else {
		fmt.Fprintf(w, "\n%s, by Microsoft's published limits less pinreset's reserve in %s at least; devices take the policy at their next contact.\n",
			count(plan.Writes, "write"), time.Duration(plan.ETASeconds*float64(time.Second)).Round(time.Second))
	}
	for _, f := range plan.Findings {
		fmt.Fprintf(w, "%s: %s %s\n", f.Severity, clean(f.Text), clean(f.Fix))
	}
}

// targetArgs are the flags that ask for the target again.
func targetArgs(t client.Target) string {
	args := []string{"--shape " + string(t.Shape)}
	for _, g := range t.Include {
		args = append(args, "--group "+quoted(g))
	}
	for _, g := range t.Exclude {
		args = append(args, "--exclude "+quoted(g))
	}
	if t.AllDevices {
		args = append(args, "--all-devices")
	}
	if t.AllUsers {
		args = append(args, "--all-users")
	}
	return strings.Join(args, " ")
}

func (p *process) policyRollout() *cobra.Command {
	var n client.NewRollout
	var w watch
	var dry bool
	c := p.verb("rollout", "Switch EnablePinRecovery on and assign it; refused until both PIN reset applications are consented", func(ctx context.Context, _ []string) error {
		if err := w.check(); err != nil {
			return err
		}
		if !dry && n.Reason == "" {
			return errNoReason
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if dry {
			return p.planned(ctx, s, n.Target)
		}
		r, existing, err := s.StartRollout(ctx, s.tenant, n)
		if err != nil {
			return err
		}
		if existing {
			p.note("the same rollout, asked for at %s by %s, is being written: this is that one", p.stamp(r.RequestedAt), r.By.Name)
		}
		return p.followRollout(ctx, s, r, w)
	})
	targetFlags(c, &n.Target)
	c.Flags().StringVar(&n.PlanHash, "plan", "", "hash of a plan: carry out that one or nothing")
	c.Flags().StringVar(&n.Reason, "reason", "", "why, for the audit log")
	c.Flags().BoolVar(&dry, "dry-run", false, "only show the plan")
	w.flags(c)
	return c
}

var rolloutColumns = columns("id", "state", "shape", "POLICY=policyName", "writes", "percent", "HAVE IT=progress.succeeded",
	"PENDING=progress.pending", "FAILED=progress.failed", "CONFLICT=progress.conflict", "NOT APPLICABLE=progress.notApplicable",
	"WHY=whyText", "REQUESTED=requestedAt", "DIAG=diagnostics")

func (p *process) policyStatus() *cobra.Command {
	var w watch
	c := p.verb("status [ROLLOUT]", "List the tenant's rollouts, or show one with its progress", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		if len(args) == 0 {
			if w.on {
				return &mistake{"--watch needs ROLLOUT"}
			}
			return printList(p, rolloutColumns, s.Rollouts(ctx, s.tenant), "no rollout yet")
		}
		r, err := s.Rollout(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		if w.on {
			return p.followRollout(ctx, s, r, w)
		}
		return printOne(p, rolloutColumns, r, func(out io.Writer) { printRollout(out, p, r) })
	})
	w.flags(c)
	return c
}

func printRollout(w io.Writer, p *process, r client.Rollout) {
	fmt.Fprintln(w)
	for _, step := range r.Steps {
		fmt.Fprintf(w, "%s  %s\n", step.At.UTC().Format(time.RFC3339), clean(step.Text))
	}
	for _, f := range r.Findings {
		fmt.Fprintf(w, "%s: %s %s\n", f.Severity, clean(f.Text), clean(f.Fix))
	}
	for _, l := range r.Links {
		fmt.Fprintf(w, "consent (%s): %s\n", l.Step, clean(l.URL))
	}
	if r.Progress != nil {
		fmt.Fprintln(w, rolloutLine(r))
	}
	if len(r.Samples) > 1 {
		fmt.Fprintln(w)
		t := p.table(columns("at", "HAVE IT=succeeded", "pending", "failed", "conflict", "NOT APPLICABLE=notApplicable"))
		t.out = w
		for _, sample := range r.Samples {
			_ = t.add(sample) // a struct of numbers and a time always encodes
		}
		_ = t.end()
	}
	if r.Rollback != nil && r.Rollback.Remains != "" {
		fmt.Fprintf(w, "\n%s\n", clean(r.Rollback.Remains))
	}
}

func (p *process) policyRollback() *cobra.Command {
	var n client.NewRollback
	var w watch
	c := p.verb("rollback ROLLOUT", "Take a rollout back: write false first, give devices time, then unassign or delete where asked", func(ctx context.Context, args []string) error {
		if err := w.check(); err != nil {
			return err
		}
		s, err := p.in(ctx, "")
		if err != nil {
			return err
		}
		r, err := s.Rollout(ctx, s.tenant, args[0])
		if err != nil {
			return err
		}
		word := r.PolicyName
		if word == "" {
			word = r.ID
		}
		if n.Unassign || n.Delete {
			if err := p.confirm(ctx, "Taking the assignments of "+word+" away", word); err != nil {
				return err
			}
		}
		if r, err = s.StartRollback(ctx, s.tenant, r.ID, n); err != nil {
			return err
		}
		return p.followRollout(ctx, s, r, w)
	})
	c.Flags().BoolVar(&n.Unassign, "unassign", false, "take the rollout's assignments away when devices have had their time")
	c.Flags().BoolVar(&n.Delete, "delete", false, "delete the policy then, where nobody else assigns it")
	c.Flags().StringVar(&n.Reason, "reason", "", "why, for the audit log")
	w.flags(c)
	require(c, "reason")
	return c
}

// followRollout watches a rollout if asked to, prints it, and says how it has ended. Without --watch it waits the few moments
// that the writing takes.
func (p *process) followRollout(ctx context.Context, s scope, r client.Rollout, w watch) error {
	last := r
	look := func(ctx context.Context, done func(client.Rollout) bool, line *progress) error {
		_, err := s.WaitRollout(ctx, s.tenant, r.ID, done, func(seen client.Rollout) {
			last = seen
			line.show(rolloutLine(seen))
		})
		return err
	}
	var err error
	if w.on {
		err = w.run(ctx, p, func(ctx context.Context, line *progress) error {
			return look(ctx, func(r client.Rollout) bool { return !r.Open }, line)
		})
	} else {
		soon := watch{on: true, timeout: writingTime}
		err = soon.run(ctx, p, func(ctx context.Context, line *progress) error {
			return look(ctx, func(r client.Rollout) bool { return !writing(r) }, line)
		})
	}
	if err != nil && !errors.Is(err, errStillPending) {
		return err
	}
	last.Timeline = nil
	if err := printList(p, rolloutColumns, one(last), ""); err != nil {
		return err
	}
	return p.rolloutEnd(s, last)
}

// writingTime is how long a person waits for the writes, which take a second or two.
const writingTime = 10 * time.Second

func writing(r client.Rollout) bool {
	return r.Open && r.State != rollout.Watching && (r.State != rollout.Withdrawing || r.Rollback == nil || r.Rollback.FalseAt.IsZero())
}

// rolloutLine is where a rollout stands, with a bar where its progress is known.
func rolloutLine(r client.Rollout) string {
	text := string(r.State)
	seen := r.Progress
	if r.Rollback != nil && r.Rollback.Progress != nil {
		seen = r.Rollback.Progress
	}
	if seen != nil {
		text += " · " + progressText(*seen)
	}
	if r.WhyText != "" {
		text += " · " + r.WhyText
	}
	return text
}

// barWidth is how many characters a bar has.
const barWidth = 20

func progressText(p rollout.Progress) string {
	percent, ok := p.Percent()
	if !ok {
		if p.Why != "" {
			return "devices unknown: " + p.Why
		}
		return "no device has reported"
	}
	full := percent * barWidth / 100
	text := fmt.Sprintf("[%s%s] %d %% of %s have it", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), percent, count(p.Applies(), "device"))
	for _, part := range []struct {
		n    int
		text string
	}{{p.Pending, "waiting"}, {p.Failed, "failed"}, {p.Conflict, "in conflict"}, {p.NotApplicable, "not applicable, counted apart"}} {
		if part.n > 0 {
			text += fmt.Sprintf(", %d %s", part.n, part.text)
		}
	}
	if p.Why != "" {
		text += " (" + p.Why + ")"
	}
	return text
}

// rolloutEnd is nil for a rollout or rollback that has ended as asked, and says why for any other.
func (p *process) rolloutEnd(s scope, r client.Rollout) error {
	switch r.State {
	case rollout.Completed:
		return nil
	case rollout.RolledBack:
		if r.Rollback != nil {
			p.note("%s", r.Rollback.Remains)
		}
		return nil
	case rollout.Failed:
		e := fault.Lookup(r.FailureCode)
		f := &failure{text: e.Title, code: e.Code, page: s.Link(r.Diagnostics)}
		for _, l := range r.Links {
			f.next = append(f.next, l.URL)
		}
		if r.Diagnostics != "" {
			f.next = append(f.next, p.hint("diag show %s", diagID(r.Diagnostics)))
		}
		return f
	}
	return &failure{
		text: "It has not ended; it is " + rolloutLine(r), code: r.Why, exit: exitPending,
		next: []string{p.hint("policy status %s --watch", r.ID)},
	}
}

// each is the items of a list as a sequence that can't fail.
func each[T any](items []T) func(yield func(T, error) bool) {
	return func(yield func(T, error) bool) {
		for _, item := range items {
			if !yield(item, nil) {
				return
			}
		}
	}
}
