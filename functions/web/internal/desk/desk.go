package desk

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"time"

	"pinreset/events"
	"pinreset/functions/web/internal/problem"
	"pinreset/shared/audit"
	"pinreset/shared/devicekey"
	"pinreset/shared/fault"
	"pinreset/shared/grant"
	"pinreset/shared/graph"
	"pinreset/shared/identity"
	"pinreset/shared/notice"
	"pinreset/shared/onboarding"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
)

// Devices is what the desk needs of Graph.
type Devices interface {
	DevicePage(ctx context.Context, tenant string, filter graph.DeviceFilter, after string) (devices []graph.ManagedDevice, next string, err error)
	ManagedDevice(ctx context.Context, tenant, id string) (graph.ManagedDevice, error)
	DeviceEdition(ctx context.Context, tenant, id string) (graph.DeviceEdition, error)
	DirectoryDevice(ctx context.Context, tenant, deviceID string) (graph.DirectoryDevice, error)
	DeviceGroups(ctx context.Context, tenant, objectID string) ([]string, error)
	UserGroups(ctx context.Context, tenant, userID string) ([]string, error)
	UserRoles(ctx context.Context, tenant, userID string) ([]string, error)
}

// Vault opens codes.
type Vault interface {
	Open(ctx context.Context, env secret.Envelope, want secret.Binding, receipt audit.Receipt) (secret.Text, error)
}

// Eraser takes a whole partition away, so that no byte of it stays.
type Eraser interface {
	ErasePartition(ctx context.Context, partition string) (rows, messages int, err error)
}

// subscriptions ends change notifications at Graph.
type subscriptions interface {
	Unsubscribe(ctx context.Context, tenant, id string) error
}

// pace tells how much of Graph's limits is used.
type pace interface{ Snapshot() graph.LimiterSnapshot }

// Options are the parts of a desk. Those of the first block are required.
type Options struct {
	Store   work.Store
	Devices Devices
	Vault   Vault
	Links   onboarding.Links
	Tokens  *identity.Tokens
	People  *grant.Book
	Now     func() time.Time
	NewID   func() string

	Policies   PolicyReader // Graph; nil where no policies are rolled out
	DeviceKeys *devicekey.Keys

	Notified      bool          // Graph can reach the callback, so that tenants may ask for its notifications
	Subscriptions subscriptions // Graph's, which end with a tenant's offboarding; nil where there are none

	Notices      *notice.Seals
	LocalNotices bool // they may be posted to this machine, by http: for simulated tenants
	Mails        bool // this server is set up to send mail

	Pace pace   // figures of the limits of Graph; nil for none
	Wake func() // has a run over all tenants sent at once; nil where the timer alone does it

	Eraser Eraser // of Store; nil where tenants can't be offboarded
	Keys   Eraser // of the key ring
}

// Desk serves every tenant. It is safe for concurrent use.
type Desk struct {
	o       Options
	cursors cursors
	callers []byte // key of the codes for callers
}

// New returns a desk.
func New(o Options) *Desk {
	if o.Store == nil || o.Devices == nil || o.Vault == nil || o.Tokens == nil || o.People == nil || o.DeviceKeys == nil || o.Notices == nil || o.Now == nil || o.NewID == nil || len(o.Links.Key) == 0 {
		panic("desk: an option is missing")
	}
	if o.Wake == nil {
		o.Wake = func() {}
	}
	// Cursors are signed with a key of their own, so that one can never pass for a consent link.
	key, err := hkdf.Key(sha256.New, o.Links.Key, nil, "pinreset/cursor/1", 32)
	if err != nil {
		panic(err) // 32 bytes are always to be had
	}
	callers, err := hkdf.Key(sha256.New, o.Links.Key, nil, "pinreset/caller/1", 32)
	if err != nil {
		panic(err)
	}
	return &Desk{o: o, cursors: cursors{key}, callers: callers}
}

// Room is a tenant with who is in it.
type Room struct {
	desk   *Desk
	tenant tenant.Tenant
	who    identity.Principal
}

