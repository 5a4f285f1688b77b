package events

// Causes of an audit.
const (
	AuditBySchedule     = "schedule"     // the timer
	AuditByOperator     = "operator"     // a person, or a system that sent the event
	AuditByPortal       = "portal"       // somebody changed something in Intune's own portal
	AuditByNotification = "notification" // Microsoft told of a change
	AuditByDevice       = "device"       // a device told something that does not fit
	AuditByRollout      = "rollout"      // a rollout or a rollback has changed the tenant
	AuditByConsent      = "consent"      // a consent was proven
)

// TenantAuditRequested asks to read a tenant and to compare it with what was rolled out and with the audit before. An audit
// only reads; what it may put right is what the tenant opted into.
type TenantAuditRequested struct {
	RequestID string `json:"requestId"` // id of the audit
	Cause     string `json:"cause"`
	RunID     string `json:"runId,omitempty"`  // the run over all tenants that it belongs to
	Reason    string `json:"reason,omitempty"` // why, for the audit log
	By        Actor  `json:"by,omitzero"`
}

func (TenantAuditRequested) Kind() string      { return "tenant.audit.requested.v1" }
func (d TenantAuditRequested) Request() string { return d.RequestID }
func (TenantAuditRequested) subject() Subject  { return "" }

// Validate implements Data.
func (d TenantAuditRequested) Validate() error {
	return check(id("requestId", d.RequestID),
		oneOf("cause", d.Cause, AuditBySchedule, AuditByOperator, AuditByPortal, AuditByNotification, AuditByDevice, AuditByRollout, AuditByConsent),
		optional("runId", d.RunID, id), CheckText("reason", d.Reason, MaxReason, false), d.By.validate("by"))
}

// Outcomes of an audit.
const (
	AuditWhole  = "audited"    // every part was read
	AuditPartly = "partly"     // some parts could not be read
	AuditNot    = "notaudited" // nothing could be read: nothing is known, and nothing is missing
)

// TenantAuditCompleted tells that an audit has ended. The audit itself has what was read.
type TenantAuditCompleted struct {
	RequestID   string   `json:"requestId"`
	Cause       string   `json:"cause"`
	Outcome     string   `json:"outcome"`
	State       string   `json:"state"`                 // where the tenant stands; see package readiness
	Code        string   `json:"code,omitempty"`        // why nothing could be read
	Unread      []string `json:"unread,omitempty"`      // parts that could not be read
	Drift       []string `json:"drift,omitempty"`       // codes of what has drifted since the audit before
	Diagnostics string   `json:"diagnostics,omitempty"` // where the story of a tenant that could not be read is
}

func (TenantAuditCompleted) Kind() string      { return "tenant.audit.completed.v1" }
func (d TenantAuditCompleted) Request() string { return d.RequestID }
func (TenantAuditCompleted) subject() Subject  { return "" }

// Validate implements Data.
func (d TenantAuditCompleted) Validate() error {
	page := func(field, value string) error { return match(field, value, pagePattern(), "must be a link") }
	return check(id("requestId", d.RequestID),
		oneOf("cause", d.Cause, AuditBySchedule, AuditByOperator, AuditByPortal, AuditByNotification, AuditByDevice, AuditByRollout, AuditByConsent),
		oneOf("outcome", d.Outcome, AuditWhole, AuditPartly, AuditNot), id("state", d.State), optional("code", d.Code, id),
		list("unread", d.Unread, 0, maxName, id), list("drift", d.Drift, 0, maxName, id), optional("diagnostics", d.Diagnostics, page))
}

// TenantDriftFound tells that a tenant is no longer as it was at the audit before, to the worse. Each audit tells each drift
// once: what stays as it is, is not told again.
type TenantDriftFound struct {
	RequestID   string   `json:"requestId"` // of the audit
	Code        string   `json:"code"`      // what has drifted; stable, see package fault
	Title       string   `json:"title"`
	Cause       string   `json:"cause"`
	Detail      string   `json:"detail"`             // what was found, beside what was there before
	PolicyID    string   `json:"policyId,omitempty"` // Intune's id, where it is about a policy
	Fix         []string `json:"fix"`                // what to do, in order
	LearnMore   []string `json:"learnMore,omitempty"`
	RemedyID    string   `json:"remedyId,omitempty"` // id of the rollout that puts it right, where the tenant opted into that
	Diagnostics string   `json:"diagnostics"`
}

func (TenantDriftFound) Kind() string      { return "tenant.drift.found.v1" }
func (d TenantDriftFound) Request() string { return d.RequestID }
func (TenantDriftFound) subject() Subject  { return "" }

// Validate implements Data.
func (d TenantDriftFound) Validate() error {
	fix := func(field, value string) error { return CheckText(field, value, maxFix, true) }
	link := func(field, value string) error { return match(field, value, linkPattern(), "must be an https link") }
	return check(id("requestId", d.RequestID), id("code", d.Code),
		CheckText("title", d.Title, 200, true), CheckText("cause", d.Cause, 1000, true), CheckText("detail", d.Detail, MaxDetail, true),
		optional("policyId", d.PolicyID, guid), list("fix", d.Fix, 1, maxList, fix), list("learnMore", d.LearnMore, 0, maxList, link),
		optional("remedyId", d.RemedyID, id), match("diagnostics", d.Diagnostics, pagePattern(), "must be a link"))
}
