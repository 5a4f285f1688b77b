package graphsim

import (
	"math"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Family is a group of resources that share throttling windows.
type Family string

// The families that the simulated calls belong to. Each has windows of its own.
const (
	Identity Family = "identity" // service principals, grants, groups, users, directory devices, organization
	Devices  Family = "devices"  // Intune managed devices and their actions

	Configuration Family = "configuration" // Intune device configurations, assignments and statuses included
	Catalog       Family = "catalog"       // settings catalog policies
	Intents       Family = "intents"       // legacy intents
	Auditing      Family = "auditing"      // Intune audit events
	Subscriptions Family = "subscriptions" // change notifications
)

// A Limit allows N units in any window of length Per. N = 0 means the published
// figure, N < 0 no limit.
type Limit struct {
	N   int
	Per time.Duration
}

var families = []Family{Identity, Devices, Configuration, Catalog, Intents, Auditing, Subscriptions}

// intune reports whether the family is one of Intune's, whose 429s say little.
func (f Family) intune() bool { return f != Identity && f != Subscriptions }

// Limits are the throttling windows. Their defaults are the figures that
// Microsoft publishes (throttling-limits.md, throttling-intune-*.md).
// Whether the real windows are fixed or sliding is unknown; the model slides,
// the stricter reading: a permit comes back Per after its use.
type Limits struct {
	AppRequests Limit // one app, all tenants, every request: 130,000 / 10 s

	DeviceWrites         Limit // one app in one tenant: 200 / 20 s
	DeviceRequests       Limit // the same, reads and writes: 2,000 / 20 s
	TenantDeviceWrites   Limit // one tenant, all apps: 400 / 20 s
	TenantDeviceRequests Limit // 4,000 / 20 s

	// Configuration, Catalog, Intents and Auditing, each by itself.
	PolicyWrites         Limit // one app in one tenant: 100 / 20 s
	PolicyRequests       Limit // the same, reads and writes: 1,000 / 20 s
	TenantPolicyWrites   Limit // one tenant, all apps: 200 / 20 s
	TenantPolicyRequests Limit // 2,000 / 20 s

	SubscriptionWrites         Limit // one app in one tenant: 1,000 / 20 s
	SubscriptionRequests       Limit // 5,000 / 20 s
	TenantSubscriptionWrites   Limit // one tenant, all apps: 2,000 / 20 s
	TenantSubscriptionRequests Limit // 10,000 / 20 s

	// Resource units of one app in one tenant, by the tenant's size: below 50
	// users 3,500, up to 500 users 5,000, above 8,000, each per 10 s.
	SmallTenantUnits     Limit
	MediumTenantUnits    Limit
	LargeTenantUnits     Limit
	IdentityWrites       Limit // one app in one tenant: 3,000 / 150 s
	TenantIdentityWrites Limit // one tenant, all apps: 18,000 / 5 min
	AppIdentityUnits     Limit // one app, all tenants: 150,000 / 20 s
	AppIdentityWrites    Limit // one app, all tenants: 70,000 / 5 min

	// OmitRetryAfter leaves Retry-After out of the answers of Intune's
	// families, as Intune often does.
	OmitRetryAfter bool
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		limit *Limit
		n     int
		per   time.Duration
	}{
		{&l.AppRequests, 130_000, 10 * time.Second},
		{&l.DeviceWrites, 200, 20 * time.Second},
		{&l.DeviceRequests, 2_000, 20 * time.Second},
		{&l.TenantDeviceWrites, 400, 20 * time.Second},
		{&l.TenantDeviceRequests, 4_000, 20 * time.Second},
		{&l.PolicyWrites, 100, 20 * time.Second},
		{&l.PolicyRequests, 1_000, 20 * time.Second},
		{&l.TenantPolicyWrites, 200, 20 * time.Second},
		{&l.TenantPolicyRequests, 2_000, 20 * time.Second},
		{&l.SubscriptionWrites, 1_000, 20 * time.Second},
		{&l.SubscriptionRequests, 5_000, 20 * time.Second},
		{&l.TenantSubscriptionWrites, 2_000, 20 * time.Second},
		{&l.TenantSubscriptionRequests, 10_000, 20 * time.Second},
		{&l.SmallTenantUnits, 3_500, 10 * time.Second},
		{&l.MediumTenantUnits, 5_000, 10 * time.Second},
		{&l.LargeTenantUnits, 8_000, 10 * time.Second},
		{&l.IdentityWrites, 3_000, 150 * time.Second},
		{&l.TenantIdentityWrites, 18_000, 5 * time.Minute},
		{&l.AppIdentityUnits, 150_000, 20 * time.Second},
		{&l.AppIdentityWrites, 70_000, 5 * time.Minute},
	} {
		if f.limit.N == 0 {
			f.limit.N = f.n
		}
		if f.limit.Per <= 0 {
			f.limit.Per = f.per
		}
	}
	return l
}

// A window is a sliding window: it remembers what was taken and when.
type window struct {
	taken []taken
	sum   int
	per   time.Duration
}

type taken struct {
	at    time.Time
	units int
}

// wait returns how long until the window has room for units; 0 is now.
func (w *window) wait(now time.Time, l Limit, units int) time.Duration {
	w.forget(now, l)
	free := l.N - w.sum
	if units <= free {
		return 0
	}
	for _, t := range w.taken {
		if free += t.units; units <= free {
			return max(t.at.Add(l.Per).Sub(now), 1)
		}
	}
	return l.Per // more than the whole limit in one call
}

