package desk

import (
	"context"
	"encoding/json"

	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/identity"
)

// Audit lists the tenant's audit log, newest first.
func (r *Room) Audit(ctx context.Context, page Page) (List[audit.Entry], error) {
	if err := r.Need(identity.AuditRead); err != nil {
		return List[audit.Entry]{}, err
	}
	return paged(r, "audit", page, func(limit int, place string) ([]audit.Entry, string, error) {
		return audit.List(ctx, r.desk.o.Store, r.ID(), limit, place)
	})
}

// Events lists what was announced for the tenant, newest first, each a CloudEvent.
func (r *Room) Events(ctx context.Context, page Page) (List[json.RawMessage], error) {
	if err := r.Need(identity.TenantRead); err != nil {
		return List[json.RawMessage]{}, err
	}
	return paged(r, "events", page, func(limit int, place string) ([]json.RawMessage, string, error) {
		return rows(ctx, r, diag.EventPrefix, limit, place, func(e json.RawMessage) json.RawMessage { return e })
	})
}
