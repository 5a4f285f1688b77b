package dispatch

import (
	"context"
	"fmt"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/work"
)

// Route binds a queue to the function that serves it.
type Route struct {
	Function string // name of the function's folder
	Queue    work.Queue
	Handlers []Handler
}

// Handler serves one kind of event. Make it with [On].
type Handler struct {
	kind   string
	handle func(context.Context, *work.Unit, events.Event) error
	failed func(context.Context, *work.Unit, events.Event, fault.Code) error
}

// On binds a kind to the function that handles it and the one that records its failure.
//
// handle reads and stages on the unit and returns a verdict (package fault). What it staged is committed when it returns nil
// or a fault.After, and dropped on every other error.
//
// failed stages the end of the request: it is called on a fresh unit when handle gave up for good, with the code, and commits
// together with the failure and its event. It calls nothing outside. It may be nil for a kind that ends no request.
func On[D events.Data](
	handle func(context.Context, *work.Unit, events.Event, D) error,
	failed func(context.Context, *work.Unit, D, fault.Code) error,
) Handler {
	var zero D
	if handle == nil {
		panic("dispatch: no handler for " + zero.Kind())
	}
	h := Handler{
		kind: zero.Kind(),
		handle: func(ctx context.Context, u *work.Unit, e events.Event) error {
			return handle(ctx, u, e, e.Data.(D))
		},
		failed: func(context.Context, *work.Unit, events.Event, fault.Code) error { return nil },
	}
	if failed != nil {
		h.failed = func(ctx context.Context, u *work.Unit, e events.Event, code fault.Code) error {
			return failed(ctx, u, e.Data.(D), code)
		}
	}
	return h
}

// table is the routes by kind.
type table map[string]bound

type bound struct {
	Handler
	function string
}

// newTable panics on a wiring mistake: a kind with two handlers, or a route without any.
func newTable(routes []Route) (table, map[work.Queue]string) {
	t, queues := table{}, map[work.Queue]string{}
	for _, r := range routes {
		if len(r.Handlers) == 0 || r.Queue == "" || r.Function == "" {
			panic(fmt.Sprintf("dispatch: route %q of queue %q is incomplete", r.Function, r.Queue))
		}
		if other, twice := queues[r.Queue]; twice {
			panic(fmt.Sprintf("dispatch: queue %s is served by %s and %s", r.Queue, other, r.Function))
		}
		queues[r.Queue] = r.Function
		for _, h := range r.Handlers {
			if other, twice := t[h.kind]; twice {
				panic(fmt.Sprintf("dispatch: kind %s is handled by %s and %s", h.kind, other.function, r.Function))
			}
			t[h.kind] = bound{h, r.Function}
		}
	}
	return t, queues
}
