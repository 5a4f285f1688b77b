package dispatch_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/dispatch"
	"pinreset/shared/work"
)

func done[D events.Data](context.Context, *work.Unit, events.Event, D) error { return nil }

// TestWiringMistakes proves that a program which is wired wrongly does not start.
func TestWiringMistakes(t *testing.T) {
	t.Parallel()
	requested := dispatch.On(done[events.PasscodeResetRequested], nil)
	due := dispatch.On(done[events.PasscodeResetCheckDue], nil)
	now, id := time.Now, func() string { return "id" }
	for name, c := range map[string]struct {
		routes []dispatch.Route
		o      dispatch.Options
		want   string
	}{
		"kind twice in a route": {[]dispatch.Route{{Function: "a", Queue: "q", Handlers: []dispatch.Handler{requested, requested}}},
			dispatch.Options{Now: now, NewID: id}, "is handled by a and a"},
		"kind in two routes": {[]dispatch.Route{
			{Function: "a", Queue: "q", Handlers: []dispatch.Handler{requested}}, {Function: "b", Queue: "r", Handlers: []dispatch.Handler{requested}}},
			dispatch.Options{Now: now, NewID: id}, "is handled by a and b"},
		"queue twice": {[]dispatch.Route{
			{Function: "a", Queue: "q", Handlers: []dispatch.Handler{requested}}, {Function: "b", Queue: "q", Handlers: []dispatch.Handler{due}}},
			dispatch.Options{Now: now, NewID: id}, "is served by a and b"},
		"no handler":  {[]dispatch.Route{{Function: "a", Queue: "q"}}, dispatch.Options{Now: now, NewID: id}, "incomplete"},
		"no queue":    {[]dispatch.Route{{Function: "a", Handlers: []dispatch.Handler{due}}}, dispatch.Options{Now: now, NewID: id}, "incomplete"},
		"no function": {[]dispatch.Route{{Queue: "q", Handlers: []dispatch.Handler{due}}}, dispatch.Options{Now: now, NewID: id}, "incomplete"},
		"no clock":    {nil, dispatch.Options{NewID: id}, "required"},
		"no ids":      {nil, dispatch.Options{Now: now}, "required"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantPanic(t, c.want, func() { dispatch.New(nil, nil, c.routes, c.o) })
		})
	}
	t.Run("no function to call", func(t *testing.T) {
		t.Parallel()
		wantPanic(t, "passcode.expirydue.v1", func() { dispatch.On[events.PasscodeExpiryDue](nil, nil) })
	})
}

func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, want) {
			t.Errorf("panic %q, want %q", p, want)
		}
	}()
	f()
}
