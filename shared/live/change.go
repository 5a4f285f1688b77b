package live

import "pinreset/shared/audit"

// Change is that something got another state. The details are read where the rights to see them are asked for.
type Change struct {
	Kind  string `json:"kind"` // of what changed: reset, bulk, rollout, audit, tenant, approval, caller, deadletter
	ID    string `json:"id"`   // of what changed, in its tenant; "" where the tenant itself did
	State string `json:"state"`
}

// states are the actions of the log that change what a page shows. Who was let in, who looked at a code's budget and the like is for those who
// may read the log.
var states = map[string]Change{
	audit.TenantAdded:       {Kind: "tenant", State: "added"},
	audit.ConsentRequested:  {Kind: "tenant", State: "consentRequested"},
	audit.ConsentProven:     {Kind: "tenant", State: "consentProven"},
	audit.ConsentDeclined:   {Kind: "tenant", State: "consentDeclined"},
	audit.SettingsChanged:   {Kind: "tenant", State: "settingsChanged"},
	audit.ResetRequested:    {Kind: "reset", State: "requested"},
	audit.ResetAdopted:      {Kind: "reset", State: "adopted"},
	audit.ResetCrossed:      {Kind: "reset", State: "crossed"},
	audit.ResetIssued:       {Kind: "reset", State: "issued"},
	audit.ResetFailed:       {Kind: "reset", State: "failed"},
	audit.ResetCancelled:    {Kind: "reset", State: "cancelled"},
	audit.PasscodeRevealed:  {Kind: "reset", State: "revealed"},
	audit.PasscodeExpired:   {Kind: "reset", State: "expired"},
	audit.PasscodeVoided:    {Kind: "reset", State: "voided"},
	audit.PasscodeOutcome:   {Kind: "reset", State: "outcome"},
	audit.BulkRequested:     {Kind: "bulk", State: "requested"},
	audit.BulkCancelled:     {Kind: "bulk", State: "cancelled"},
	audit.RolloutRequested:  {Kind: "rollout", State: "requested"},
	audit.RolloutPlaced:     {Kind: "rollout", State: "placed"},
	audit.RolloutFailed:     {Kind: "rollout", State: "failed"},
	audit.RollbackRequested: {Kind: "rollout", State: "rollbackRequested"},
	audit.RolloutTakenBack:  {Kind: "rollout", State: "takenBack"},
	audit.AuditRunAsked:     {Kind: "audit", State: "requested"},
	audit.TenantAudited:     {Kind: "audit", State: "audited"},
	audit.ApprovalAsked:     {Kind: "approval", State: "requested"},
	audit.ApprovalGiven:     {Kind: "approval", State: "given"},
	audit.ApprovalDeclined:  {Kind: "approval", State: "declined"},
	audit.CallerConfirmed:   {Kind: "caller", State: "confirmed"},
	audit.LetterReplayed:    {Kind: "deadletter", State: "replayed"},
	audit.LetterDropped:     {Kind: "deadletter", State: "dropped"},
}

// appendChange appends what the entry changed, if that is told.
func appendChange(changes []Change, e audit.Entry) []Change {
	c, ok := states[e.Action]
	if !ok {
		return changes
	}
	if c.Kind != "tenant" {
		c.ID = e.RequestID
	}
	return append(changes, c)
}
