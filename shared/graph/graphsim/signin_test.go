package graphsim

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
)

func TestSignInWithClientSecret(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, privileged := s.Apps()
	for _, app := range []App{general, privileged} {
		var said claims
		token := s.token(Contoso, app)
		if err := decodeSegment(token, 1, &said); err != nil {
			t.Fatal(err)
		}
		if said.TenantID != Contoso || said.AppID != app.ClientID || said.Azp != app.ClientID || said.Type != "app" || said.Audience != "https://graph.microsoft.com" {
			t.Errorf("claims %+v", said)
		}
		if !slices.Equal(said.Roles, app.Roles) {
			t.Errorf("roles %v, want %v", said.Roles, app.Roles)
		}
		if said.Expires-said.IssuedAt != 3600 {
			t.Errorf("token lives %d s", said.Expires-said.IssuedAt)
		}
	}
	// By domain, too.
	if _, err := signIn(t.Context(), s.credential("contoso.example", general)); err != nil {
		t.Error(err)
	}
}

func TestSignInWithClientAssertion(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, privileged := s.Apps()
	assertion := func(clientID string, expires time.Time) string {
		payload, _ := json.Marshal(map[string]any{"sub": clientID, "iss": clientID, "exp": expires.Unix()})
		return "e30." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
	}
	sign := func(value string) error {
		cred, err := azidentity.NewClientAssertionCredential(Contoso, privileged.ClientID,
			func(context.Context) (string, error) { return value, nil },
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: s.credentialOptions(), DisableInstanceDiscovery: true})
		if err != nil {
			t.Fatal(err)
		}
		_, err = signIn(t.Context(), cred)
		return err
	}
	if err := sign(assertion(privileged.ClientID, s.clock.Now().Add(time.Minute))); err != nil {
		t.Errorf("sign in with an assertion: %v", err)
	}
	wantCode(t, sign(assertion(general.ClientID, s.clock.Now().Add(time.Minute))), "AADSTS700211")
	wantCode(t, sign(assertion(privileged.ClientID, s.clock.Now().Add(-time.Minute))), "AADSTS700024")
	wantCode(t, sign("not a token"), "AADSTS700211")
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) || !strings.Contains(err.Error(), code) {
		t.Errorf("error %v, want an authentication failure with %s", err, code)
	}
}

func TestSignInRefused(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	try := func(tenant string, app App) error {
		_, err := signIn(t.Context(), s.credential(tenant, app))
		return err
	}
	wantCode(t, try(Fabrikam, general), "AADSTS7000229")
	wantCode(t, try(Contoso, App{ClientID: newID(), Secret: "x"}), "AADSTS700016")
	wantCode(t, try(Contoso, App{ClientID: general.ClientID, Secret: "wrong"}), "AADSTS7000215")
	s.must(s.EnableServicePrincipal(Contoso, "general", false))
	wantCode(t, try(Contoso, general), "AADSTS7000112")
	if err := try(newID(), general); err == nil {
		t.Error("an unknown tenant signed in")
	}

	r, err := s.send(http.MethodPost, "/"+Fabrikam+"/oauth2/v2.0/token", "",
		"grant_type=client_credentials&scope=https://graph.microsoft.com/.default&client_id="+general.ClientID+"&client_secret="+general.Secret,
		"Content-Type", "application/x-www-form-urlencoded")
	s.must(err)
	for _, name := range []string{"error", "error_description", "error_codes", "trace_id", "correlation_id", "timestamp"} {
		if r.body[name] == nil {
			t.Errorf("refusal without %s: %s", name, r.text)
		}
	}
}

func TestGraphChecksTheToken(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, privileged := s.Apps()
	token := s.token(Contoso, general)
	if got := s.want(401, "GET", "/v1.0/organization", "", "").code(); got != "InvalidAuthenticationToken" {
		t.Errorf("code %s", got)
	}
	parts := strings.Split(token, ".")
	s.want(401, "GET", "/v1.0/organization", parts[0]+"."+parts[1]+"."+strings.Repeat("A", len(parts[2])), "")
	other := start(t, Options{Timing: noLag})
	foreign, _ := other.Apps()
	s.want(401, "GET", "/v1.0/organization", other.token(Contoso, foreign), "")
	s.want(200, "GET", "/v1.0/organization", token, "")
	// Each app reaches only what its roles allow.
	s.want(403, "GET", "/v1.0/organization", s.token(Contoso, privileged), "")
	s.want(403, "POST", devicesPath+s.deviceID(Contoso, "sales-pixel-12")+"/resetPasscode", token, "")
	s.clock.Advance(time.Hour)
	s.want(401, "GET", "/v1.0/organization", token, "")
}

func TestTokenHasTheRolesOfItsMoment(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Timing: noLag})
	general, _ := s.Apps()
	old := s.token(Contoso, general)
	adele := "/v1.0/users/adele@contoso.example/authentication/windowsHelloForBusinessMethods"
	s.want(403, "GET", adele, old, "")
	s.must(s.Grant(Contoso, "general", "UserAuthenticationMethod.Read.All"))
	s.want(403, "GET", adele, old, "")
	s.tokens.Clear()
	s.want(200, "GET", adele, s.token(Contoso, general), "")
	s.must(s.Revoke(Contoso, "general"))
	s.tokens.Clear()
	s.want(403, "GET", adele, s.token(Contoso, general), "")
}
