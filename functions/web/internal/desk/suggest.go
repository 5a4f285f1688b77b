package desk

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"pinreset/functions/web/internal/problem"
	"pinreset/shared/fault"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
)

// Suggestion is where a search may be meant to go.
type Suggestion struct {
	Tenant string // id
	Device string // id; "" for the tenant itself
	Name   string
	Hint   string // what else is known of it
}

// Bounds of suggestions: they are asked for while somebody types.
const (
	suggestFrom     = 2   // characters
	suggestMost     = 8   // of tenants, and of devices
	suggestLookedAt = 200 // tenants, and newest resets
)

// Suggest returns tenants by their names, and devices of one tenant by what is known of them from its newest resets. It asks nobody outside:
// Graph's limits are for searches that are meant.
func (d *Desk) Suggest(ctx context.Context, who identity.Principal, id, text string) ([]Suggestion, error) {
	text = strings.ToLower(strings.TrimSpace(text))
	if utf8.RuneCountInString(text) < suggestFrom || len(text) > maxSearch {
		return nil, nil
	}
	in := func(values ...string) bool {
		for _, v := range values {
			if strings.Contains(strings.ToLower(v), text) {
				return true
			}
		}
		return false
	}
	_, rooms, err := d.rooms(ctx, who, "suggest", Page{Limit: suggestLookedAt})
	if err != nil {
		return nil, err
	}
	var out []Suggestion
	for _, r := range rooms {
		if in(r.Name(), r.tenant.Domain) && len(out) < suggestMost {
			out = append(out, Suggestion{Tenant: r.ID(), Name: r.Name(), Hint: "tenant"})
		}
	}
	r, err := d.Enter(ctx, who, id)
	if refusal, ok := errors.AsType[*problem.Refusal](err); ok && refusal.Code == fault.NotFound || err == nil && !r.Can(identity.TenantRead) {
		return out, nil // of a tenant that is not seen there is nothing to suggest
	}
	if err != nil {
		return nil, err
	}
	resets, _, err := passcode.List(ctx, d.o.Store, r.ID(), suggestLookedAt, "")
	if err != nil {
		return nil, err
	}
	seen, devices := map[string]bool{}, 0
	for _, reset := range resets {
		if seen[reset.DeviceID] || devices == suggestMost || !in(reset.DeviceName, reset.User, reset.Serial) {
			continue
		}
		seen[reset.DeviceID] = true
		devices++
		out = append(out, Suggestion{
			Tenant: r.ID(), Device: reset.DeviceID, Name: cmp.Or(reset.DeviceName, reset.DeviceID),
			Hint: strings.Join(nonEmpty(reset.User, reset.Serial, r.Name()), ", "),
		})
	}
	return out, nil
}

// nonEmpty are those of the texts that are not empty.
func nonEmpty(texts ...string) (all []string) {
	for _, text := range texts {
		if text != "" {
			all = append(all, text)
		}
	}
	return all
}
