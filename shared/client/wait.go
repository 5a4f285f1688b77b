package client

import (
	"context"
	"errors"
	"time"

	"pinreset/shared/onboarding"
)

const (
	firstPoll   = 250 * time.Millisecond
	longestPoll = 5 * time.Second
	patience    = 5 // polls in a row that may go without an answer, such as while the server restarts
)

// WaitReset reads a reset until it has ended, and returns it. seen, which may be nil, is told of every state that was read.
// When ctx ends first, the last state comes with the context's error.
func (c *Client) WaitReset(ctx context.Context, tenant, id string, seen func(Reset)) (Reset, error) {
	var last Reset
	err := c.poll(ctx, func() (done bool, err error) {
		r, err := c.Reset(ctx, tenant, id)
		if err != nil {
			return false, err
		}
		last = r
		if seen != nil {
			seen(r)
		}
		return !r.Open, nil
	})
	return last, err
}

// WaitConsent reads a tenant's consent until it is proven or has failed, and returns it. request names the run to wait for;
// "" is whichever there is. A run that has not begun, because its message still waits, is waited for too.
func (c *Client) WaitConsent(ctx context.Context, tenant, request string, seen func(Consent)) (Consent, error) {
	var last Consent
	err := c.poll(ctx, func() (done bool, err error) {
		s, err := c.Consent(ctx, tenant)
		if err != nil {
			return false, err
		}
		if request != "" && s.RequestID != request {
			return false, nil
		}
		last = s
		if seen != nil {
			seen(s)
		}
		return s.State != onboarding.Pending, nil
	})
	return last, err
}

// poll calls look, first often and then less often, until it is done or fails for a reason that waiting does not cure.
func (c *Client) poll(ctx context.Context, look func() (done bool, err error)) error {
	wait, lost := firstPoll, 0
	for {
		done, err := look()
		switch {
		case ctx.Err() != nil && err != nil:
			return context.Cause(ctx)
		case err == nil:
			lost = 0
		case !passing(err) || lost == patience:
			return err
		default:
			lost++
		}
		if done {
			return nil
		}
		if err := c.sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(wait*3/2, longestPoll)
	}
}

// passing reports whether a failure may be gone at the next look.
func passing(err error) bool {
	if _, lost := errors.AsType[*Unreachable](err); lost {
		return true
	}
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Retryable
}
