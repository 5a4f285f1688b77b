package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
	"pinreset/shared/work"
)

// PolicyReader is what the desk needs of Graph to show policies and to plan; it writes none.
type PolicyReader interface {
	Policies(ctx context.Context, tenant string) ([]policy.Found, error)
	ServicePrincipal(ctx context.Context, tenant, appID string) (graph.ServicePrincipal, error)
	GroupKind(ctx context.Context, tenant, id string) (policy.GroupKind, error)
}

// Policies are what a tenant has of EnablePinRecovery, read from all of Intune's stores at this moment.
type Policies struct {
	ReadAt   time.Time        `json:"readAt"`
	Policies []policy.Found   `json:"policies" nullable:"false"`
	Findings []policy.Finding `json:"findings" nullable:"false" doc:"What is wrong with them, alone and beside each other"`
	Current  *Rollout         `json:"current,omitempty" doc:"The rollout that stands"`
}

// Target is what a rollout asks for.
type Target struct {
	Shape      policy.Shape `json:"shape,omitempty" doc:"oma-uri (default), settings-catalog, identity-protection or account-protection"`
	Include    []string     `json:"include,omitempty" doc:"Object ids of the groups that get the policy"`
	Exclude    []string     `json:"exclude,omitempty" doc:"Object ids of groups that do not get it, of the same kind (users or devices) as those included"`
	AllDevices bool         `json:"allDevices,omitempty"`
	AllUsers   bool         `json:"allUsers,omitempty"`
}

// Plan is what a rollout would do now.
type Plan struct {
	policy.Plan
	Nothing    bool             `json:"nothing" doc:"Whether everything is as asked already"`
	ETASeconds float64          `json:"etaSeconds" doc:"How long the writes take at least, by Microsoft's published limits less pinreset's reserve; devices take the policy at their next contact"`
	Guard      Guard            `json:"guard"`
	Findings   []policy.Finding `json:"findings" nullable:"false" doc:"What would be wrong among the tenant's policies afterwards"`
}

// Guard says whether the rollout would be let through: it never is while one of Microsoft's two applications is missing or
// disabled.
type Guard struct {
	State string                `json:"state" enum:"passed,refused,unread" doc:"unread: it could not be read, and a rollout would wait or fail"`
	Text  string                `json:"text,omitempty"`
	Code  fault.Code            `json:"code,omitempty"`
	Links []rollout.ConsentLink `json:"links" nullable:"false" doc:"Where an administrator of the tenant consents"`
}

// States of the guard.
const (
	guardPassed  = "passed"
	guardRefused = "refused"
	guardUnread  = "unread"
)

// Policies shows what the tenant has.
func (r *Room) Policies(ctx context.Context) (Policies, error) {
	if err := r.needInEntra(identity.PolicyRead); err != nil {
		return Policies{}, err
	}
	found, err := r.readPolicies(ctx)
	if err != nil {
		return Policies{}, err
	}
	out := Policies{ReadAt: r.desk.o.Now().UTC(), Policies: list(found), Findings: list(r.findings(ctx, found))}
	current, err := rollout.Current(ctx, r.unit())
	switch {
	case err == nil:
		shown := showRollout(current)
		out.Current = &shown
	case !errors.Is(err, work.ErrNotFound):
		return Policies{}, err
	}
	return out, nil
}

func (r *Room) readPolicies(ctx context.Context) ([]policy.Found, error) {
	if r.desk.o.Policies == nil {
		return nil, problem.Refuse(fault.Unavailable, "This server reads no policies.")
	}
	found, err := r.desk.o.Policies.Policies(graph.WithPriority(ctx, graph.People), r.ID())
	if err != nil {
		return nil, fmt.Errorf("read policies of %s: %w", r.ID(), err)
	}
	return found, nil
}

func (r *Room) findings(ctx context.Context, found []policy.Found) []policy.Finding {
	return rollout.Findings(found, func(id string) (policy.GroupKind, error) {
		return r.desk.o.Policies.GroupKind(graph.WithPriority(ctx, graph.People), r.ID(), id)
	})
}

// Plan says what a rollout would do now. It writes nothing, in the tenant or here.
func (r *Room) Plan(ctx context.Context, in Target) (Plan, error) {
	if err := r.needInEntra(identity.PolicyRead); err != nil {
		return Plan{}, err
	}
	target, err := in.normal(r.ID())
	if err != nil {
		return Plan{}, err
	}
	found, err := r.readPolicies(ctx)
	if err != nil {
		return Plan{}, err
	}
	plan, err := target.plan(r.ID(), found)
	if err != nil {
		return Plan{}, err
	}
	return Plan{
		Plan: plan, Nothing: plan.Nothing(), ETASeconds: plan.ETA.Seconds(), Guard: r.guard(ctx), Findings: list(r.findings(ctx, rollout.After(found, target.Desired, plan.Set))),
	}, nil
}

