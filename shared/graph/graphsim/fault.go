package graphsim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// A FaultKind is what goes wrong.
type FaultKind string

// The faults that can be injected. ExecutedThrottle and LostAnswer concern
// writes only.
const (
	Throttle         FaultKind = "throttle"         // 429 or 503 before anything happened
	ExecutedThrottle FaultKind = "executedThrottle" // the write happens, the answer is the 429 or 503
	LostAnswer       FaultKind = "lostAnswer"       // the write happens, the connection closes without an answer
	Refuse           FaultKind = "refuse"           // an answer of Status before anything happened, reads included
	DeltaGone        FaultKind = "deltaGone"        // a delta token is too old: 410
	LostNotification FaultKind = "lostNotification" // a change notification is not sent
)

var faultKinds = []FaultKind{Throttle, ExecutedThrottle, LostAnswer, Refuse, DeltaGone, LostNotification}

// A Fault spoils the next Count calls that match it. Faults wait in memory: a
// restart forgets them.
type Fault struct {
	Kind       FaultKind `json:"kind"`
	Family     Family    `json:"family,omitempty"`     // "" matches every family
	WritesOnly bool      `json:"writesOnly,omitempty"` // with Throttle and Refuse; the other kinds always are
	Path       string    `json:"path,omitempty"`       // with Refuse: how the path starts, "deviceManagement/intents"; "" matches all
	Count      int       `json:"count,omitempty"`      // 0 means 1, negative until ClearFaults
	Status     int       `json:"status,omitempty"`     // 429 or 503, 0 means 429; with Refuse from 400 to 599, 0 means 403
	RetryAfter int       `json:"retryAfter,omitempty"` // seconds; 0 leaves the header out
}

// Inject adds a fault to a tenant.
func (c *Cloud) Inject(tenantRef string, f Fault) error {
	t, err := c.lookup(tenantRef)
	if err != nil {
		return err
	}
	if f.Count == 0 {
		f.Count = 1
	}
	if f.Status == 0 && f.Kind == Refuse {
		f.Status = http.StatusForbidden
	}
	if f.Status == 0 {
		f.Status = http.StatusTooManyRequests
	}
	switch {
	case !slices.Contains(faultKinds, f.Kind):
		return fmt.Errorf("fault kind %q: %w", f.Kind, ErrInvalid)
	case f.Family != "" && !slices.Contains(families, f.Family):
		return fmt.Errorf("fault family %q: %w", f.Family, ErrInvalid)
	case f.Kind == Refuse && (f.Status < 400 || f.Status > 599):
		return fmt.Errorf("fault status %d, want 400 to 599: %w", f.Status, ErrInvalid)
	case f.Path != "" && f.Kind != Refuse:
		return fmt.Errorf("fault kind %q with a path: %w", f.Kind, ErrInvalid)
	case f.Kind != Refuse && f.Status != http.StatusTooManyRequests && f.Status != http.StatusServiceUnavailable:
		return fmt.Errorf("fault status %d, want 429 or 503: %w", f.Status, ErrInvalid)
	case f.RetryAfter < 0:
		return fmt.Errorf("fault retryAfter %d: %w", f.RetryAfter, ErrInvalid)
	}
	c.lock(t)
	defer t.mu.Unlock()
	t.faults = append(t.faults, &f)
	return nil
}

// ClearFaults forgets the faults that have not struck yet.
func (c *Cloud) ClearFaults(tenantRef string) error {
	t, err := c.lookup(tenantRef)
	if err != nil {
		return err
	}
	c.lock(t)
	defer t.mu.Unlock()
	t.faults = nil
	return nil
}

// strike uses up one count of the first matching fault of a kind.
func (t *tenant) strike(family Family, write bool, kinds ...FaultKind) (Fault, bool) {
	for i, f := range t.faults {
		if !slices.Contains(kinds, f.Kind) || f.Family != "" && f.Family != family ||
			!write && (f.WritesOnly || f.Kind != Throttle) {
			continue
		}
		return t.spend(i), true
	}
	return Fault{}, false
}

// spend uses up one count of a fault.
func (t *tenant) spend(i int) Fault {
	f := t.faults[i]
	if f.Count > 0 {
		f.Count--
	}
	if f.Count == 0 {
		t.faults = slices.Delete(t.faults, i, i+1)
	}
	return *f
}

// strikeKind uses up one count of the first fault of a kind, whatever the call.
func (t *tenant) strikeKind(kind FaultKind) (Fault, bool) {
	i := slices.IndexFunc(t.faults, func(f *Fault) bool { return f.Kind == kind })
	if i < 0 {
		return Fault{}, false
	}
	return t.spend(i), true
}

