package events

// Shapes that pinreset can give a policy; see package policy.
const (
	ShapeOMAURI             = "oma-uri"
	ShapeSettingsCatalog    = "settings-catalog"
	ShapeIdentityProtection = "identity-protection"
	ShapeAccountProtection  = "account-protection"
)

// PolicyRolloutRequested asks for EnablePinRecovery to be switched on in a tenant and assigned. Nothing is assigned unless
// Microsoft's two PIN reset applications are present and enabled at that moment.
type PolicyRolloutRequested struct {
	RequestID  string   `json:"requestId"`            // id of the rollout
	Shape      string   `json:"shape"`                // how the policy is made
	Include    []string `json:"include,omitempty"`    // object ids of groups
	Exclude    []string `json:"exclude,omitempty"`    // object ids of groups, of the same kind as those included
	AllDevices bool     `json:"allDevices,omitempty"` // beside the groups
	AllUsers   bool     `json:"allUsers,omitempty"`   // beside the groups
	PlanHash   string   `json:"planHash,omitempty"`   // carry out this plan or nothing
	Reason     string   `json:"reason"`               // why, for the audit log
	By         Actor    `json:"by,omitzero"`
}

func (PolicyRolloutRequested) Kind() string      { return "policy.rollout.requested.v1" }
func (d PolicyRolloutRequested) Request() string { return d.RequestID }
func (PolicyRolloutRequested) subject() Subject  { return "" }

// Validate implements Data. Whether the targets make sense together is the rollout's own rule.
func (d PolicyRolloutRequested) Validate() error {
	return check(id("requestId", d.RequestID), shapeName("shape", d.Shape),
		list("include", d.Include, 0, maxGroups, guid), list("exclude", d.Exclude, 0, maxGroups, guid),
		optional("planHash", d.PlanHash, id), CheckText("reason", d.Reason, MaxReason, true), d.By.validate("by"))
}

// PolicyRolloutCheckDue is pinreset's reminder to itself to go on with a rollout or its rollback: to look at what devices say.
type PolicyRolloutCheckDue struct {
	RequestID string `json:"requestId"` // of the rollout, or of the rollback
	RolloutID string `json:"rolloutId"`
}

func (PolicyRolloutCheckDue) Kind() string      { return "policy.rollout.checkdue.v1" }
func (d PolicyRolloutCheckDue) Request() string { return d.RequestID }
func (PolicyRolloutCheckDue) subject() Subject  { return "" }

// Validate implements Data.
func (d PolicyRolloutCheckDue) Validate() error {
	return check(id("requestId", d.RequestID), id("rolloutId", d.RolloutID))
}

// PolicyRollbackRequested asks for a rollout to be taken back: the value is written false first, and devices get time to take
// it. Unassigning alone may leave the old value on devices.
type PolicyRollbackRequested struct {
	RequestID string `json:"requestId"` // id of the rollback
	RolloutID string `json:"rolloutId"`
	Unassign  bool   `json:"unassign,omitempty"` // take the rollout's assignments away afterwards
	Delete    bool   `json:"delete,omitempty"`   // delete the policy afterwards, where nobody else's assignment is on it
	Reason    string `json:"reason"`             // why, for the audit log
	By        Actor  `json:"by,omitzero"`
}

func (PolicyRollbackRequested) Kind() string      { return "policy.rollback.requested.v1" }
func (d PolicyRollbackRequested) Request() string { return d.RequestID }
func (PolicyRollbackRequested) subject() Subject  { return "" }

// Validate implements Data.
func (d PolicyRollbackRequested) Validate() error {
	return check(id("requestId", d.RequestID), id("rolloutId", d.RolloutID),
		CheckText("reason", d.Reason, MaxReason, true), d.By.validate("by"))
}

// How a rollout or its rollback ended.
const (
	RolloutEverywhere = "everywhere" // every device that the policy applies to has reported it
	RolloutWatched    = "watched"    // the time of watching is over; the rollout shows what was seen
	RolloutUnknown    = "unknown"    // in place; nothing tells what devices made of it
	RolloutTakenBack  = "takenback"  // rolled back
)

// PolicyRolloutCompleted tells that a rollout, or its rollback, has ended. The rollout itself has the figures.
type PolicyRolloutCompleted struct {
	RequestID string `json:"requestId"` // of the rollout, or of the rollback
	RolloutID string `json:"rolloutId"`
	PolicyID  string `json:"policyId"` // Intune's id
	Shape     string `json:"shape"`
	Outcome   string `json:"outcome"`
}

func (PolicyRolloutCompleted) Kind() string      { return "policy.rollout.completed.v1" }
func (d PolicyRolloutCompleted) Request() string { return d.RequestID }
func (PolicyRolloutCompleted) subject() Subject  { return "" }

// Validate implements Data.
func (d PolicyRolloutCompleted) Validate() error {
	return check(id("requestId", d.RequestID), id("rolloutId", d.RolloutID), guid("policyId", d.PolicyID),
		shapeName("shape", d.Shape), oneOf("outcome", d.Outcome, RolloutEverywhere, RolloutWatched, RolloutUnknown, RolloutTakenBack))
}

// shapeName is the rule of a policy's shape.
func shapeName(field, value string) error {
	return oneOf(field, value, ShapeOMAURI, ShapeSettingsCatalog, ShapeIdentityProtection, ShapeAccountProtection)
}

// optional applies the rule to a text that is there.
func optional(field, value string, rule func(field, value string) error) error {
	if value == "" {
		return nil
	}
	return rule(field, value)
}
