package onboarding

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
)

// StateLife is how long a consent link of pinreset's own application can be used. A new one is made whenever the steps are
// shown.
const StateLife = 24 * time.Hour

// ErrState: the state of a callback is not ours, has been changed, or has expired.
var ErrState = errors.New("consent state is not valid")

// Links makes the links of the steps and checks what comes back.
type Links struct {
	Authority string // https://login.microsoftonline.com: where pinreset's own applications are consented
	Microsoft string // https://login.windows.net: where Microsoft's page "PIN reset" sends administrators
	Graph     string // https://graph.microsoft.com: whose permissions are consented to; a national cloud has its own
	Callback  string // our address that the consent of pinreset's own applications returns to
	Key       []byte // signs the state
	NewID     func() string
	Now       func() time.Time
}

// Link is a step's link with what the administrator should know before following it.
type Link struct {
	Step    string `json:"step"`
	URL     string `json:"url"`
	Warning string `json:"warning,omitempty"`
}

// For returns the link of a step. who is the operator it is made for.
func (l Links) For(tenant string, c Consent, s Step, who string) Link {
	switch s.Name {
	case StepService:
		return Link{s.Name, l.microsoft(tenant, ServiceAppID, "https://graph.windows.net", "https://cred.microsoft.com"),
			"After Accept you will land on a page that looks like an error (\"You do not have permission to view this directory or page\", or a blank page). That is normal and means nothing: close it. pinreset reads the directory and turns this step green by itself."}
	case StepClient:
		return Link{s.Name, l.microsoft(tenant, ClientAppID, "https://cred.microsoft.com/", "ms-appx-web://Microsoft.AAD.BrokerPlugin/"+ClientAppID),
			"You may be asked twice (Next, then a second page for the service application: Accept). At the end the browser may show nothing, \"Page not found\", or complain about a link it can't open. That is normal: close it. pinreset reads the directory and turns this step green by itself."}
	default:
		q := url.Values{
			"client_id": {s.AppID}, "scope": {l.Graph + "/.default"},
			"redirect_uri": {l.Callback}, "state": {l.sign(state{Tenant: tenant, Request: c.RequestID, App: s.AppID, Who: who, Nonce: l.NewID(), Expires: l.Now().Add(StateLife).Unix()})},
		}
		return Link{Step: s.Name, URL: l.Authority + "/" + tenant + "/v2.0/adminconsent?" + q.Encode()}
	}
}

// microsoft is the link that Microsoft's page prints, with the tenant's id in place of "common": with "common" the consent
// lands in the tenant of whoever signs in.
func (l Links) microsoft(tenant, app, resource, redirect string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {app}, "resource": {resource}, "redirect_uri": {redirect}, "prompt": {"admin_consent"},
	}
	return l.Microsoft + "/" + tenant + "/oauth2/authorize?" + q.Encode()
}

// state is what a callback must bring back. Nonce makes it single use: the callback stores it.
type state struct {
	Tenant  string `json:"t"`
	Request string `json:"r"`
	App     string `json:"a"`
	Who     string `json:"w"`
	Nonce   string `json:"n"`
	Expires int64  `json:"e"` // Unix seconds
}

// Returned is what a genuine callback says. Its tenant comes from our own signed state and never from the callback's
// parameters, which anybody can write.
type Returned struct {
	Tenant, Request, App, Nonce, Who string
}

// Check verifies the state of a callback, or returns ErrState.
func (l Links) Check(token string) (Returned, error) {
	payload, mac, ok := strings.Cut(token, ".")
	if !ok || len(token) > 2048 {
		return Returned{}, ErrState
	}
	// Compared as text: base64 has several spellings of the same bytes, and only one is ours.
	if !hmac.Equal([]byte(mac), []byte(l.mac(payload))) {
		return Returned{}, ErrState
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return Returned{}, ErrState
	}
	var s state
	if err := json.Unmarshal(raw, &s); err != nil || l.Now().Unix() >= s.Expires {
		return Returned{}, ErrState
	}
	return Returned{Tenant: s.Tenant, Request: s.Request, App: s.App, Nonce: s.Nonce, Who: s.Who}, nil
}

func (l Links) sign(s state) string {
	raw, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and a number always encode
	}
	payload := base64.RawURLEncoding.EncodeToString(raw)
	return payload + "." + l.mac(payload)
}

func (l Links) mac(payload string) string {
	h := hmac.New(sha256.New, l.Key)
	h.Write([]byte("pinreset/consent-state/1\x00" + payload))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
