package credential_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"pinreset/shared/credential"
	"pinreset/shared/credential/credentialtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
)

const (
	appID    = "6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c01"
	secondID = "6d2f0d0e-55f4-4b7e-b3ad-0f5d0d7a6c02"
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	audience = "api://AzureADTokenExchange"
	scope    = "https://graph.microsoft.com/.default"
)

var registrations = credential.Settings{App: credential.Registration{ClientID: appID}, Second: credential.Registration{ClientID: secondID}}

func config(a *credentialtest.Authority) graph.Config {
	return graph.Config{Graph: "https://graph.microsoft.com", Authority: a.URL(), Transport: a.Transport(), DisableInstanceDiscovery: true}
}

// token asks the app for a token in the tenant and returns the error.
func token(t *testing.T, app graph.App, tenant string) error {
	t.Helper()
	c, err := app.Credential(tenant)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true})
	if err == nil && (!strings.Contains(got.Token, app.ClientID) || !strings.HasSuffix(got.Token, tenant)) {
		t.Errorf("token %q is not of %s in %s", got.Token, app.ClientID, tenant)
	}
	return err
}

// signIn lets both apps sign in to two tenants, and pinreset to an Azure service.
func signIn(t *testing.T, s *credential.Source) {
	t.Helper()
	app, second := s.Apps()
	if second == nil {
		t.Fatal("no app for the privileged permission")
	}
	for _, a := range []graph.App{app, *second} {
		for _, tenant := range []string{contoso, fabrikam} {
			if err := token(t, a, tenant); err != nil {
				t.Errorf("%s in %s: %v", a.ClientID, tenant, err)
			}
		}
	}
	azure, err := s.Azure()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := azure.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://vault.azure.net/.default"}}); err != nil || got.Token == "" {
		t.Errorf("to an Azure service: %v", err)
	}
}

func trusting(subject string) map[string]credentialtest.App {
	app := credentialtest.App{Federated: []credentialtest.Federated{{Issuer: credentialtest.Issuer, Subject: subject, Audience: audience}}}
	return map[string]credentialtest.App{appID: app, secondID: app}
}

// TestManagedIdentity: each tenant's token is got by the app, with the managed identity's token as its proof, and no secret.
func TestManagedIdentity(t *testing.T) {
	t.Parallel()
	const identity, object = "b1a0c7de-0001-4c8e-8a4e-6ad0d7f9e001", "object of the identity"
	authority := credentialtest.NewAuthority(t, trusting(object))
	metadata := credentialtest.NewMetadata(t, map[string]string{identity: object})
	s := registrations
	s.Way, s.Identity = credential.ManagedIdentity, identity
	source, err := credential.Open(s, config(authority), metadata)
	if err != nil {
		t.Fatal(err)
	}
	signIn(t, source)
	granted := authority.Granted()
	if len(granted) != 4 {
		t.Fatalf("%d tokens were given out, want one for each app and tenant", len(granted))
	}
	for _, g := range granted {
		if g.Scope != scope || g.Assertion == "" {
			t.Errorf("granted %+v", g)
		}
	}
	// One token for the exchange and one for Key Vault: azidentity keeps them.
	if n := metadata.Issued(); n != 2 {
		t.Errorf("the identity was asked for %d tokens, want 2", n)
	}
}

// TestManagedIdentityOfAppService is not parallel: azidentity finds that endpoint by the process's environment.
func TestManagedIdentityOfAppService(t *testing.T) {
	const identity = "b1a0c7de-0002-4c8e-8a4e-6ad0d7f9e002"
	authority := credentialtest.NewAuthority(t, trusting("object"))
	metadata := credentialtest.NewMetadata(t, map[string]string{identity: "object"})
	endpoint, header := metadata.AppService()
	t.Setenv("IDENTITY_ENDPOINT", endpoint)
	t.Setenv("IDENTITY_HEADER", header)
	s := registrations
	s.Way, s.Identity = credential.ManagedIdentity, identity
	source, err := credential.Open(s, config(authority), nil)
	if err != nil {
		t.Fatal(err)
	}
	signIn(t, source)
	if n := metadata.Issued(); n != 2 {
		t.Errorf("the identity was asked for %d tokens, want 2", n)
	}
}

