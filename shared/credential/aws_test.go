package credential_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pinreset/shared/awsapi"
	"pinreset/shared/clocktest"
	"pinreset/shared/credential"
	"pinreset/shared/credential/credentialtest"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
)

// securityTokens is a model of the one call of STS, after AWS's page "GetWebIdentityToken"; it was never compared with the service.
type securityTokens struct {
	now func() time.Time

	mu     sync.Mutex
	issued int
	refuse string // an error's code
}

const roleARN = "arn:aws:iam::123456789012:role/pinreset"

func (s *securityTokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "text/xml")
	code := s.refuse
	switch {
	case !strings.Contains(r.Header.Get("Authorization"), "/eu-central-1/sts/aws4_request"):
		code = "IncompleteSignature"
	case r.FormValue("Action") != "GetWebIdentityToken" || r.FormValue("Version") != "2011-06-15" || r.FormValue("SigningAlgorithm") != "RS256":
		code = "InvalidAction"
	}
	seconds, err := time.ParseDuration(r.FormValue("DurationSeconds") + "s")
	if err != nil || seconds < time.Minute || seconds > time.Hour {
		code = "ValidationError"
	}
	if code != "" {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>%s</Code><Message>no</Message></Error></ErrorResponse>`, code)
		return
	}
	s.issued++
	ends := s.now().Add(seconds).UTC()
	fmt.Fprintf(w, `<GetWebIdentityTokenResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetWebIdentityTokenResult><WebIdentityToken>%s</WebIdentityToken><Expiration>%s</Expiration></GetWebIdentityTokenResult></GetWebIdentityTokenResponse>`,
		credentialtest.Token(credentialtest.Issuer, roleARN, r.FormValue("Audience.member.1"), ends), ends.Format(time.RFC3339))
}

// TestRoleOfAWS: the role's token is the proof of both apps and of the Azure services; it is kept until shortly before its end, and a refusal is told.
func TestRoleOfAWS(t *testing.T) {
	t.Parallel()
	clock := clocktest.New(time.Now())
	model := &securityTokens{now: clock.Now}
	server := httptest.NewServer(model)
	t.Cleanup(server.Close)
	authority := credentialtest.NewAuthority(t, trusting(roleARN))
	s := registrations
	s.Way, s.Home = credential.AWS, credentialtest.Home
	s.Account = awsapi.Open(awsapi.Account{Region: "eu-central-1", Endpoints: map[string]string{"sts": server.URL + "/"}, Now: clock.Now,
		Credentials: func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}, nil
		}})
	source, err := credential.Open(s, config(authority), nil)
	if err != nil {
		t.Fatal(err)
	}
	issued := func(want int) {
		t.Helper()
		model.mu.Lock()
		defer model.mu.Unlock()
		if model.issued != want {
			t.Errorf("%d tokens were issued, want %d", model.issued, want)
		}
	}
	app, _ := source.Apps()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := token(t, app, contoso); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	signIn(t, source)
	issued(1)
	clock.Advance(11 * time.Minute)
	if err := token(t, app, contoso); err != nil {
		t.Error(err)
	}
	issued(1)
	clock.Advance(90 * time.Second)
	if err := token(t, app, contoso); err != nil {
		t.Error(err)
	}
	issued(2)
	clock.Advance(time.Hour)
	model.mu.Lock()
	model.refuse = "OutboundWebIdentityFederationDisabled"
	model.mu.Unlock()
	err = token(t, app, contoso)
	if v, ok := fault.As(graphError(t, authority, source)); err == nil || !strings.Contains(err.Error(), "OutboundWebIdentityFederationDisabled") || !ok || v.Delay <= 0 {
		t.Errorf("refused: %v", err)
	}
}

// graphError is what the client of Graph makes of a sign-in.
func graphError(t *testing.T, authority *credentialtest.Authority, source *credential.Source) error {
	t.Helper()
	cfg := config(authority)
	cfg.App, cfg.Privileged = source.Apps()
	c, err := graph.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c.PrepareReset(t.Context(), contoso)
}
