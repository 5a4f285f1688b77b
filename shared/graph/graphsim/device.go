package graphsim

import (
	"fmt"
	"slices"
	"time"
)

// A device is a sample profile and what has happened to it. Nothing runs
// between requests: state is computed from the recorded times and the clock
// whenever somebody looks.
type device struct {
	profile
	id, directoryID, objectID, serial string
	name                              string // with the tenant's prefix
	deviceState
}

// deviceState is what changes and survives a restart.
type deviceState struct {
	Enrolled time.Time `json:"enrolled"`
	UserID   string    `json:"userId,omitempty"`
	Offline  bool      `json:"offline,omitempty"`
	Since    time.Time `json:"since"`           // online: when its own check-ins began
	LastSeen time.Time `json:"lastSeen"`        // the last check-in that the schedule does not explain
	SyncAt   time.Time `json:"syncAt,omitzero"` // a requested check-in
	Outcome  Outcome   `json:"outcome,omitempty"`
	Error    int32     `json:"error,omitempty"`
	Resets   int       `json:"resets,omitempty"` // passcode resets that took effect
	Actions  []action  `json:"actions,omitempty"`
	Retired  bool      `json:"retired,omitempty"`
	Applied  applied   `json:"applied,omitzero"`
}

// An Outcome is how passcode resets of a device end.
type Outcome string

// The outcomes of a reset. ByPlatform is what the device's platform does.
const (
	ByPlatform      Outcome = ""
	Done            Outcome = "done"                // with a passcode
	DoneWithoutCode Outcome = "doneWithoutPasscode" // done, but the passcode never shows
	DoneOnBeta      Outcome = "doneOnBetaOnly"      // done, the passcode shows only on the beta endpoint
	Failed          Outcome = "failed"              // with the device's error code
	NotSupported    Outcome = "notSupported"
	Never           Outcome = "never" // the device never answers; the action stays pending
)

var outcomes = []Outcome{ByPlatform, Done, DoneWithoutCode, DoneOnBeta, Failed, NotSupported, Never}

// An action is one resetPasscode that the service accepted. How it will end is
// settled when it is accepted.
type action struct {
	Posted   time.Time `json:"posted"`
	Visible  time.Time `json:"visible"`
	PickedUp time.Time `json:"pickedUp,omitzero"` // zero: not before the device comes online
	Finished time.Time `json:"finished,omitzero"` // zero with PickedUp
	Outcome  Outcome   `json:"outcome"`
	Error    int32     `json:"error,omitempty"`
	Passcode string    `json:"passcode,omitempty"`
}

// keepActions bounds the history of a device.
const keepActions = 5

func newDevice(t *tenant, prefix string, p profile, epoch time.Time) *device {
	key := t.domain + " device " + p.name
	d := &device{
		profile: p, name: prefix + p.name,
		id: guid(key), directoryID: guid(key + " directory"), objectID: deviceObjectID(t.domain, p.name),
	}
	d.serial = fmt.Sprintf("SIM-%s", d.id[:8])
	d.Enrolled = epoch.Add(-60 * 24 * time.Hour)
	d.Since, d.LastSeen = epoch.Add(-time.Hour), epoch.Add(-time.Hour)
	if p.offline {
		d.Offline = true
		d.LastSeen = epoch.Add(-26 * 24 * time.Hour)
	}
	if u, ok := t.user(p.user + "@" + t.domain); ok {
		d.UserID = u.id
	}
	return d
}

// deviceObjectID is the id of a sample device's directory object.
func deviceObjectID(domain, name string) string { return guid(domain + " device " + name + " object") }

// putDevice returns the change that replaces a device's state.
func (t *tenant) putDevice(d *device, next deviceState) change {
	return change{"device/" + t.id + "/" + d.id, next, func() { d.deviceState = next }}
}

// lastSync returns the latest check-in at or before now.
func (s *deviceState) lastSync(now time.Time, every time.Duration) time.Time {
	latest := s.LastSeen
	see := func(at time.Time) {
		if !at.IsZero() && !at.After(now) && at.After(latest) {
			latest = at
		}
	}
	see(s.SyncAt)
	for _, a := range s.Actions {
		see(a.PickedUp)
		see(a.Finished)
	}
	if !s.Offline && every > 0 && !now.Before(s.Since) {
		see(s.Since.Add(now.Sub(s.Since).Truncate(every)))
	}
	return latest
}

