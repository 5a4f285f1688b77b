package problem

import (
	"context"
	"sync"
)

// Record is what is kept of a request for its log line.
type Record struct {
	correlation string

	mu    sync.Mutex
	who   string
	cause error
}

type recordKey struct{}

// NewContext returns a context for one request, and its record.
func NewContext(ctx context.Context, correlation string) (context.Context, *Record) {
	r := &Record{correlation: correlation}
	return context.WithValue(ctx, recordKey{}, r), r
}

// Correlation returns the request's correlation id, "" outside a request.
func Correlation(ctx context.Context) string {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		return r.correlation
	}
	return ""
}

// Note keeps for the log why the request is refused.
func Note(ctx context.Context, err error) {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.cause = err
	}
}

// Asked keeps for the log who asked: an id, not a name.
func Asked(ctx context.Context, who string) {
	if r, ok := ctx.Value(recordKey{}).(*Record); ok {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.who = who
	}
}

// Said returns what was kept.
func (r *Record) Said() (who string, cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.who, r.cause
}
