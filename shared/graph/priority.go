package graph

import "context"

// Priority says who waits for a call.
type Priority int

const (
	Bulk   Priority = iota // nobody in particular: roll-outs, audits, polls; the default
	People                 // a person looks at a screen until it is done
)

type priorityKey struct{}

// WithPriority returns a context whose calls have the priority. Calls for people may use the whole of each limit and are
// sent with x-ms-throttle-priority: high; bulk calls leave the reserve untouched.
func WithPriority(ctx context.Context, p Priority) context.Context {
	return context.WithValue(ctx, priorityKey{}, p)
}

func priorityOf(ctx context.Context) Priority {
	if p, _ := ctx.Value(priorityKey{}).(Priority); p == People {
		return People
	}
	return Bulk
}
