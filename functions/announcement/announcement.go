// Package announcement keeps what was announced: every result and every failure, in the order of a tenant's feed. It is the
// local subscriber of the announcements queue; other subscribers get the same events.
package announcement

import (
	"context"
	"log/slog"

	"pinreset/events"
	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/work"
)

// Handler handles announcements.
type Handler struct {
	Logger *slog.Logger
	// Kept, where it is set, is told of each announcement. One that is delivered again is told again.
	Kept func(events.Data)
}

// Route binds the handler to its queue.
func (h *Handler) Route() dispatch.Route {
	return dispatch.Route{Function: "announcement", Queue: work.Announcements, Handlers: []dispatch.Handler{
		dispatch.On(keep[events.TenantSettingsChanged](h), nil),
		dispatch.On(keep[events.ConsentCompleted](h), nil),
		dispatch.On(keep[events.PasscodeResetIssued](h), nil),
		dispatch.On(keep[events.PasscodeResetCancelled](h), nil),
		dispatch.On(keep[events.PasscodeExpired](h), nil),
		dispatch.On(keep[events.PasscodeResetAdopted](h), nil),
		dispatch.On(keep[events.PasscodeResetCrossed](h), nil),
		dispatch.On(keep[events.BulkResetEnded](h), nil),
		dispatch.On(keep[events.DevicePINReset](h), nil),
		dispatch.On(keep[events.PolicyRolloutCompleted](h), nil),
		dispatch.On(keep[events.TenantAuditCompleted](h), nil),
		dispatch.On(keep[events.TenantDriftFound](h), nil),
		dispatch.On(keep[events.FailureRaised](h), nil),
	}}
}

func keep[D events.Data](h *Handler) func(context.Context, *work.Unit, events.Event, D) error {
	return func(ctx context.Context, u *work.Unit, e events.Event, d D) error {
		attrs := []any{"kind", d.Kind(), "tenant", e.Tenant, "request", d.Request(), "event", e.ID}
		switch d := any(d).(type) {
		case events.FailureRaised:
			attrs = append(attrs, "code", d.Code, "diagnostics", d.Diagnostics)
		case events.TenantDriftFound: // alerts look for consent that was lost
			attrs = append(attrs, "code", d.Code, "diagnostics", d.Diagnostics)
		}
		h.Logger.InfoContext(ctx, "announced", attrs...)
		if h.Kept != nil {
			h.Kept(d)
		}
		return u.Put(diag.EventPrefix+work.Descending(e.ID), e)
	}
}