// reset records an accepted resetPasscode. A second one replaces the code.
func (c *Cloud) reset(d *device, now time.Time) deviceState {
	next := d.deviceState
	next.Resets++
	a := action{Posted: now, Visible: now.Add(c.timing.EntryDelay), Outcome: d.Outcome, Error: d.Error}
	if a.Outcome == ByPlatform {
		switch d.profile.reset {
		case resetCode:
			a.Outcome = Done
		case resetRemoves:
			a.Outcome = DoneWithoutCode
		case resetNotSupported:
			a.Outcome = NotSupported
		case resetFails:
			a.Outcome, a.Error = Failed, d.errorCode
		}
	}
	if a.Outcome == Done || a.Outcome == DoneOnBeta {
		a.Passcode = c.passcode()
	}
	if !d.Offline {
		c.schedule(&a, a.Visible.Add(c.timing.PickUp))
	}
	next.Actions = append(slices.Clone(next.Actions), a)
	if n := len(next.Actions); n > keepActions {
		next.Actions = next.Actions[n-keepActions:]
	}
	return next
}

// schedule says when the device picks the action up.
func (c *Cloud) schedule(a *action, at time.Time) {
	if a.Outcome != Never {
		a.PickedUp, a.Finished = at, at.Add(c.timing.Work)
	}
}

// waiting reports whether the device has not picked the action up yet.
func (a *action) waiting(now time.Time) bool { return a.PickedUp.IsZero() || a.PickedUp.After(now) }

// setOnline switches a device on or off. Actions that it has not picked up wait
// for it.
func (c *Cloud) setOnline(s deviceState, now time.Time, online bool) deviceState {
	if s.Offline != online {
		return s
	}
	s.LastSeen = s.lastSync(now, c.timing.CheckIn)
	s.Offline, s.Since = !online, now
	if s.SyncAt.After(now) {
		s.SyncAt = time.Time{}
	}
	s.Actions = slices.Clone(s.Actions)
	for i := range s.Actions {
		a := &s.Actions[i]
		switch {
		case !a.waiting(now):
		case online:
			c.schedule(a, later(a.Visible, now).Add(c.timing.PickUp))
		default:
			a.PickedUp, a.Finished = time.Time{}, time.Time{}
		}
	}
	return s
}

// checkIn lets a device call in at once, an offline one too, which stays offline
// for the rest.
func (c *Cloud) checkIn(s deviceState, now time.Time) deviceState {
	s.LastSeen = now
	s.Actions = slices.Clone(s.Actions)
	for i := range s.Actions {
		if a := &s.Actions[i]; a.waiting(now) {
			c.schedule(a, now)
			a.Visible = earlier(a.Visible, now)
		}
	}
	return s
}

// sync asks a device to check in. An offline one does not hear it.
func (c *Cloud) sync(d *device, now time.Time) deviceState {
	next := d.deviceState
	if next.Offline {
		return next
	}
	next.LastSeen = next.lastSync(now, c.timing.CheckIn)
	next.SyncAt = now.Add(c.timing.PickUp)
	next.Actions = slices.Clone(next.Actions)
	for i := range next.Actions {
		if a := &next.Actions[i]; a.PickedUp.After(next.SyncAt) {
			c.schedule(a, later(a.Visible, next.SyncAt))
		}
	}
	return next
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// result renders the action's entry in deviceActionResults, nil while the entry
// has not appeared.
func (a *action) result(now time.Time, beta bool) map[string]any {
	if now.Before(a.Visible) {
		return nil
	}
	state, updated := "pending", a.Posted
	entry := map[string]any{
		"@odata.type":   "#microsoft.graph.resetPasscodeActionResult",
		"actionName":    "resetPasscode",
		"startDateTime": stamp(a.Posted),
		"passcode":      nil,
		"errorCode":     0,
	}
	switch {
	case a.waiting(now):
	case now.Before(a.Finished):
		state, updated = "active", a.PickedUp
	default:
		updated = a.Finished
		switch a.Outcome {
		case Failed:
			state, entry["errorCode"] = "failed", a.Error
		case NotSupported:
			state = "notSupported"
		default:
			state = "done"
			if a.Passcode != "" && (a.Outcome == Done || beta) {
				entry["passcode"] = a.Passcode
			}
		}
	}
	entry["actionState"], entry["lastUpdatedDateTime"] = state, stamp(updated)
	return entry
}

// results renders what a single GET shows: the newest action, or with history
// all that are kept, newest first.
func (s *deviceState) results(now time.Time, history, beta bool) []any {
	list := []any{}
	for _, a := range slices.Backward(s.Actions) {
		entry := a.result(now, beta)
		if entry == nil {
			continue
		}
		list = append(list, entry)
		if !history {
			break
		}
	}
	return list
}

// stamp renders a time as Graph does, in UTC.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z") }