// guard reads both service principals, as a rollout does before each write that counts.
func (r *Room) guard(ctx context.Context) Guard {
	ctx = graph.WithPriority(ctx, graph.People)
	state := Guard{State: guardPassed, Links: []rollout.ConsentLink{}}
	for _, app := range []onboarding.Step{
		{Name: onboarding.StepService, AppID: onboarding.ServiceAppID, Title: "Microsoft Pin Reset Service Production"},
		{Name: onboarding.StepClient, AppID: onboarding.ClientAppID, Title: "Microsoft Pin Reset Client Production"},
	} {
		sp, err := r.desk.o.Policies.ServicePrincipal(ctx, r.ID(), app.AppID)
		text := ""
		switch {
		case errors.Is(err, graph.ErrNotFound):
			text = app.Title + " is missing in the tenant."
		case err != nil:
			if state.State == guardPassed {
				state.State, state.Code, state.Text = guardUnread, fault.CodeOf(err), app.Title+" could not be read."
			}
			continue
		case !sp.Enabled():
			text = app.Title + " is disabled in the tenant."
		default:
			continue
		}
		if state.State != guardRefused {
			state.Text = text
		} else {
			state.Text += " " + text
		}
		link := r.desk.o.Links.For(r.ID(), onboarding.Consent{}, app, r.who.ID)
		state.State, state.Code = guardRefused, fault.ConsentMissing
		state.Links = append(state.Links, rollout.ConsentLink{Step: link.Step, URL: link.URL, Warning: link.Warning})
	}
	return state
}

// samePlan refuses a rollout whose agreed plan is not the one that would be carried out.
func (r *Room) samePlan(ctx context.Context, target wish, hash string) error {
	if hash == "" {
		return nil
	}
	found, err := r.readPolicies(ctx)
	if err != nil {
		return err
	}
	plan, err := target.plan(r.ID(), found)
	if err != nil {
		return err
	}
	if plan.Hash != hash {
		return problem.Refuse(fault.PlanChanged, "The plan would be "+plan.Hash+" now.")
	}
	return nil
}

// wish is a target by the rules of package policy.
type wish struct{ policy.Desired }

// maxGroups bounds the groups of a rollout; the event has the same bound.
const maxGroups = 200

func (t Target) normal(tenantID string) (wish, error) {
	d := policy.Desired{
		Shape: t.Shape, Value: policy.On, Include: t.Include, Exclude: t.Exclude, AllDevices: t.AllDevices, AllUsers: t.AllUsers,
	}
	if d.Shape == "" {
		d.Shape = policy.OMAURI
	}
	if err := d.Validate(); err != nil {
		return wish{}, wrong(err)
	}
	for field, ids := range map[string][]string{"include": d.Include, "exclude": d.Exclude} {
		if len(ids) > maxGroups {
			return wish{}, invalid("body."+field, fmt.Sprintf("must have at most %d entries", maxGroups))
		}
		if slices.Contains(ids, tenantID) {
			return wish{}, invalid("body."+field, "is the tenant's id and no group's")
		}
	}
	return wish{d.Normal()}, nil
}

func (w wish) plan(tenantID string, found []policy.Found) (policy.Plan, error) {
	plan, err := w.Plan(tenantID, found, policy.PublishedPace)
	if c, ok := errors.AsType[*policy.ContradictionError](err); ok {
		return plan, &problem.Refusal{Code: fault.StateConflict, Detail: "The " + c.Error() + ".", Err: err}
	}
	if errors.Is(err, policy.ErrNotWritable) {
		return plan, &problem.Refusal{Code: fault.StateConflict, Detail: "pinreset's policy has changed so that its value can't be written without changing something else in it.", Err: err}
	}
	return plan, err
}

func (w wish) request(id string, in NewRollout, by events.Actor) events.PolicyRolloutRequested {
	return events.PolicyRolloutRequested{
		RequestID: id, Shape: string(w.Shape), Include: w.Include, Exclude: w.Exclude, AllDevices: w.AllDevices, AllUsers: w.AllUsers,
		PlanHash: in.PlanHash, Reason: in.Reason, By: by,
	}
}
