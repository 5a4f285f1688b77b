package desk

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Consent is where a tenant's consent stands.
type Consent struct {
	State                   string        `json:"state" enum:"pending,proven,failed,notApplicable"`
	RequestID               string        `json:"requestId,omitempty"`
	CreateServicePrincipals bool          `json:"createServicePrincipals,omitempty"`
	StartedAt               time.Time     `json:"startedAt,omitzero"`
	Deadline                time.Time     `json:"deadline,omitzero" doc:"When an unfinished consent has failed"`
	NextCheck               time.Time     `json:"nextCheck,omitzero" doc:"When the directory is read next"`
	ProvenAt                time.Time     `json:"provenAt,omitzero"`
	Checks                  int           `json:"checks" doc:"How often the directory was read lately"`
	FailureCode             fault.Code    `json:"failureCode,omitempty"`
	FailureTitle            string        `json:"failureTitle,omitempty"`
	Diagnostics             string        `json:"diagnostics,omitempty" doc:"Path of the page of the failure"`
	Steps                   []ConsentStep `json:"steps" nullable:"false" doc:"In the order they are to be done; empty until the consent has begun"`
	Next                    string        `json:"next,omitempty" doc:"Name of the first step that is not proven"`
}

// ConsentStep is one thing that must be consented.
type ConsentStep struct {
	Name             string     `json:"name" enum:"app,privileged,service,client"`
	Title            string     `json:"title"`
	AppID            string     `json:"appId"`
	State            string     `json:"state" enum:"waiting,seen,proven,disabled,unread"`
	Why              fault.Code `json:"why,omitempty"`
	WhyText          string     `json:"whyText,omitempty"`
	ServicePrincipal string     `json:"servicePrincipal,omitempty" doc:"Object id in the tenant's directory"`
	Grants           []string   `json:"grants,omitempty" nullable:"false" doc:"What the service principal holds, as read"`
	Link             string     `json:"link,omitempty" doc:"For an administrator of the tenant; made for this answer"`
	Warning          string     `json:"warning,omitempty" doc:"What the administrator should know before following the link"`
	CheckedAt        time.Time  `json:"checkedAt,omitzero"`
	ProvenAt         time.Time  `json:"provenAt,omitzero"`
}

// ConsentStart asks to start a consent again.
type ConsentStart struct {
	CreateServicePrincipals bool   `json:"createServicePrincipals,omitempty" doc:"See adding a tenant"`
	Reason                  string `json:"reason,omitempty" doc:"Why, for the audit log; at most 500 characters"`
}

// ConsentStarted names the consent run that was started.
type ConsentStarted struct {
	RequestID string `json:"requestId"`
}

// Consent shows where the tenant's consent stands, with fresh links.
func (r *Room) Consent(ctx context.Context) (Consent, error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return Consent{}, err
	}
	return r.consent(ctx, r.unit(), true)
}

func (r *Room) consent(ctx context.Context, u *work.Unit, links bool) (Consent, error) {
	if r.tenant.Kind == tenant.OnPremises {
		return noConsent(), nil
	}
	c, err := onboarding.Read(ctx, u)
	if errors.Is(err, work.ErrNotFound) {
		return Consent{State: onboarding.Pending, Steps: []ConsentStep{}}, nil // accepted, and not looked at yet
	}
	if err != nil {
		return Consent{}, fmt.Errorf("read consent of %s: %w", r.ID(), err)
	}
	out := Consent{
		State: c.State, RequestID: c.RequestID, CreateServicePrincipals: c.CreateServicePrincipals, StartedAt: c.StartedAt,
		Deadline: c.Deadline, NextCheck: c.NextCheck, ProvenAt: c.ProvenAt, Checks: c.Checks, FailureCode: c.FailureCode,
		FailureTitle: titleOf(c.FailureCode), Diagnostics: c.Diagnostics, Steps: make([]ConsentStep, 0, len(c.Steps)),
	}
	for _, s := range c.Steps {
		step := ConsentStep{
			Name: s.Name, Title: s.Title, AppID: s.AppID, State: s.State, Why: s.Why, WhyText: titleOf(s.Why),
			ServicePrincipal: s.ServicePrincipal, Grants: s.Grants, CheckedAt: s.CheckedAt, ProvenAt: s.ProvenAt,
		}
		// A link can end the run as well as further it (the page behind it may answer "declined"), so it is for those who may
		// start one; and a run that has ended has none.
		if links && c.State == onboarding.Pending && r.Can(identity.TenantOnboard) {
			link := r.desk.o.Links.For(r.ID(), c, s, r.who.ID)
			step.Link, step.Warning = link.URL, link.Warning
		}
		out.Steps = append(out.Steps, step)
	}
	if next := c.Next(); next != nil {
		out.Next = next.Name
	}
	return out, nil
}

// noConsent is the consent of a tenant on premises: there is nothing to consent to.
func noConsent() Consent { return Consent{State: onboarding.NotApplicable, Steps: []ConsentStep{}} }

// StartConsent starts the tenant's consent again, in place of a run that is under way.
func (r *Room) StartConsent(ctx context.Context, key string, in ConsentStart) (Answer[ConsentStarted], error) {
	var none Answer[ConsentStarted]
	if err := r.needInEntra(identity.TenantOnboard); err != nil {
		return none, err
	}
	if err := checkWhy(in.Reason, "", false); err != nil {
		return none, err
	}
	c, err := r.call(key, "start consent", in)
	if err != nil {
		return none, err
	}
	return once(ctx, r.desk, r.ID(), c, func(u *work.Unit) (Answer[ConsentStarted], error) {
		id := u.NewID()
		_, err := u.Send(ctx, onboarding.Queue, time.Time{}, events.ConsentRequested{
			RequestID: id, CreateServicePrincipals: in.CreateServicePrincipals, Reason: in.Reason, By: r.who.Operator(),
		})
		return Answer[ConsentStarted]{
			Status: http.StatusAccepted, Location: "/v1/tenants/" + r.ID() + "/consent", Body: ConsentStarted{RequestID: id},
		}, err
	})
}
