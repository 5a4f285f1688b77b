package graphsim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Every method of this file is also a path of the control plane (doc.go).
// Tenants are named by id, domain or display name, devices by id or name, users
// by id or user principal name, apps by client id or the short names general,
// privileged, service and client.

// TenantKnobs change a tenant; nil leaves a setting as it is. Settings survive a
// restart.
type TenantKnobs struct {
	ReplicationLag   *time.Duration // negative: back to Timing.ReplicationLag
	ApprovalRequired *bool          // resetPasscode answers 400, as under Multi Admin Approval
	ActionHistory    *bool          // deviceActionResults keeps older entries (unknown for the real one)
	Slow             *time.Duration // real time that every Graph call waits before it is looked at
	SlowAnswer       *time.Duration // real time that its answer waits once it was carried out
}

// AdjustTenant turns a tenant's knobs.
func (c *Cloud) AdjustTenant(ref string, k TenantKnobs) error {
	return c.change(ref, func(t *tenant) ([]change, error) {
		next := t.knobs
		if k.ReplicationLag != nil {
			next.ReplicationLag = k.ReplicationLag
			if *k.ReplicationLag < 0 {
				next.ReplicationLag = nil
			}
		}
		if k.ApprovalRequired != nil {
			next.ApprovalRequired = *k.ApprovalRequired
		}
		if k.ActionHistory != nil {
			next.ActionHistory = *k.ActionHistory
		}
		if k.Slow != nil {
			next.Slow = max(*k.Slow, 0)
		}
		if k.SlowAnswer != nil {
			next.SlowAnswer = max(*k.SlowAnswer, 0)
		}
		return []change{{"knobs/" + t.id + "/", next, func() { t.knobs = next }}}, nil
	})
}

// DeviceKnobs change a device; nil leaves a setting as it is.
type DeviceKnobs struct {
	Online    *bool
	Outcome   *Outcome // of resets accepted from now on
	ErrorCode *int32   // with Failed
}

// AdjustDevice turns a device's knobs.
func (c *Cloud) AdjustDevice(tenantRef, deviceRef string, k DeviceKnobs) error {
	return c.changeDevice(tenantRef, deviceRef, func(t *tenant, d *device) (deviceState, error) {
		next := d.deviceState
		if k.Outcome != nil {
			if !slices.Contains(outcomes, *k.Outcome) {
				return next, fmt.Errorf("outcome %q: %w", *k.Outcome, ErrInvalid)
			}
			next.Outcome = *k.Outcome
		}
		if k.ErrorCode != nil {
			if *k.ErrorCode < 0 {
				return next, fmt.Errorf("error code %d: %w", *k.ErrorCode, ErrInvalid)
			}
			next.Error = *k.ErrorCode
		}
		if k.Online != nil {
			next = c.setOnline(next, c.now(), *k.Online)
		}
		return next, nil
	})
}

// CheckIn lets a device call in now and pick up what waits for it, policies
// included. An offline
// device stays offline afterwards.
func (c *Cloud) CheckIn(tenantRef, deviceRef string) error {
	return c.changeDevice(tenantRef, deviceRef, func(t *tenant, d *device) (deviceState, error) {
		next := c.checkIn(d.deviceState, c.now())
		next.Applied = t.take(d, c.now())
		return next, nil
	})
}

// CheckInAll lets every device of a tenant that is online call in now.
func (c *Cloud) CheckInAll(tenantRef string) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		var changes []change
		now := c.now()
		for _, d := range sorted(t.devices(), func(d *device) bool { return !d.Retired && !d.Offline }) {
			next := c.checkIn(d.deviceState, now)
			next.Applied = t.take(d, now)
			changes = append(changes, t.putDevice(d, next))
		}
		return changes, nil
	})
}

// Reenrol enrols a device anew, for another user if one is named. The device
// keeps its id, and actions that are under way go on, so that a client must
// notice by itself that their result belongs to nobody it knows.
func (c *Cloud) Reenrol(tenantRef, deviceRef, userRef string) error {
	return c.handOver(tenantRef, deviceRef, func(t *tenant, d *device) (deviceState, error) {
		next := d.deviceState
		if userRef != "" {
			u, ok := t.user(userRef)
			if !ok {
				return next, fmt.Errorf("user %q in tenant %s: %w", userRef, t.domain, ErrUnknown)
			}
			next.UserID = u.id
		}
		next.Enrolled = c.now()
		next.LastSeen = next.Enrolled
		return next, nil
	})
}

// ChangeUser gives a device to another user without a new enrolment.
func (c *Cloud) ChangeUser(tenantRef, deviceRef, userRef string) error {
	return c.handOver(tenantRef, deviceRef, func(t *tenant, d *device) (deviceState, error) {
		next := d.deviceState
		u, ok := t.user(userRef)
		if !ok {
			return next, fmt.Errorf("user %q in tenant %s: %w", userRef, t.domain, ErrUnknown)
		}
		next.UserID = u.id
		return next, nil
	})
}

// Retire removes a device from management; reads answer 404.
func (c *Cloud) Retire(tenantRef, deviceRef string) error {
	return c.changeDevice(tenantRef, deviceRef, func(t *tenant, d *device) (deviceState, error) {
		next := d.deviceState
		next.Retired = true
		return next, nil
	})
}

