// Package onboarding is what it takes to look after a tenant: the consent to pinreset's own applications and to Microsoft's
// two PIN reset applications, where each step stands, and the links an administrator of the tenant must follow.
//
// The order matters. pinreset's own application comes first: it is the only one with a callback, and without it nothing can
// be read back. Microsoft's two never call back, and end on a page that looks like an error when they worked; the proof is
// that the directory shows their service principals, present and enabled.
//
// Facts: Microsoft's page "PIN reset" (the application ids and links), the page "v2-admin-consent" (the callback's rules).
package onboarding

import (
	"context"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Queue is where consent work waits.
const Queue work.Queue = "consent"

// Microsoft's two applications.
const (
	ServiceAppID = "b8456c59-1230-44c7-a4a2-99b085333e84" // Microsoft Pin Reset Service Production
	ClientAppID  = "9115dd05-fad5-4f9c-acc7-305d08b1b04e" // Microsoft Pin Reset Client Production
)

// States of a tenant's consent.
const (
	Pending = "pending"
	Proven  = "proven"
	Failed  = "failed"

	NotApplicable = "notApplicable" // shown for a tenant on premises; never stored
)

// States of a step.
const (
	StepWaiting  = "waiting"  // the directory does not show it
	StepSeen     = "seen"     // shown once; the directory replicates, so once is not yet proof
	StepProven   = "proven"   // shown, enabled, twice in a row
	StepDisabled = "disabled" // there, but switched off
	StepUnread   = "unread"   // could not be read; that is not "missing"
)

// Names of steps, in their order.
const (
	StepApp        = "app"        // pinreset's application
	StepPrivileged = "privileged" // pinreset's second application, for resets, where one is configured
	StepService    = "service"    // Microsoft Pin Reset Service Production
	StepClient     = "client"     // Microsoft Pin Reset Client Production
)

// Step is one thing that must be consented.
type Step struct {
	Name             string     `json:"name"`
	AppID            string     `json:"appId"`
	Title            string     `json:"title"`
	State            string     `json:"state"`
	ServicePrincipal string     `json:"servicePrincipal,omitempty"` // object id, once seen
	Grants           []string   `json:"grants,omitempty"`           // what the service principal holds, as read
	Why              fault.Code `json:"why,omitempty"`
	CheckedAt        time.Time  `json:"checkedAt,omitzero"`
	ProvenAt         time.Time  `json:"provenAt,omitzero"`
}

// Consent is where a tenant's consent stands.
type Consent struct {
	RequestID               string     `json:"requestId"`
	State                   string     `json:"state"`
	CreateServicePrincipals bool       `json:"createServicePrincipals,omitempty"`
	Created                 bool       `json:"created,omitempty"` // a service principal was created by pinreset
	StartedAt               time.Time  `json:"startedAt"`
	Deadline                time.Time  `json:"deadline"`
	Steps                   []Step     `json:"steps"`
	Checks                  int        `json:"checks"`
	CheckID                 string     `json:"checkId,omitempty"` // the one reminder that counts
	NextCheck               time.Time  `json:"nextCheck,omitzero"`
	ProvenAt                time.Time  `json:"provenAt,omitzero"`
	FailureCode             fault.Code `json:"failureCode,omitempty"`
	Diagnostics             string     `json:"diagnostics,omitempty"`
}

const consentRow = "consent"

// Read returns the consent of the unit's tenant, or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit) (Consent, error) {
	var c Consent
	return c, u.Get(ctx, consentRow, &c)
}

// Write stages the consent of the unit's tenant.
func Write(u *work.Unit, c Consent) error { return u.Put(consentRow, c) }

// Step returns the named step, or nil.
func (c *Consent) Step(name string) *Step {
	for i := range c.Steps {
		if c.Steps[i].Name == name {
			return &c.Steps[i]
		}
	}
	return nil
}

// Complete reports whether every step is proven.
func (c *Consent) Complete() bool {
	for _, s := range c.Steps {
		if s.State != StepProven {
			return false
		}
	}
	return len(c.Steps) > 0
}

// Next returns the first step that is not proven, or nil.
func (c *Consent) Next() *Step {
	for i := range c.Steps {
		if c.Steps[i].State != StepProven {
			return &c.Steps[i]
		}
	}
	return nil
}
