package client

import (
	"context"
	"iter"
	"net/http"
	"time"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/fault"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

// Policies are what a tenant has of EnablePinRecovery, in all of Intune's stores, with what is wrong among them.
type Policies struct {
	ReadAt   time.Time        `json:"readAt"`
	Policies []policy.Found   `json:"policies"`
	Findings []policy.Finding `json:"findings"`
	Current  *Rollout         `json:"current,omitempty"` // the rollout that stands
}

// Target is what a rollout asks for. Groups are named by their object ids; the shape "" is oma-uri.
type Target struct {
	Shape      policy.Shape `json:"shape,omitempty"`
	Include    []string     `json:"include,omitempty"`
	Exclude    []string     `json:"exclude,omitempty"`
	AllDevices bool         `json:"allDevices,omitempty"`
	AllUsers   bool         `json:"allUsers,omitempty"`
}

// Plan is what a rollout would do now.
type Plan struct {
	policy.Plan
	Nothing    bool             `json:"nothing"`    // everything is as asked already
	ETASeconds float64          `json:"etaSeconds"` // of the writes, at least
	Guard      Guard            `json:"guard"`
	Findings   []policy.Finding `json:"findings"`
}

// Guard says whether a rollout would be let through. Its states are passed, refused and unread.
type Guard struct {
	State string                `json:"state"`
	Text  string                `json:"text,omitempty"`
	Code  fault.Code            `json:"code,omitempty"`
	Links []rollout.ConsentLink `json:"links"` // where an administrator of the tenant consents
}

// NewRollout asks for EnablePinRecovery to be switched on and assigned.
type NewRollout struct {
	Target
	PlanHash string `json:"planHash,omitempty"` // of a plan: with any other it is refused with plan_changed
	Reason   string `json:"reason"`             // why, for the audit log
}

// NewRollback asks for a rollout to be taken back; see events.PolicyRollbackRequested.
type NewRollback struct {
	Unassign bool   `json:"unassign,omitempty"`
	Delete   bool   `json:"delete,omitempty"`
	Reason   string `json:"reason"` // why, for the audit log
}

// Rollout is one rollout of the policy; see package rollout for its fields.
type Rollout struct {
	ID           string                `json:"id"`
	State        rollout.State         `json:"state"`
	Open         bool                  `json:"open"`
	Placed       bool                  `json:"placed"` // the policy was read back as asked
	Shape        policy.Shape          `json:"shape"`
	Include      []string              `json:"include"`
	Exclude      []string              `json:"exclude"`
	AllDevices   bool                  `json:"allDevices"`
	AllUsers     bool                  `json:"allUsers"`
	PlanHash     string                `json:"planHash,omitempty"`
	Reason       string                `json:"reason"`
	By           events.Actor          `json:"by"`
	RequestedAt  time.Time             `json:"requestedAt"`
	PolicyID     string                `json:"policyId,omitempty"`
	PolicyName   string                `json:"policyName,omitempty"`
	Created      bool                  `json:"created"`
	Writes       int                   `json:"writes"`
	PlacedAt     time.Time             `json:"placedAt,omitzero"`
	Steps        []rollout.Note        `json:"steps"`
	Findings     []policy.Finding      `json:"findings"`
	Links        []rollout.ConsentLink `json:"links"`
	Progress     *rollout.Progress     `json:"progress,omitempty"`
	Percent      *int                  `json:"percent,omitempty"` // nil where it is unknown
	Samples      []rollout.Progress    `json:"samples"`
	WatchUntil   time.Time             `json:"watchUntil,omitzero"`
	Why          fault.Code            `json:"why,omitempty"`
	WhyText      string                `json:"whyText,omitempty"`
	NextCheck    time.Time             `json:"nextCheck,omitzero"`
	Rollback     *rollout.Rollback     `json:"rollback,omitempty"`
	EndedAt      time.Time             `json:"endedAt,omitzero"`
	FailureCode  fault.Code            `json:"failureCode,omitempty"`
	FailureTitle string                `json:"failureTitle,omitempty"`
	Diagnostics  string                `json:"diagnostics,omitempty"`

	Timeline []diag.Attempt `json:"timeline,omitempty"` // only from [Client.Rollout]
}

// Policies reads what a tenant has, live from Intune.
func (c *Client) Policies(ctx context.Context, tenant string) (p Policies, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "policies"), &p)
	return p, err
}

// PlanRollout says what a rollout would do now. It changes nothing, so it may be repeated.
func (c *Client) PlanRollout(ctx context.Context, tenant string, t Target) (p Plan, err error) {
	_, err = c.do(ctx, call{method: http.MethodPost, path: []string{"v1", "tenants", tenant, "policies", "plan"}, body: t, repeat: safe}, &p)
	return p, err
}

// StartRollout asks for a rollout. While the same one is being written, that one is returned and existing is true.
func (c *Client) StartRollout(ctx context.Context, tenant string, n NewRollout) (r Rollout, existing bool, err error) {
	status, err := c.do(ctx, post(n, "v1", "tenants", tenant, "rollouts"), &r)
	return r, status == http.StatusOK, err
}

// Rollouts lists a tenant's rollouts, newest first.
func (c *Client) Rollouts(ctx context.Context, tenant string) iter.Seq2[Rollout, error] {
	return pages[Rollout](ctx, c, nil, "v1", "tenants", tenant, "rollouts")
}

// Rollout reads one with its timeline.
func (c *Client) Rollout(ctx context.Context, tenant, id string) (r Rollout, err error) {
	_, err = c.do(ctx, get("v1", "tenants", tenant, "rollouts", id), &r)
	return r, err
}

// StartRollback asks for a rollout to be taken back.
func (c *Client) StartRollback(ctx context.Context, tenant, id string, n NewRollback) (r Rollout, err error) {
	_, err = c.do(ctx, post(n, "v1", "tenants", tenant, "rollouts", id, "rollback"), &r)
	return r, err
}

// WaitRollout reads a rollout until done says so of it, and returns it. seen, which may be nil, is told of every state that was
// read. When ctx ends first, the last state comes with the context's error.
func (c *Client) WaitRollout(ctx context.Context, tenant, id string, done func(Rollout) bool, seen func(Rollout)) (Rollout, error) {
	var last Rollout
	err := c.poll(ctx, func() (bool, error) {
		r, err := c.Rollout(ctx, tenant, id)
		if err != nil {
			return false, err
		}
		last = r
		if seen != nil {
			seen(r)
		}
		return done(r), nil
	})
	return last, err
}
