package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/onboarding"
	"pinreset/shared/secret"
)

// cloud is a model of Microsoft Graph, Intune and the devices, as the handlers' interfaces see them through the client: no
// HTTP, the client's own verdicts. It keeps true time, whatever the program's clock says.
//
// What it assumes of Graph, as package passcodereset does: an accepted reset is to be seen in the device's results within
// entryDelay, and a replica is behind by no more than replicaLag.
type cloud struct {
	w       *world
	tenants map[string]*directory
	devices map[string]*handset // by tenant and id
	codes   int
}

const (
	entryDelay = 15 * time.Second
	replicaLag = 15 * time.Second
)

// directory is a tenant's: which applications an administrator has consented to.
type directory struct {
	consented  time.Time // zero: not
	principals map[string]time.Time
	disabled   string // app id whose service principal is switched off
	history    []snapshot
	serial     int
	records    []record
	made       map[string]making   // by policy
	ordered    map[string]*ordered // subscriptions, by id
	fleet      []time.Duration     // when each device reports a changed policy
}

// handset is a device.
type handset struct {
	tenant  string
	facts   graph.ManagedDevice
	code    bool // its platform makes one
	online  bool
	gone    bool
	outcome mishap // how its resets end; none is well
	actions []*action
}

// action is an accepted reset. A device that is offline has not finished it.
type action struct {
	request                   string // whose run made the call
	posted, visible, finished time.Time
	outcome                   mishap
	code                      string
}

func (h *handset) effective(request string) int {
	n := 0
	for _, a := range h.actions {
		if a.request == request {
			n++
		}
	}
	return n
}

