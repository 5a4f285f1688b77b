// Package awsapi calls services of AWS with signed requests: the JSON protocol 1.0, which SQS speaks, and the query protocol, which STS
// and SNS speak.
//
// Signing is the SDK's own (aws/signer/v4). The SDK's clients of the services are left out for their size: that of SQS alone adds
// 1.7 MB to the program, signing adds 0.1 MB, and eight calls are made in all. Nothing is repeated here; who calls knows what may be.
//
// It is no client of a service: names and limits are those who use it know.
package awsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// ErrNoCredentials: the environment has no access key.
var ErrNoCredentials = errors.New("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set")

// Account is how a process calls AWS: in which region, as whom, and over what. It is safe for concurrent use.
type Account struct {
	Region string
	// Credentials are asked for at every call. The role's credentials are in the environment of a Lambda function ("Defined runtime
	// environment variables"); see [Environment].
	Credentials func(ctx context.Context) (aws.Credentials, error)
	HTTP        *http.Client     // nil for one without a time limit: each call has its context's
	Now         func() time.Time // time.Now if nil
	signer      *v4.Signer
}

// Open returns the account, ready to call. It panics without credentials.
func Open(a Account) *Account {
	if a.Credentials == nil {
		panic("awsapi: credentials are required")
	}
	if a.HTTP == nil {
		a.HTTP = &http.Client{}
	}
	if a.Now == nil {
		a.Now = time.Now
	}
	a.signer = v4.NewSigner()
	return &a
}

// Environment reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN at each use, so new ones hold at once. No file, no
// profile and no metadata service is looked at.
func Environment(getenv func(string) string) func(context.Context) (aws.Credentials, error) {
	return func(context.Context) (aws.Credentials, error) {
		c := aws.Credentials{
			AccessKeyID: getenv("AWS_ACCESS_KEY_ID"), SecretAccessKey: getenv("AWS_SECRET_ACCESS_KEY"),
			SessionToken: getenv("AWS_SESSION_TOKEN"), Source: "environment",
		}
		if !c.HasKeys() {
			return aws.Credentials{}, ErrNoCredentials
		}
		return c, nil
	}
}

// Error is a refusal by a service.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d): %s", e.Code, e.Status, e.Message) }

// Passing reports whether an error may pass by itself: the service was busy or failed, or could not be reached. Codes that mean
// "slow down" come as 400 too ("Common Errors" of the services).
func Passing(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		return err != nil && !errors.Is(err, ErrNoCredentials)
	}
	switch refused.Code {
	case "ThrottlingException", "Throttling", "RequestThrottled", "TooManyRequestsException", "ServiceUnavailable", "OverLimit":
		return true
	}
	return refused.Status >= 500 || refused.Status == http.StatusTooManyRequests
}
