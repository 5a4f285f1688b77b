package credential

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"pinreset/shared/awsapi"
)

// How long a role's token lasts, and how long before its end another one is fetched. AWS gives 60 to 3600 seconds ("GetWebIdentityToken").
const (
	roleTokenLife = 15 * time.Minute
	roleTokenRest = 3 * time.Minute
	roleTimeout   = 10 * time.Second
)

// role proves who pinreset is by a token that STS signs for the role it runs as: outbound identity federation, which an
// administrator of the account switches on first. The registration trusts the account's issuer, with the role's ARN as the subject.
type role struct {
	account  *awsapi.Account
	audience string

	turn chan struct{} // holds one element while nobody looks at what follows
	kept string
	ends time.Time
}

func newRole(account *awsapi.Account, audience string) *role {
	r := &role{account: account, audience: audience, turn: make(chan struct{}, 1)}
	r.turn <- struct{}{}
	return r
}

// token returns the token that is kept, or another one shortly before that ends. Who comes meanwhile waits for the same one.
func (r *role) token(ctx context.Context) (string, error) {
	select {
	case <-r.turn:
	case <-ctx.Done():
		return "", fmt.Errorf("wait for a token of the AWS role: %w", ctx.Err())
	}
	defer func() { r.turn <- struct{}{} }()
	if r.kept != "" && r.account.Now().Before(r.ends.Add(-roleTokenRest)) {
		return r.kept, nil
	}
	ctx, cancel := context.WithTimeout(ctx, roleTimeout)
	defer cancel()
	var out struct {
		Token string    `xml:"GetWebIdentityTokenResult>WebIdentityToken"`
		Ends  time.Time `xml:"GetWebIdentityTokenResult>Expiration"`
	}
	err := r.account.Query(ctx, "sts", r.account.Endpoint("sts"), url.Values{
		"Action": {"GetWebIdentityToken"}, "Version": {"2011-06-15"}, "Audience.member.1": {r.audience},
		"SigningAlgorithm": {"RS256"}, // the one that Entra takes
		"DurationSeconds":  {strconv.Itoa(int(roleTokenLife.Seconds()))},
	}, &out)
	if err == nil && out.Token == "" {
		err = errNoToken
	}
	if err != nil {
		return "", fmt.Errorf("get token of the AWS role: %w", err)
	}
	r.kept, r.ends = out.Token, out.Ends
	return r.kept, nil
}

var errNoToken = errors.New("the answer has no token")