// carryOut says when the device finishes what it has not.
func (c *cloud) carryOut(h *handset) {
	for _, a := range h.actions {
		if h.online && a.finished.IsZero() && a.outcome != neverAnswers {
			a.finished = later(c.w.now, a.visible).Add(c.w.upTo(40 * time.Second))
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// call passes an effect of Graph's: everything that can go wrong at a read, with the client's verdict on it.
func (c *cloud) call(e effect, tenant, id string) (mishap, error) {
	w := c.w
	m, err := w.before(e)
	if err != nil {
		return m, err
	}
	if w.cur.tenant != tenant {
		w.violate("I5: a run of tenant %s asks Graph about tenant %s", w.cur.tenant, tenant)
	}
	if h := c.devices[id]; h != nil && h.tenant != tenant {
		w.violate("I5: device %s of tenant %s is asked for in tenant %s", id, h.tenant, tenant)
	}
	if w.expired() {
		return m, context.DeadlineExceeded
	}
	return m, c.verdict(m, http.MethodGet, e)
}

// verdict is the client's on an answer that is no success; nil for a mishap that is none of Graph's.
func (c *cloud) verdict(m mishap, method string, e effect) error {
	said := func(status int) *graph.Error {
		return &graph.Error{Method: method, Path: e.String(), Status: status, Date: c.w.now.Truncate(time.Second)}
	}
	switch m {
	case throttled, throttledDone:
		return fault.After(time.Second+c.w.upTo(2*time.Minute), fault.GraphThrottled, said(http.StatusTooManyRequests))
	case throttledBare, throttledBareDone:
		return fault.After(2*time.Second, fault.GraphThrottled, said(http.StatusTooManyRequests))
	case unavailable, unavailableDone:
		return fault.After(5*time.Second, fault.GraphUnavailable, said(http.StatusServiceUnavailable))
	case noAnswer, answerLost:
		return fault.After(5*time.Second, fault.GraphUnavailable, &graph.Error{Method: method, Path: e.String(), Err: errors.New("connection reset")})
	case notSent:
		return fault.After(time.Second, fault.WaitingForPermit, errors.New("no permit"))
	case refused:
		return fault.Permanent(fault.GraphRefused, said(http.StatusBadRequest))
	case forbidden:
		return fault.Permanent(fault.GraphForbidden, said(http.StatusForbidden))
	case missing:
		return fmt.Errorf("%w: %w", graph.ErrNotFound, said(http.StatusNotFound))
	}
	return nil
}

// ManagedDevice is graph.Client's.
func (c *cloud) ManagedDevice(_ context.Context, tenant, id string) (graph.ManagedDevice, error) {
	m, err := c.call(readDevice, tenant, id)
	if err != nil {
		return graph.ManagedDevice{}, err
	}
	h := c.devices[id]
	if h == nil || h.gone {
		return graph.ManagedDevice{}, graph.ErrNotFound
	}
	facts := h.facts
	facts.ReadAt = c.w.now.Truncate(time.Second)
	return facts, c.w.after(m)
}

// PrepareReset is graph.Client's.
func (c *cloud) PrepareReset(_ context.Context, tenant string) error {
	m, err := c.call(prepareReset, tenant, "")
	if err != nil {
		return err
	}
	return c.w.after(m)
}

// ResetPasscode is graph.Client's. It counts for whose request the call is made.
func (c *cloud) ResetPasscode(_ context.Context, tenant, id string) (graph.Accepted, error) {
	w := c.w
	m, err := w.before(resetDevice)
	if err != nil {
		return graph.Accepted{}, err
	}
	h := c.devices[id]
	switch {
	case w.cur.tenant != tenant || h == nil || h.tenant != tenant:
		w.violate("I5: a run of tenant %s resets device %s in tenant %s", w.cur.tenant, id, tenant)
		return graph.Accepted{}, graph.ErrNotFound
	case w.expired():
		return graph.Accepted{}, context.DeadlineExceeded
	case h.gone:
		return graph.Accepted{}, graph.ErrNotFound
	}
	posted := w.now.Truncate(time.Second)
	switch m {
	case none, slow, leaseLost, crashAfter, throttledDone, throttledBareDone, unavailableDone, answerLost:
		c.reset(h)
	}
	if err := c.verdict(m, http.MethodPost, resetDevice); err != nil {
		if m != notSent && m != refused {
			err = fmt.Errorf("%w: %w", graph.ErrOutcomeUnknown, err)
		}
		return graph.Accepted{}, fmt.Errorf("reset passcode of device %s: %w", id, err)
	}
	return graph.Accepted{ServerDate: posted}, w.after(m)
}

func (c *cloud) reset(h *handset) {
	w := c.w
	c.codes++
	a := &action{request: w.cur.request, posted: w.now, visible: w.now.Add(w.upTo(entryDelay)), outcome: h.outcome}
	if h.code {
		a.code = fmt.Sprintf("%s%06d-%03d", canary, w.seed%1_000_000, c.codes)
	}
	h.actions = append(h.actions, a)
	c.carryOut(h)
	w.called(h.tenant)
	if w.scene == portals {
		w.cloud.tenants[h.tenant].log(w, appID, "resetPasscode ManagedDevice", "Microsoft.Management.Services.Api.ManagedDevice", h.facts.ID)
	}
	w.tally.resets++
	w.note("effective reset", h.facts.ID, w.cur.request)
	if n := h.effective(w.cur.request); n > 1 {
		w.violate("I2: device %s was reset %d times for request %s", h.facts.ID, n, w.cur.request)
	}
}

// PasscodeResult is graph.Client's.
func (c *cloud) PasscodeResult(_ context.Context, tenant, id string, notBefore time.Time) (graph.PasscodeReading, error) {
	return c.result(readResult, tenant, id, notBefore)
}

// PasscodeResultBeta is graph.Client's.
func (c *cloud) PasscodeResultBeta(_ context.Context, tenant, id string, notBefore time.Time) (graph.PasscodeReading, error) {
	return c.result(readResultBeta, tenant, id, notBefore)
}

// clientSkew is by how much earlier than asked for the client takes an entry.
const clientSkew = graph.StartSkew

func (c *cloud) result(e effect, tenant, id string, notBefore time.Time) (graph.PasscodeReading, error) {
	m, err := c.call(e, tenant, id)
	if err != nil {
		return graph.PasscodeReading{}, err
	}
	h := c.devices[id]
	if h == nil || h.gone {
		return graph.PasscodeReading{}, graph.ErrNotFound
	}
	at := c.w.now
	if m == stale {
		at = at.Add(-c.w.upTo(replicaLag))
	}
	reading := graph.PasscodeReading{Device: h.facts}
	reading.Device.ReadAt = c.w.now.Truncate(time.Second)
	for _, a := range h.actions {
		if a.visible.After(at) || a.posted.Before(notBefore.Add(-clientSkew)) {
			continue
		}
		reading.Action = a.at(at, e == readResultBeta)
	}
	return reading, c.w.after(m)
}

// at is the action's entry at a time.
func (a *action) at(now time.Time, beta bool) *graph.PasscodeAction {
	entry := &graph.PasscodeAction{State: graph.ActionPending, Started: a.posted, Updated: a.posted}
	if a.finished.IsZero() || a.finished.After(now) {
		return entry
	}
	entry.Updated = a.finished
	switch a.outcome {
	case actionFails:
		entry.State, entry.ErrorCode = graph.ActionFailed, -2016
	case actionNotSupported:
		entry.State = graph.ActionNotSupported
	default:
		entry.State = graph.ActionDone
		if a.outcome != noCode && (a.outcome != codeOnBetaOnly || beta) {
			entry.Passcode = secret.NewText(a.code)
		}
	}
	return entry
}

// Prove is graph.Client's.
func (c *cloud) Prove(_ context.Context, tenant string) error {
	m, err := c.call(proveAccess, tenant, "")
	if err != nil {
		return err
	}
	if d := c.tenants[tenant]; d.consented.IsZero() || c.w.now.Before(d.consented) {
		return fault.Permanent(fault.AppNotConsented, &graph.Error{Method: http.MethodPost, Path: "token", Status: http.StatusBadRequest})
	}
	return c.w.after(m)
}

// ProvePrivileged is graph.Client's, for a client without a second application.
func (c *cloud) ProvePrivileged(context.Context, string) error { return nil }

// ServicePrincipal is graph.Client's.
func (c *cloud) ServicePrincipal(_ context.Context, tenant, app string) (graph.ServicePrincipal, error) {
	m, err := c.call(readPrincipal, tenant, "")
	if err != nil {
		return graph.ServicePrincipal{}, err
	}
	d := c.tenants[tenant]
	if at, there := d.principals[app]; !there || c.w.now.Before(at) {
		return graph.ServicePrincipal{}, graph.ErrNotFound
	}
	if d.disabled != app {
		if c.w.cur.proved == nil {
			c.w.cur.proved = map[string]bool{}
		}
		c.w.cur.proved[app] = true
	}
	return graph.ServicePrincipal{ID: objectOf(app), AppID: app, AccountEnabled: d.disabled != app}, c.w.after(m)
}

// CreateServicePrincipal is graph.Client's.
func (c *cloud) CreateServicePrincipal(_ context.Context, tenant, app string) (graph.ServicePrincipal, error) {
	m, err := c.w.before(createPrincipal)
	if err != nil {
		return graph.ServicePrincipal{}, err
	}
	if c.w.expired() {
		return graph.ServicePrincipal{}, context.DeadlineExceeded
	}
	d := c.tenants[tenant]
	if at, there := d.principals[app]; !there || at.After(c.w.now) {
		if slices.Contains([]mishap{none, slow, crashAfter, answerLost}, m) {
			d.principals[app] = c.w.now
			c.w.note("created", app)
		}
	}
	if err := c.verdict(m, http.MethodPatch, createPrincipal); err != nil {
		return graph.ServicePrincipal{}, err
	}
	return graph.ServicePrincipal{ID: objectOf(app), AppID: app, AccountEnabled: d.disabled != app}, c.w.after(m)
}

// UserRoles is graph.Client's. No tenant here asks for a second person.
func (c *cloud) UserRoles(context.Context, string, string) ([]string, error) { return []string{}, nil }

// objectOf is the object id of an application's service principal.
func objectOf(app string) string { return "00000000" + app[8:] }

// PermissionGrants is graph.Client's.
func (c *cloud) PermissionGrants(_ context.Context, tenant, principal string) ([]graph.PermissionGrant, error) {
	m, err := c.call(readGrants, tenant, "")
	if err != nil {
		return nil, err
	}
	return []graph.PermissionGrant{{ID: "g", ClientID: principal, ConsentType: "AllPrincipals", ResourceID: "r", Scope: "User.Read"}}, c.w.after(m)
}

// AppRoleAssignments is graph.Client's.
func (c *cloud) AppRoleAssignments(_ context.Context, tenant, principal string) ([]graph.AppRoleAssignment, error) {
	m, err := c.call(readRoles, tenant, "")
	if err != nil {
		return nil, err
	}
	return []graph.AppRoleAssignment{{ID: "a", PrincipalID: principal, ResourceDisplayName: "Microsoft Graph"}}, c.w.after(m)
}

// microsoftApps are those whose presence a consent proves.
var microsoftApps = []string{onboarding.ServiceAppID, onboarding.ClientAppID}