// TestIdentityThatIsRefused: what stands in the way is told, and is no verdict on the work for ever where it may pass.
func TestIdentityThatIsRefused(t *testing.T) {
	t.Parallel()
	const identity, other = "b1a0c7de-0003-4c8e-8a4e-6ad0d7f9e003", "b1a0c7de-0004-4c8e-8a4e-6ad0d7f9e004"
	authority := credentialtest.NewAuthority(t, trusting("trusted"))
	metadata := credentialtest.NewMetadata(t, map[string]string{identity: "not the one that is trusted"})
	client := func(identity string) *graph.Client {
		s := registrations
		s.Way, s.Identity = credential.ManagedIdentity, identity
		cfg := config(authority)
		source, err := credential.Open(s, cfg, metadata)
		if err != nil {
			t.Fatal(err)
		}
		cfg.App, cfg.Privileged = source.Apps()
		c, err := graph.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if err := client(identity).PrepareReset(t.Context(), contoso); fault.CodeOf(err) != fault.GraphUnauthorized {
		t.Errorf("an identity that the app does not trust: %v", err)
	}
	err := client(other).PrepareReset(t.Context(), contoso)
	if v, ok := fault.As(err); !ok || v.Code != fault.GraphUnavailable || v.Delay <= 0 {
		t.Errorf("an identity that is not assigned: %v", err)
	}
	if n := len(authority.Granted()); n != 0 {
		t.Errorf("%d tokens were given out", n)
	}
}

// TestAssertionFromAFile: a file is read again, so a token that replaced another is used at once; and the same way for the token of a pod.
func TestAssertionFromAFile(t *testing.T) {
	t.Parallel()
	for _, way := range []credential.Way{credential.ClientAssertion, credential.WorkloadIdentity} {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			authority := credentialtest.NewAuthority(t, trusting("system:serviceaccount:pinreset:worker"))
			file := filepath.Join(t.TempDir(), "token")
			write := func(text string) {
				t.Helper()
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			fresh := func(minutes int) string {
				return credentialtest.Token(credentialtest.Issuer, "system:serviceaccount:pinreset:worker", audience, time.Now().Add(time.Duration(minutes)*time.Minute))
			}
			s := registrations
			s.Way, s.File, s.Home = way, file, credentialtest.Home
			source, err := credential.Open(s, config(authority), nil)
			if err != nil {
				t.Fatal(err)
			}
			write(fresh(10) + "\n")
			signIn(t, source)
			app, _ := source.Apps()
			write(fresh(-1))
			if err := token(t, app, contoso); err == nil {
				t.Error("a token that has ended was taken")
			}
			next := fresh(20)
			write(next)
			if err := token(t, app, contoso); err != nil {
				t.Errorf("with the file replaced: %v", err)
			}
			if g := authority.Granted(); g[len(g)-1].Assertion != next {
				t.Error("the token from before was used")
			}
			for what, text := range map[string]string{"empty": "\n", "two tokens": "a b", "large": strings.Repeat("x", 65<<10)} {
				write(text)
				if err := token(t, app, contoso); err == nil || strings.Contains(err.Error(), "xxx") {
					t.Errorf("%s: %v", what, err)
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			err = token(t, app, contoso)
			if v, ok := fault.As(err); !ok || v.Delay <= 0 {
				t.Errorf("without the file: %v", err)
			}
		})
	}
}

func TestSecret(t *testing.T) {
	t.Parallel()
	authority := credentialtest.NewAuthority(t, map[string]credentialtest.App{appID: {Secret: "s-1"}, secondID: {Secret: "s-2"}})
	s := registrations
	s.Way, s.Home = credential.Secret, credentialtest.Home
	s.App.Secret, s.Second.Secret = "s-1", "s-2"
	source, err := credential.Open(s, config(authority), nil)
	if err != nil {
		t.Fatal(err)
	}
	signIn(t, source)
	for _, g := range authority.Granted() {
		if g.Assertion != "" {
			t.Errorf("granted %+v", g)
		}
	}
}

func TestAzureNeedsItsTenant(t *testing.T) {
	t.Parallel()
	for _, way := range credential.Ways {
		authority := credentialtest.NewAuthority(t, nil)
		s := registrations
		s.Way = way
		if way == credential.ManagedIdentity {
			s.Identity = "b1a0c7de-0006-4c8e-8a4e-6ad0d7f9e006"
		}
		source, err := credential.Open(s, config(authority), credentialtest.NewMetadata(t, nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := source.Azure(); (err == nil) != (way == credential.ManagedIdentity) {
			t.Errorf("%s without the tenant of the services: %v", way, err)
		}
	}
}

// TestNationalClouds: the audience of an assertion is the one of the authority's cloud.
func TestNationalClouds(t *testing.T) {
	t.Parallel()
	for authority, want := range map[string]string{
		"https://login.microsoftonline.com": "api://AzureADTokenExchange",
		"https://login.microsoftonline.us/": "api://AzureADTokenExchangeUSGov",
		"https://login.chinacloudapi.cn":    "api://AzureADTokenExchangeChina",
	} {
		identity := fmt.Sprintf("b1a0c7de-0005-4c8e-8a4e-%012d", len(want))
		asked := &recorder{Metadata: credentialtest.NewMetadata(t, map[string]string{identity: "object"})}
		s := registrations
		s.Way, s.Identity = credential.ManagedIdentity, identity
		source, err := credential.Open(s, graph.Config{Graph: "https://graph.microsoft.com", Authority: authority, DisableInstanceDiscovery: true, Transport: nowhere{}}, asked)
		if err != nil {
			t.Fatal(err)
		}
		app, _ := source.Apps()
		if err := token(t, app, contoso); err == nil {
			t.Error("a token from nowhere")
		}
		if asked.resource != want {
			t.Errorf("%s: asked for %q, want %q", authority, asked.resource, want)
		}
	}
}
