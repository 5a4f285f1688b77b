package graph

import (
	"context"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// apart is a credential that signs in on a goroutine of its own. Signing in goes deep, and a stack that has grown for it does not shrink
// while a call waits further up: hundreds of runs that wait for Graph would each keep twice the stack that they need.
type apart struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential. It returns when the credential does, whose panics are the caller's.
func (a apart) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	var token azcore.AccessToken
	var err error
	var panicked any
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		token, err = a.TokenCredential.GetToken(ctx, o)
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return token, err
}

// ahead gets the first token of a session before there is a request. The calls that wait for it hold nothing yet: neither a body nor the
// stack of a pipeline. The session's policy then takes the token from here, once; every other one it gets from the credential.
type ahead struct {
	azcore.TokenCredential
	options policy.TokenRequestOptions // those of the policy

	first sync.Mutex // held while the first token is asked for
	asked bool       // and it was given

	mu    sync.Mutex
	token azcore.AccessToken // until it is taken; its text is "" where there is none
}

func newAhead(credential azcore.TokenCredential, scope string) *ahead {
	return &ahead{TokenCredential: credential, options: policy.TokenRequestOptions{Scopes: []string{scope}, EnableCAE: true}}
}

// sign gets the first token. Where the credential has given it already it costs nothing.
func (a *ahead) sign(ctx context.Context) error {
	a.first.Lock()
	defer a.first.Unlock()
	if a.asked {
		return nil
	}
	token, err := a.TokenCredential.GetToken(ctx, a.options)
	if err != nil {
		return err
	}
	a.asked = true
	a.mu.Lock()
	defer a.mu.Unlock()
	a.token = token
	return nil
}

// GetToken implements azcore.TokenCredential.
func (a *ahead) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if o.Claims == "" && o.TenantID == "" && o.EnableCAE && slices.Equal(o.Scopes, a.options.Scopes) {
		a.mu.Lock()
		token := a.token
		a.token = azcore.AccessToken{}
		a.mu.Unlock()
		if token.Token != "" {
			return token, nil
		}
	}
	return a.TokenCredential.GetToken(ctx, o)
}
