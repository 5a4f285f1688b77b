package desk

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"time"

	"pinreset/shared/audit"
	"pinreset/shared/diag"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

// AuditFilter says which entries of the audit log are looked for. What is empty is not asked for.
type AuditFilter struct {
	Person string // the actor's id, or a part of the actor's name
	Action string // one action, or the beginning of several, such as "passcode."
	Device string // the device's id
	Day    string // YYYY-MM-DD, in UTC
}

// maxFilter bounds each text of a filter, in bytes.
const maxFilter = 256

func (f AuditFilter) parse() (audit.Filter, error) {
	out := audit.Filter{Person: strings.TrimSpace(f.Person), Action: strings.TrimSpace(f.Action), Device: strings.TrimSpace(f.Device)}
	for name, text := range map[string]string{"person": out.Person, "action": out.Action, "device": out.Device} {
		if len(text) > maxFilter {
			return out, invalid("query."+name, fmt.Sprintf("must have at most %d bytes", maxFilter))
		}
	}
	text := strings.TrimSpace(f.Day)
	if text == "" {
		return out, nil
	}
	var err error
	if out.Day, err = time.Parse(time.DateOnly, text); err != nil || out.Day.Year() < 1970 {
		return out, invalid("query.day", "must be a day, such as 2026-11-22")
	}
	return out, nil
}

// Audit lists those entries of the tenant's audit log that the filter finds, newest first. A page may be empty and still have a next one:
// see [audit.Search].
func (r *Room) Audit(ctx context.Context, filter AuditFilter, page Page) (List[audit.Entry], error) {
	if err := r.Need(identity.AuditRead); err != nil {
		return List[audit.Entry]{}, err
	}
	f, err := filter.parse()
	if err != nil {
		return List[audit.Entry]{}, err
	}
	return paged(r, fmt.Sprintf("audit %q", f), page, func(limit int, place string) ([]audit.Entry, string, error) {
		return audit.Search(ctx, r.desk.o.Store, r.ID(), f, limit, place)
	})
}

// ExportAudit records that the log is taken away, in which form and why, and only then returns its entries, newest first, the new one
// included. They are read as they are taken.
func (r *Room) ExportAudit(ctx context.Context, filter AuditFilter, form, reason string) (iter.Seq2[audit.Entry, error], error) {
	if err := r.Need(identity.AuditExport); err != nil {
		return nil, err
	}
	f, err := filter.parse()
	if err != nil {
		return nil, err
	}
	if err := checkWhy(reason, "", true); err != nil {
		return nil, err
	}
	asked := map[string]string{"form": form}
	for name, text := range map[string]string{"person": f.Person, "action": f.Action, "device": f.Device, "day": strings.TrimSpace(filter.Day)} {
		if text != "" {
			asked[name] = text
		}
	}
	err = r.desk.change(ctx, r.ID(), func(u *work.Unit) error {
		return audit.Append(u, audit.Entry{Actor: r.who.Operator(), Action: audit.LogExported, RequestID: u.NewID(), Reason: reason, Change: asked})
	})
	if err != nil {
		return nil, fmt.Errorf("record export of %s: %w", r.ID(), err)
	}
	return audit.All(ctx, r.desk.o.Store, r.ID(), f), nil
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