// Enter returns the room of a tenant. A tenant that the principal does not see is refused as one that does not exist.
func (d *Desk) Enter(ctx context.Context, who identity.Principal, id string) (*Room, error) {
	id, ok := tenant.NormalID(id)
	if !ok || !who.Sees(id) {
		return nil, missing(nil)
	}
	t, err := tenant.Get(ctx, d.o.Store, id)
	if errors.Is(err, work.ErrNotFound) {
		return nil, missing(err)
	}
	if err != nil {
		return nil, err
	}
	// Read again, so that a grant that was revoked a moment ago opens nothing.
	if who, err = d.o.People.Enter(ctx, who, id); err != nil {
		return nil, err
	}
	if !who.Sees(id) {
		return nil, missing(nil)
	}
	if err := d.notSuspended(ctx, who.ID, id); err != nil {
		return nil, err
	}
	return &Room{desk: d, tenant: t, who: who}, nil
}

// Need refuses a principal without the permission.
func (r *Room) Need(permission identity.Permission) error { return need(r.who, permission) }

// needInEntra is Need for what Microsoft Graph has a part in: it also refuses a tenant on premises.
func (r *Room) needInEntra(permission identity.Permission) error {
	if err := r.Need(permission); err != nil {
		return err
	}
	return r.tenant.InEntra()
}

// Who returns who is in the room, with what may be done there.
func (r *Room) Who() identity.Principal { return r.who }

// ID returns the tenant's id.
func (r *Room) ID() string { return r.tenant.ID }

// Name returns what people call the tenant.
func (r *Room) Name() string { return r.tenant.DisplayName }

// OnPremises reports whether Microsoft Entra ID knows nothing of the tenant.
func (r *Room) OnPremises() bool { return r.tenant.Kind == tenant.OnPremises }

// Can reports whether who is in the room has the permission.
func (r *Room) Can(permission identity.Permission) bool { return r.who.Can(permission) }

func need(who identity.Principal, permission identity.Permission) error {
	if who.Can(permission) {
		return nil
	}
	return problem.Refuse(fault.Forbidden, "The permission "+string(permission)+" is missing.")
}

// needSomewhere is for what shows of each tenant what may be seen there.
func needSomewhere(who identity.Principal, permission identity.Permission) error {
	if who.CanSomewhere(permission) {
		return nil
	}
	return need(who, permission)
}

// needEverywhere is for what reaches beyond one tenant.
func needEverywhere(who identity.Principal, permission identity.Permission) error {
	if err := need(who, permission); err != nil {
		return err
	}
	if !who.All {
		return problem.Refuse(fault.Forbidden, "This needs a token for all tenants.")
	}
	return nil
}

func missing(err error) error { return &problem.Refusal{Code: fault.NotFound, Err: err} }

// isMissing reports whether the error is that of what is not there.
func isMissing(err error) bool {
	refusal, ok := errors.AsType[*problem.Refusal](err)
	return ok && refusal.Code == fault.NotFound
}

// wrong turns the field error of a payload into a refusal that names the place in the request's body.
func wrong(err error) error {
	field, ok := errors.AsType[*events.FieldError](err)
	if !ok {
		return err
	}
	return invalid("body."+field.Field, field.Problem)
}

// checkWhy applies the rules of what people give for the audit log. required says whether there must be a reason.
func checkWhy(reason, ticket string, required bool) error {
	if err := events.CheckText("reason", reason, events.MaxReason, required); err != nil {
		return wrong(err)
	}
	return wrong(events.CheckText("ticket", ticket, events.MaxTicket, false))
}

func invalid(location, message string) error {
	return &problem.Refusal{Code: fault.InvalidRequest, Fields: []problem.Field{{Location: location, Message: message}}}
}

// attempts bounds how often a change is tried again because somebody else was faster.
const attempts = 20

// change runs fn on fresh units of the partition until its commit holds. fn stages and calls nothing outside.
func (d *Desk) change(ctx context.Context, partition string, fn func(u *work.Unit) error) error {
	var err error
	for range attempts {
		u := work.NewUnit(d.o.Store, partition, d.o.Now(), d.o.NewID)
		if err = fn(u); err == nil {
			err = u.Commit(ctx)
		}
		if !errors.Is(err, work.ErrConflict) {
			return err
		}
	}
	return err
}