// Consent does what accepting an app's consent page does. The client app's
// pages consent to the service app too.
func (c *Cloud) Consent(tenantRef, appRef string) error {
	app, err := c.appByRef(appRef)
	if err != nil {
		return err
	}
	return c.consent(tenantRef, app)
}

func (c *Cloud) consent(tenantRef string, app application) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		a := t.admit(c.now())
		if app.id == PinResetClient {
			service, _ := findApplication(PinResetService)
			if err := a.consent(service); err != nil {
				return nil, err
			}
		}
		err := a.consent(app)
		c.log.Info("consent", "tenant", t.domain, "app", app.name)
		return c.registered(t, a.changes), err
	})
}

// EnableServicePrincipal switches an app's service principal on or off.
func (c *Cloud) EnableServicePrincipal(tenantRef, appRef string, enabled bool) error {
	return c.changePrincipal(tenantRef, appRef, func(t *tenant, sp *servicePrincipal) []change {
		next := *sp
		next.Disabled, next.Seq = !enabled, t.seq+1
		return []change{t.putPrincipal(next)}
	})
}

// DeleteServicePrincipal removes an app's service principal with its grants.
func (c *Cloud) DeleteServicePrincipal(tenantRef, appRef string) error {
	return c.changePrincipal(tenantRef, appRef, func(t *tenant, sp *servicePrincipal) []change {
		return t.deletePrincipal(sp, c.now())
	})
}

// Grant gives an app application permissions on Microsoft Graph, by name.
// Tokens issued before do not have them.
func (c *Cloud) Grant(tenantRef, appRef string, roles ...string) error {
	app, err := c.appByRef(appRef)
	if err != nil {
		return err
	}
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		a := t.admit(c.now())
		err := a.roles(app.id, roles...)
		return a.changes, err
	})
}

// Revoke takes application permissions from an app: the named ones, or with
// none named everything it was granted.
func (c *Cloud) Revoke(tenantRef, appRef string, roles ...string) error {
	return c.changePrincipal(tenantRef, appRef, func(t *tenant, sp *servicePrincipal) []change {
		return t.revoke(sp, c.now(), roles)
	})
}

// RemoveGrant takes a delegated permission away, by the grant's id.
func (c *Cloud) RemoveGrant(tenantRef, id string) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		g := t.grants[id]
		if g == nil || !g.Deleted.IsZero() {
			return nil, fmt.Errorf("grant %q: %w", id, ErrUnknown)
		}
		gone := *g
		gone.Deleted = c.now()
		return []change{t.putGrant(gone)}, nil
	})
}

// change runs one change of a tenant under its lock.
func (c *Cloud) change(tenantRef string, decide func(*tenant) ([]change, error)) error {
	t, err := c.lookup(tenantRef)
	if err != nil {
		return err
	}
	c.lock(t)
	defer t.mu.Unlock()
	changes, err := decide(t)
	if err != nil || len(changes) == 0 {
		return err
	}
	return c.commit(changes...)
}

func (c *Cloud) changeDevice(tenantRef, deviceRef string, decide func(*tenant, *device) (deviceState, error)) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		d, err := t.device(deviceRef)
		if err != nil {
			return nil, err
		}
		next, err := decide(t, d)
		return []change{t.putDevice(d, next)}, err
	})
}

// handOver changes a device in a way that changes which policies reach it.
func (c *Cloud) handOver(tenantRef, deviceRef string, decide func(*tenant, *device) (deviceState, error)) error {
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		d, err := t.device(deviceRef)
		if err != nil {
			return nil, err
		}
		now := c.now()
		if err := c.settled(t, now); err != nil {
			return nil, err
		}
		next, err := decide(t, d)
		return c.alter(t, now, t.putDevice(d, next)), err
	})
}

func (c *Cloud) changePrincipal(tenantRef, appRef string, decide func(*tenant, *servicePrincipal) []change) error {
	app, err := c.appByRef(appRef)
	if err != nil {
		return err
	}
	return c.change(tenantRef, func(t *tenant) ([]change, error) {
		sp := t.principalOf(c.primary(), app.id)
		if sp == nil {
			return nil, fmt.Errorf("service principal of app %s in tenant %s: %w", app.id, t.domain, ErrUnknown)
		}
		return c.registered(t, decide(t, sp)), nil
	})
}

// registered adds to changes of service principals what goes with them: devices
// create their recovery protector only where both PIN reset apps are enabled.
func (c *Cloud) registered(t *tenant, changes []change) []change {
	if !slices.ContainsFunc(changes, func(ch change) bool {
		sp, ok := ch.value.(servicePrincipal)
		return ok && (sp.AppID == PinResetService || sp.AppID == PinResetClient)
	}) {
		return changes
	}
	return c.alter(t, c.now(), changes...)
}

// appByRef finds an app by client id or short name.
func (c *Cloud) appByRef(ref string) (application, error) {
	general, privileged := c.Apps()
	short := map[string]string{
		"general": general.ClientID, "privileged": privileged.ClientID,
		"service": PinResetService, "client": PinResetClient,
	}
	id, ok := short[strings.ToLower(ref)]
	if !ok {
		id = strings.ToLower(ref)
	}
	app, ok := findApplication(id)
	if !ok {
		return app, fmt.Errorf("app %q: %w", ref, ErrUnknown)
	}
	return app, nil
}
