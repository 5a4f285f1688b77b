package graph

import (
	"context"

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