func (w *window) take(now time.Time, l Limit, units int) {
	w.sum += units
	w.per = l.Per
	// Takes within a 20,000th of the window share an entry, which bounds the
	// memory of a busy window.
	if n := len(w.taken); n > 0 && now.Sub(w.taken[n-1].at) < l.Per/20_000 {
		w.taken[n-1].units += units
		return
	}
	w.taken = append(w.taken, taken{now, units})
}

func (w *window) forget(now time.Time, l Limit) {
	n := 0
	for n < len(w.taken) && !now.Before(w.taken[n].at.Add(l.Per)) {
		w.sum -= w.taken[n].units
		n++
	}
	if n > 0 {
		w.taken = slices.Delete(w.taken, 0, n)
	}
}

// windows are the named windows of one tenant, or those of all apps.
type windows struct {
	mu    sync.Mutex
	named map[string]*window
}

// sweep forgets the windows in which everything has run out.
func (s *windows) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, w := range s.named {
		if n := len(w.taken); n == 0 || !now.Before(w.taken[n-1].at.Add(w.per)) {
			delete(s.named, name)
		}
	}
	if len(s.named) == 0 {
		s.named = nil
	}
}

// A demand is what one request needs of one window.
type demand struct {
	set    *windows
	name   string
	limit  Limit
	units  int
	reason string // x-ms-throttle-information
	scope  string // first part of x-ms-throttle-scope
}

// A verdict says whether a request was let through.
type verdict struct {
	wait  time.Duration // 0: let through
	by    demand        // which window refused
	usage float64       // share of the fullest resource unit window in use
}

// admit takes from every window or from none. Refused requests use no permit.
func admit(now time.Time, demands []demand) verdict {
	// The sets are locked in the order of the demands, tenant before app, the
	// same for every request.
	for _, set := range setsOf(demands) {
		set.mu.Lock()
		defer set.mu.Unlock()
	}
	var v verdict
	for _, d := range demands {
		w := d.set.named[d.name]
		if w == nil {
			if d.set.named == nil {
				d.set.named = make(map[string]*window)
			}
			w = new(window)
			d.set.named[d.name] = w
		}
		if wait := w.wait(now, d.limit, d.units); wait > v.wait {
			v.wait, v.by = wait, d
		}
		if d.reason == unitLimit {
			v.usage = max(v.usage, float64(w.sum+d.units)/float64(d.limit.N))
		}
	}
	if v.wait == 0 {
		for _, d := range demands {
			d.set.named[d.name].take(now, d.limit, d.units)
		}
	}
	return v
}

func setsOf(demands []demand) []*windows {
	var sets []*windows
	for _, d := range demands {
		if !slices.Contains(sets, d.set) {
			sets = append(sets, d.set)
		}
	}
	return sets
}

const (
	unitLimit  = "ResourceUnitLimitExceeded"
	writeLimit = "WriteLimitExceeded"
)

// demands lists the windows that a request of an app in a tenant draws on.
// Writes count in the windows for any request too.
func (c *Cloud) demands(t *tenant, appID string, family Family, write bool, units int) []demand {
	l := c.limits
	var all []demand
	add := func(set *windows, name string, limit Limit, n int, reason, scope string) {
		if limit.N > 0 {
			all = append(all, demand{set, name, limit, n, reason, scope})
		}
	}
	// flat families count calls, in four windows of their own.
	flat := func(requests, writes, tenantRequests, tenantWrites Limit) {
		name := string(family)
		add(&t.windows, appID+" "+name, requests, 1, "", "")
		add(&t.windows, name, tenantRequests, 1, "", "")
		if write {
			add(&t.windows, appID+" "+name+" write", writes, 1, "", "")
			add(&t.windows, name+" write", tenantWrites, 1, "", "")
		}
	}
	switch family {
	case Devices:
		flat(l.DeviceRequests, l.DeviceWrites, l.TenantDeviceRequests, l.TenantDeviceWrites)
	case Configuration, Catalog, Intents, Auditing:
		flat(l.PolicyRequests, l.PolicyWrites, l.TenantPolicyRequests, l.TenantPolicyWrites)
	case Subscriptions:
		flat(l.SubscriptionRequests, l.SubscriptionWrites, l.TenantSubscriptionRequests, l.TenantSubscriptionWrites)
	case Identity:
		size := l.SmallTenantUnits
		if n := len(t.users); n > 500 {
			size = l.LargeTenantUnits
		} else if n >= 50 {
			size = l.MediumTenantUnits
		}
		add(&t.windows, appID+" units", size, units, unitLimit, "Tenant_Application/Read")
		if write {
			add(&t.windows, appID+" write", l.IdentityWrites, 1, writeLimit, "Tenant_Application/ReadWrite")
			add(&t.windows, "write", l.TenantIdentityWrites, 1, writeLimit, "Tenant/ReadWrite")
		}
		add(&c.appWindows, appID+" units", l.AppIdentityUnits, units, unitLimit, "Application/Read")
		if write {
			add(&c.appWindows, appID+" write", l.AppIdentityWrites, 1, writeLimit, "Application/ReadWrite")
		}
	}
	add(&c.appWindows, appID, l.AppRequests, 1, "", "Application/Read")
	return all
}

// retryAfter renders a wait as whole seconds, rounded up.
func retryAfter(wait time.Duration) string {
	return strconv.Itoa(int(math.Ceil(wait.Seconds())))
}
