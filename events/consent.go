package events

// ConsentRequested asks to start a tenant's consent, or to start it again.
type ConsentRequested struct {
	RequestID               string `json:"requestId"`
	CreateServicePrincipals bool   `json:"createServicePrincipals,omitempty"` // see TenantAdded
	Reason                  string `json:"reason,omitempty"`                  // why, for the audit log
	By                      Actor  `json:"by,omitzero"`
}

func (ConsentRequested) Kind() string      { return "tenant.consent.requested.v1" }
func (d ConsentRequested) Request() string { return d.RequestID }
func (ConsentRequested) subject() Subject  { return "" }

// Validate implements Data.
func (d ConsentRequested) Validate() error {
	return check(id("requestId", d.RequestID), CheckText("reason", d.Reason, MaxReason, false), d.By.validate("by"))
}

// ConsentReturned tells that a browser came back from the consent page of pinreset's own application. It is a hint that a
// look is worth while, never a proof: anybody can call the address.
type ConsentReturned struct {
	RequestID string `json:"requestId"`
	App       string `json:"app"`              // client id of the application that was consented to
	Error     string `json:"error,omitempty"`  // Entra's error code when the administrator declined
	LinkBy    string `json:"linkBy,omitempty"` // id of the operator whom the link was made for
}

func (ConsentReturned) Kind() string      { return "tenant.consent.returned.v1" }
func (d ConsentReturned) Request() string { return d.RequestID }
func (ConsentReturned) subject() Subject  { return "" }

// Validate implements Data.
func (d ConsentReturned) Validate() error {
	if d.LinkBy != "" {
		if err := id("linkBy", d.LinkBy); err != nil {
			return err
		}
	}
	return check(id("requestId", d.RequestID), guid("app", d.App), CheckText("error", d.Error, 80, false))
}

// ConsentCheckDue is pinreset's reminder to itself to read the directory again.
type ConsentCheckDue struct {
	RequestID string `json:"requestId"`
}

func (ConsentCheckDue) Kind() string      { return "tenant.consent.checkdue.v1" }
func (d ConsentCheckDue) Request() string { return d.RequestID }
func (ConsentCheckDue) subject() Subject  { return "" }

// Validate implements Data.
func (d ConsentCheckDue) Validate() error { return id("requestId", d.RequestID) }

// ConsentCompleted tells that everything is proven: pinreset's own application has a token in the tenant, and both PIN reset
// service principals are present and enabled.
type ConsentCompleted struct {
	RequestID                string `json:"requestId"`
	ServiceServicePrincipal  string `json:"serviceServicePrincipal"`  // object id, PIN Reset Service
	ClientServicePrincipal   string `json:"clientServicePrincipal"`   // object id, PIN Reset Client
	ServicePrincipalsCreated bool   `json:"servicePrincipalsCreated"` // by pinreset through Graph, as asked for
}

func (ConsentCompleted) Kind() string      { return "tenant.consent.completed.v1" }
func (d ConsentCompleted) Request() string { return d.RequestID }
func (ConsentCompleted) subject() Subject  { return "" }

// Validate implements Data.
func (d ConsentCompleted) Validate() error {
	return check(id("requestId", d.RequestID),
		guid("serviceServicePrincipal", d.ServiceServicePrincipal),
		guid("clientServicePrincipal", d.ClientServicePrincipal))
}
