package grant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/identity"
	"pinreset/shared/work"
)

const (
	// Prefix is the row prefix of grants in their tenant's partition.
	Prefix = "grant|"
	// PeoplePartition is where grants are found by the person.
	PeoplePartition = "people"
	// PersonPrefix is the row prefix there. Its rows have a field "expiresAt".
	PersonPrefix = "person|"

	// MaxDays is the longest life of a grant.
	MaxDays = 90
	// maxOfPerson bounds the grants that are read of one person.
	maxOfPerson = 5000
)

// Grant is what one person may do on one tenant. It is never changed, but for its end.
type Grant struct {
	ID          string                `json:"id"`
	PersonID    string                `json:"personId"`     // the person as an actor
	HomeTenant  string                `json:"personTenant"` // that the person signs in to
	Object      string                `json:"personObject"` // the person's object id there
	Name        string                `json:"name"`         // for people to read
	Permissions []identity.Permission `json:"permissions"`
	Reason      string                `json:"reason"`
	GivenAt     time.Time             `json:"givenAt"`
	GivenBy     events.Actor          `json:"givenBy"`
	ExpiresAt   time.Time             `json:"expiresAt"`
	RevokedAt   time.Time             `json:"revokedAt,omitzero"`
}

// Holds reports whether the grant is good now.
func (g Grant) Holds(now time.Time) bool { return g.RevokedAt.IsZero() && now.Before(g.ExpiresAt) }

// New is what a grant is to be.
type New struct {
	HomeTenant, Object, Name string
	Permissions              []identity.Permission
	Days                     int // 1 to MaxDays
	Reason                   string
}

// everywhere are permissions that reach beyond one tenant, so no grant can have them.
var everywhere = []identity.Permission{identity.TenantOnboard, identity.MetricsRead, identity.PortalRecord}

// Grantable returns the permissions that a grant can have.
func Grantable() []identity.Permission {
	return slices.DeleteFunc(identity.Permissions(), func(p identity.Permission) bool { return slices.Contains(everywhere, p) })
}

func (n New) check() error {
	if !events.IsGUID(n.HomeTenant) {
		return &events.FieldError{Field: "personTenant", Problem: "must be a GUID, the tenant that the person signs in to"}
	}
	if !events.IsGUID(n.Object) {
		return &events.FieldError{Field: "personObject", Problem: "must be a GUID, the person's object id in that tenant"}
	}
	if err := events.CheckText("name", n.Name, events.MaxActorName, true); err != nil {
		return err
	}
	if err := events.CheckText("reason", n.Reason, events.MaxReason, true); err != nil {
		return err
	}
	if len(n.Permissions) == 0 {
		return &events.FieldError{Field: "permissions", Problem: "is missing"}
	}
	for i, p := range n.Permissions {
		if !slices.Contains(Grantable(), p) {
			return &events.FieldError{Field: fmt.Sprintf("permissions[%d]", i), Problem: "is not a permission that can be granted on one tenant"}
		}
	}
	if n.Days < 1 || n.Days > MaxDays {
		return &events.FieldError{Field: "days", Problem: fmt.Sprintf("must be 1 to %d", MaxDays)}
	}
	return nil
}

// Give stages a grant and its audit entry on a unit of the tenant. It holds once [Book.Publish] has run. Its error is an
// *events.FieldError where what is asked for is wrong.
func Give(u *work.Unit, n New, by events.Actor) (Grant, error) {
	if err := n.check(); err != nil {
		return Grant{}, err
	}
	g := Grant{
		ID: u.NewID(), PersonID: identity.PersonID(n.HomeTenant, n.Object), HomeTenant: strings.ToLower(n.HomeTenant), Object: strings.ToLower(n.Object),
		Name: n.Name, Permissions: slices.Compact(slices.Sorted(slices.Values(n.Permissions))), Reason: n.Reason,
		GivenAt: u.Now(), GivenBy: by, ExpiresAt: u.Now().AddDate(0, 0, n.Days),
	}
	return g, errors.Join(u.Create(Prefix+g.ID, g), audit.Append(u, audit.Entry{
		Actor: by, Action: audit.GrantGiven, RequestID: g.ID, Reason: g.Reason,
		Change: map[string]string{"person": g.PersonID, "name": g.Name, "permissions": joined(g.Permissions), "until": g.ExpiresAt.Format(time.RFC3339)},
	}))
}

func joined(permissions []identity.Permission) string {
	var b strings.Builder
	for i, p := range permissions {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(string(p))
	}
	return b.String()
}

// Read returns a grant of the unit's tenant or work.ErrNotFound.
func Read(ctx context.Context, u *work.Unit, id string) (Grant, error) {
	var g Grant
	err := u.Get(ctx, Prefix+id, &g)
	if errors.Is(err, work.ErrBadKey) {
		err = work.ErrNotFound
	}
	if err != nil {
		return Grant{}, fmt.Errorf("read grant %s: %w", id, err)
	}
	return g, nil
}

// Revoke stages the end of a grant on a unit of the tenant. One that was revoked stays as it is. Call [Book.Withdraw] first.
func Revoke(ctx context.Context, u *work.Unit, id string, by events.Actor) (Grant, error) {
	g, err := Read(ctx, u, id)
	if err != nil || !g.RevokedAt.IsZero() {
		return g, err
	}
	g.RevokedAt = u.Now()
	return g, errors.Join(u.Put(Prefix+id, g), audit.Append(u, audit.Entry{
		Actor: by, Action: audit.GrantRevoked, RequestID: g.ID, Change: map[string]string{"person": g.PersonID, "name": g.Name},
	}))
}

// List returns a page of a tenant's grants in the order they were given, those that have ended included.
func List(ctx context.Context, s work.Store, tenant string, limit int, page string) (grants []Grant, next string, err error) {
	p, err := s.List(ctx, work.Query{Partition: tenant, Prefix: Prefix, Limit: limit, Page: page})
	if err != nil {
		return nil, "", fmt.Errorf("list grants of %s: %w", tenant, err)
	}
	for _, row := range p.Rows {
		var g Grant
		if err := json.Unmarshal(row.Value, &g); err != nil {
			return nil, "", fmt.Errorf("decode %s: %w", row.Row, err)
		}
		grants = append(grants, g)
	}
	return grants, p.Next, nil
}
