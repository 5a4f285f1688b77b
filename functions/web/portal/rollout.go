package portal

import (
	"errors"
	"net/http"
	"strings"

	"pinreset/functions/web/internal/desk"
	"pinreset/functions/web/internal/problem"
	"pinreset/functions/web/internal/view"
	"pinreset/shared/identity"
	"pinreset/shared/policy"
)

type rolloutsData struct {
	Rollouts []desk.Rollout
	Next     string
	Policies *desk.Policies // nil: not read
	Unread   string         // why
	MayWrite bool
	Shapes   []policy.Shape
	Target   desk.Target
	Groups   string
	Except   string
	Form     view.Form
}

func (p *pages) rollouts(v *visit) error {
	return p.showRollouts(v, http.StatusOK, func(*rolloutsData) {})
}

// showRollouts shows what Intune has and what was rolled out. Policies that could not be read are no reason to hide the rollouts.
func (p *pages) showRollouts(v *visit, status int, fill func(*rolloutsData)) error {
	list, err := v.room.Rollouts(v.r.Context(), paged(v.r))
	if err != nil {
		return err
	}
	data := rolloutsData{Rollouts: list.Items, Next: next(v.r, list.Next), MayWrite: v.room.Can(identity.PolicyWrite), Shapes: policy.Shapes, Form: fresh()}
	found, err := v.room.Policies(v.r.Context())
	if err == nil {
		data.Policies = &found
	} else {
		problem.Note(v.r.Context(), err)
		data.Unread = problem.Of(v.r.Context(), err, p.Now()).Title
	}
	fill(&data)
	return p.showStatus(v, status, "rollouts", p.chrome(v, "rollouts", "Policy rollouts"), data)
}

type planData struct {
	Plan   desk.Plan
	Target desk.Target
	Groups string
	Except string
	Form   view.Form
}

// plan shows what a rollout would do. It writes nothing, and is a POST because it asks Graph for as much as the form says.
func (p *pages) plan(v *visit) error { return p.showPlan(v, http.StatusOK, fresh()) }

func (p *pages) showPlan(v *visit, status int, f view.Form) error {
	target := targetOf(v.r)
	planned, err := v.room.Plan(v.r.Context(), target)
	if bad, isForm := wrong(f, err); isForm {
		return p.showRollouts(v, http.StatusUnprocessableEntity, func(d *rolloutsData) {
			d.Form, d.Target, d.Groups, d.Except = bad, target, lines(target.Include), lines(target.Exclude)
		})
	}
	if err != nil {
		return err
	}
	return p.showStatus(v, status, "plan", p.chrome(v, "rollouts", "Plan of a rollout"), planData{
		Plan: planned, Target: target, Groups: lines(target.Include), Except: lines(target.Exclude), Form: f,
	})
}

// startRollout carries out the plan that was shown, and no other.
func (p *pages) startRollout(v *visit) error {
	f := typed(v.r)
	a, err := v.room.StartRollout(v.r.Context(), f.Key, desk.NewRollout{Target: targetOf(v.r), PlanHash: v.r.PostFormValue("plan"), Reason: f.Reason})
	if f, isForm := wrong(f, err); isForm {
		return p.showPlan(v, http.StatusUnprocessableEntity, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/rollouts/" + a.Body.ID)
}

// targetOf is whom the form's rollout is for.
func targetOf(r *http.Request) desk.Target {
	groups := func(field string) []string {
		return strings.FieldsFunc(r.PostFormValue(field), func(c rune) bool { return strings.ContainsRune(" \t\r\n,;", c) })
	}
	return desk.Target{
		Shape: policy.Shape(r.PostFormValue("shape")), Include: groups("include"), Exclude: groups("exclude"),
		AllDevices: r.PostFormValue("all") == "devices", AllUsers: r.PostFormValue("all") == "users",
	}
}

func lines(ids []string) string { return strings.Join(ids, "\n") }

type rolloutData struct {
	Rollout  desk.RolloutDetail
	Pace     policy.Pace // of its writes
	MayWrite bool
	Form     view.Form
}

func (p *pages) rollout(v *visit) error { return p.showRollout(v, http.StatusOK, fresh()) }

func (p *pages) showRollout(v *visit, status int, f view.Form) error {
	d, err := v.room.Rollout(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	c := p.chrome(v, "rollouts", "Rollout")
	c.About = d.ID // how far it has got is told by nobody, so it is looked at as often as ever
	if d.Open && len(f.Errors) == 0 {
		c.Live = refresh
	}
	return p.showStatus(v, status, "rollout", c, rolloutData{Rollout: d, Pace: policy.PublishedPace, MayWrite: v.room.Can(identity.PolicyWrite), Form: f})
}

func (p *pages) rollBack(v *visit) error {
	id, f := v.r.PathValue("id"), typed(v.r)
	_, err := v.room.StartRollback(v.r.Context(), f.Key, id, desk.NewRollback{
		Unassign: v.r.PostFormValue("unassign") == "yes", Delete: v.r.PostFormValue("delete") == "yes", Reason: f.Reason,
	})
	if f, isForm := wrong(f, err); isForm {
		return p.showRollout(v, http.StatusUnprocessableEntity, f)
	}
	if refusal, ok := errors.AsType[*problem.Refusal](err); ok && refusal.Detail != "" && refusal.Instance == "" {
		f.Errors = []problem.Field{{Message: refusal.Detail}}
		return p.showRollout(v, http.StatusConflict, f)
	}
	if err != nil {
		return err
	}
	return v.redirect("/tenants/" + v.room.ID() + "/rollouts/" + id)
}
