package policy

// Severity is how bad a finding is.
type Severity string

// Severities.
const (
	Error   Severity = "error"   // it does not do what it is there for
	Warning Severity = "warning" // it may not, or not for everybody
	Info    Severity = "info"    // worth knowing
)

// Code names a kind of finding. Codes are stable.
type Code string

// Codes of findings.
const (
	WrongPath        Code = "oma_uri_wrong_path"      // …/MSFT/Policy/PassportForWork/…, as Microsoft's page on PIN reset prints it
	Braces           Code = "oma_uri_braces"          // the tenant's id is in curly braces
	OtherTenant      Code = "oma_uri_other_tenant"    // another GUID than the tenant's
	NoTenant         Code = "oma_uri_no_tenant"       // a placeholder, or nothing, where the tenant's id belongs
	NoScope          Code = "oma_uri_no_scope"        // neither ./Device nor ./User before it
	WrongURI         Code = "oma_uri_wrong"           // wrong in another way
	NotBoolean       Code = "oma_value_not_boolean"   // a String "True" or a number in place of a Boolean
	Encrypted        Code = "oma_value_encrypted"     // Graph does not show the value
	TenantInCatalog  Code = "catalog_tenant_replaced" // {tenantid} in a settings catalog id is literal and was replaced
	Duplicate        Code = "policy_duplicate"        // several assigned policies set the same
	OursTwice        Code = "policy_created_twice"    // several policies of one shape have our mark
	Contradiction    Code = "policy_contradiction"    // assigned policies set different values
	Unassigned       Code = "policy_unassigned"       // nobody has it
	MixedExclusion   Code = "exclusion_of_other_kind" // an excluded group of users where devices are included, or the reverse
	UnknownExclusion Code = "exclusion_kind_unknown"  // what a group holds could not be read
	IncludedExcluded Code = "group_included_excluded" // one group in both
	RetiredShape     Code = "policy_retired_shape"    // a form that Intune no longer offers
	ListQuotes       Code = "allow_list_quotes"       // quotation marks break the whole list
	ListScheme       Code = "allow_list_scheme"       // https:// before a domain
	ListPath         Code = "allow_list_path"         // a path after a domain
	ListComma        Code = "allow_list_comma"        // commas in place of semicolons
	ListSpace        Code = "allow_list_space"        // spaces
	ListEmpty        Code = "allow_list_empty"        // no domain in it
)

// Finding is something that is wrong with a policy, or that people should know of it.
type Finding struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"` // one sentence: what is so
	Fix      string   `json:"fix"`  // what to do
	PolicyID string   `json:"policyId,omitempty"`
	Others   []string `json:"others,omitempty"` // ids of the other policies, or of the groups, that it is about
}
