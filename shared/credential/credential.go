// Package credential makes the credentials by which pinreset signs in: as an app in customers' tenants, and as itself to the Azure
// services that it stands on. Which way it signs in is said by configuration and never found out by trying: a chain that
// takes the first credential that works can be turned by a stray variable, and can fall through to a person's own sign-in.
//
// Without a secret, pinreset proves who it is by an assertion: a token of the managed identity or of the workload that it
// runs as, or of its role on AWS, which the registration of its multi-tenant app trusts (Microsoft's pages "Workload identity federation" and
// "Configure an application to trust a managed identity"). The app then gets a token in each customer's tenant. A second
// registration, for the permission that resets and wipes, trusts the same identity.
//
// Package azidentity does the signing in, and keeps tokens. Package graph keeps one credential a tenant and app, and bounds them.
package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"pinreset/shared/awsapi"
	"pinreset/shared/graph"
)

// Way is how pinreset proves who it is.
type Way string

// The ways.
const (
	Secret           Way = "secret"            // a client secret of each registration, in a file
	ManagedIdentity  Way = "managed-identity"  // of the Azure resource that it runs on
	WorkloadIdentity Way = "workload-identity" // the service account of a Kubernetes pod
	ClientAssertion  Way = "client-assertion"  // a token from elsewhere, in a file that somebody keeps fresh
	AWS              Way = "aws"               // the role on AWS whose credentials the environment has
	Developer        Way = "developer"         // the person who is signed in to the Azure CLI
)

// Ways are all ways.
var Ways = []Way{Secret, ManagedIdentity, WorkloadIdentity, ClientAssertion, AWS, Developer}

// exchange is the audience of a token that is to be an assertion. National clouds have others (page "Configure an application to
// trust a managed identity").
const (
	exchange           = "api://AzureADTokenExchange/.default"
	exchangeGovernment = "api://AzureADTokenExchangeUSGov/.default"
	exchangeChina      = "api://AzureADTokenExchangeChina/.default"
)

// Settings say how to sign in. Which of them a way needs is beside each; the others must be "".
type Settings struct {
	Way    Way
	App    Registration
	Second Registration // for the privileged permission; ClientID "": App is used for it

	Identity string          // client id of a user-assigned managed identity; an app can't trust a system-assigned one: ManagedIdentity
	File     string          // with the assertion: WorkloadIdentity, ClientAssertion
	Home     string          // tenant that the Azure services belong to, not needed without them: every way but ManagedIdentity
	Account  *awsapi.Account // that the role is in: AWS
}

// Registration is an app registration.
type Registration struct {
	ClientID string
	Secret   string // for Secret only
}

// Source makes credentials. It is safe for concurrent use.
type Source struct {
	settings Settings
	cfg      graph.Config
	identity azcore.TokenCredential // of ManagedIdentity
	role     *role                  // of AWS
	audience string
}

// Open returns the source for the settings. Authority, transport and trust are those of cfg. metadata is how the endpoint of managed
// identities is reached; nil means as azidentity does. It signs in to nothing.
func Open(s Settings, cfg graph.Config, metadata policy.Transporter) (*Source, error) {
	source := &Source{settings: s, cfg: cfg, audience: audienceIn(cfg.Authority)}
	if s.Way == ManagedIdentity {
		identity, err := azidentity.NewManagedIdentityCredential(&azidentity.ManagedIdentityCredentialOptions{
			ClientOptions: policy.ClientOptions{Transport: metadata}, ID: azidentity.ClientID(s.Identity)})
		if err != nil {
			return nil, fmt.Errorf("use managed identity: %w", err)
		}
		source.identity = identity
	}
	if s.Way == AWS {
		source.role = newRole(s.Account, strings.TrimSuffix(source.audience, "/.default"))
	}
	return source, nil
}

func audienceIn(authority string) string {
	switch host := strings.TrimSuffix(strings.TrimPrefix(authority, "https://"), "/"); {
	case strings.HasSuffix(host, ".us"):
		return exchangeGovernment
	case strings.HasSuffix(host, ".cn"):
		return exchangeChina
	}
	return exchange
}

// Apps returns the apps that sign in to customers' tenants; second is nil where there is no registration of its own for the
// privileged permission.
func (s *Source) Apps() (app graph.App, second *graph.App) {
	app = s.app(s.settings.App)
	if s.settings.Second.ClientID != "" {
		other := s.app(s.settings.Second)
		second = &other
	}
	return app, second
}

func (s *Source) app(r Registration) graph.App {
	switch s.settings.Way {
	case Secret:
		return s.cfg.SecretApp(r.ClientID, r.Secret)
	case Developer:
		// The person signs in to the customer's tenant; what the registration was granted does not count.
		return graph.App{ClientID: r.ClientID, Credential: func(tenant string) (azcore.TokenCredential, error) {
			return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: tenant})
		}}
	}
	return s.cfg.AssertionApp(r.ClientID, s.assertion)
}

// Azure returns the credential for the Azure services that pinreset stands on: queues, tables, keys.
func (s *Source) Azure() (azcore.TokenCredential, error) {
	o := policy.ClientOptions{Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: s.cfg.Authority}}
	if s.cfg.Transport != nil {
		o.Transport = transporter{s.cfg}
	}
	if s.settings.Home == "" && s.settings.Way != ManagedIdentity {
		return nil, errNoHome
	}
	app := s.settings.App
	switch s.settings.Way {
	case Secret:
		return azidentity.NewClientSecretCredential(s.settings.Home, app.ClientID, app.Secret, &azidentity.ClientSecretCredentialOptions{
			ClientOptions: o, DisableInstanceDiscovery: s.cfg.DisableInstanceDiscovery})
	case ManagedIdentity:
		return s.identity, nil
	case Developer:
		return azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: s.settings.Home})
	}
	return azidentity.NewClientAssertionCredential(s.settings.Home, app.ClientID, s.assertion, &azidentity.ClientAssertionCredentialOptions{
		ClientOptions: o, DisableInstanceDiscovery: s.cfg.DisableInstanceDiscovery})
}

var errNoHome = errors.New("the tenant that the Azure services belong to is not set")

// Assertion returns what proves a registration that trusts this workload, such as the one that people sign in with; nil where
// registrations prove themselves by secrets, or a person does.
func (s *Source) Assertion() func(context.Context) (string, error) {
	if s.settings.Way == Secret || s.settings.Way == Developer {
		return nil
	}
	return s.assertion
}

// assertion proves who pinreset is to the authority. azidentity keeps the managed identity's token until shortly before its end; a
// file is read each time, which is once an hour for each tenant, so one that was replaced is used at once.
func (s *Source) assertion(ctx context.Context) (string, error) {
	if s.role != nil {
		return s.role.token(ctx)
	}
	if s.identity == nil {
		return readAssertion(s.settings.File)
	}
	token, err := s.identity.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{s.audience}})
	if err != nil {
		return "", fmt.Errorf("get token of the managed identity: %w", err)
	}
	return token.Token, nil
}

// maxAssertion is more than any token has.
const maxAssertion = 64 << 10

func readAssertion(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read assertion: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxAssertion+1))
	if err != nil {
		return "", fmt.Errorf("read assertion: %w", err)
	}
	text := strings.TrimSpace(string(data))
	if text == "" || len(data) > maxAssertion || strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("assertion file %s does not hold one token", path)
	}
	return text, nil
}