// strikeRefusal uses up one count of the first Refuse that matches a call.
func (t *tenant) strikeRefusal(family Family, path string, write bool) (Fault, bool) {
	i := slices.IndexFunc(t.faults, func(f *Fault) bool {
		return f.Kind == Refuse && (f.Family == "" || f.Family == family) && (write || !f.WritesOnly) &&
			strings.HasPrefix(strings.ToLower(path), strings.ToLower(f.Path))
	})
	if i < 0 {
		return Fault{}, false
	}
	return t.spend(i), true
}

// Counters are what the cloud has counted since it started or since the last
// ResetCounters. Resets of devices are part of the state and survive a restart.
type Counters struct {
	Families map[Family]FamilyCount `json:"families"` // all tenants
	Tenants  []TenantCount          `json:"tenants"`  // used tenants, by domain
}

// A FamilyCount counts Graph requests; parts of a batch count singly.
type FamilyCount struct {
	Requests    int `json:"requests"`
	Writes      int `json:"writes"`
	Throttled   int `json:"throttled"`   // answered 429
	Unavailable int `json:"unavailable"` // answered 503
	TooEarly    int `json:"tooEarly"`    // came before a Retry-After had passed
}

// A TenantCount is one tenant's share.
type TenantCount struct {
	ID       string                 `json:"id"`
	Domain   string                 `json:"domain"`
	Families map[Family]FamilyCount `json:"families"`
	Resets   map[string]int         `json:"resets"` // by device name: passcode resets that took effect
}

// Counters returns a copy of the counts.
func (c *Cloud) Counters() Counters {
	all := Counters{Families: make(map[Family]FamilyCount)}
	for _, t := range c.used() {
		reset := c.lockCounted(t)
		one := TenantCount{ID: t.id, Domain: t.domain, Families: maps.Clone(t.counts), Resets: make(map[string]int)}
		for _, d := range reset {
			one.Resets[d.name] = d.Resets
		}
		t.mu.Unlock()
		for family, n := range one.Families {
			sum := all.Families[family]
			sum.Requests += n.Requests
			sum.Writes += n.Writes
			sum.Throttled += n.Throttled
			sum.Unavailable += n.Unavailable
			sum.TooEarly += n.TooEarly
			all.Families[family] = sum
		}
		all.Tenants = append(all.Tenants, one)
	}
	return all
}

// ResetCounters sets all counts to zero, those of devices too.
func (c *Cloud) ResetCounters() error {
	for _, t := range c.used() {
		reset := c.lockCounted(t)
		clear(t.counts)
		var changes []change
		for _, d := range reset {
			next := d.deviceState
			next.Resets = 0
			changes = append(changes, t.putDevice(d, next))
		}
		var err error
		if len(changes) > 0 {
			err = c.commit(changes...)
		}
		t.mu.Unlock()
		if err != nil {
			return fmt.Errorf("reset counters of %s: %w", t.domain, err)
		}
	}
	return nil
}

// lockCounted locks a tenant and returns the devices with resets. It gives a
// tenant its content only where there may be one.
func (c *Cloud) lockCounted(t *tenant) []*device {
	t.mu.Lock()
	if !t.changedDevices() {
		return nil
	}
	t.mu.Unlock()
	c.lock(t)
	return sorted(t.devices(), func(d *device) bool { return d.Resets > 0 })
}

// used lists the tenants that somebody has asked for or that have saved state,
// by domain.
func (c *Cloud) used() []*tenant {
	c.mu.Lock()
	ids := make(map[string]bool)
	for id := range c.saved {
		ids[id] = true
	}
	for id := range c.tenants {
		ids[id] = true
	}
	c.mu.Unlock()
	var list []*tenant
	for id := range ids {
		if t, err := c.lookup(id); err == nil {
			list = append(list, t)
		}
	}
	slices.SortFunc(list, func(a, b *tenant) int { return strings.Compare(a.domain, b.domain) })
	return list
}

// count notes one Graph request and whether it came too early.
func (t *tenant) count(family Family, key string, write bool, now time.Time) {
	n := t.counts[family]
	n.Requests++
	if write {
		n.Writes++
	}
	if now.Before(t.retryAt[key]) {
		n.TooEarly++
	}
	t.counts[family] = n
}

// countRefused notes a 429 or 503 and when the caller may come back.
func (t *tenant) countRefused(family Family, key string, status int, until time.Time) {
	n := t.counts[family]
	if status == http.StatusTooManyRequests {
		n.Throttled++
	} else {
		n.Unavailable++
	}
	t.counts[family] = n
	if !until.IsZero() {
		t.retryAt[key] = until
	}
}
