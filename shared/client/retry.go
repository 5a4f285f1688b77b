package client

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"
)

const (
	maxAttempts  = 4
	firstPause   = 200 * time.Millisecond
	longestPause = 10 * time.Second // a person or a script waits in front of the call
)

// retry decides whether a call is sent again and how long to wait before. It is safe when the call is, and useful when no
// answer came or the server has said 503. A Retry-After beyond the patience of a caller is passed on instead of waited for.
func retry(r repeat, attempt int, err error) (wait time.Duration, again bool) {
	if err == nil || r == never || attempt == maxAttempts {
		return 0, false
	}
	wait = firstPause << (attempt - 1)
	wait += rand.N(wait / 2) // so that callers that were refused together don't come back together
	if _, lost := errors.AsType[*Unreachable](err); lost {
		return wait, true
	}
	p, ok := errors.AsType[*Problem](err)
	if !ok || p.Status != http.StatusServiceUnavailable || p.RetryAfter > longestPause {
		return 0, false
	}
	return max(wait, p.RetryAfter), true
}
