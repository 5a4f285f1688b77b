package graph

import (
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

func TestClaims(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		o      policy.TokenRequestOptions
		want   string
		broken bool
	}{
		{name: "none", o: policy.TokenRequestOptions{}},
		{name: "capability", o: policy.TokenRequestOptions{EnableCAE: true}, want: `{"access_token":{"xms_cc":{"values":["CP1"]}}}`},
		{name: "challenge", o: policy.TokenRequestOptions{EnableCAE: true, Claims: `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`},
			want: `{"access_token":{"nbf":{"essential":true,"value":"1"},"xms_cc":{"values":["CP1"]}}}`},
		{name: "challenge to a client without the capability", o: policy.TokenRequestOptions{Claims: `{"access_token":{}}`}, want: `{"access_token":{}}`},
		{name: "no JSON", o: policy.TokenRequestOptions{EnableCAE: true, Claims: "{"}, broken: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := claimsFor(c.o)
			if got != c.want || (err != nil) != c.broken {
				t.Errorf("claims %q, %v; want %q", got, err, c.want)
			}
		})
	}
}
