package graphsim

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Of a fleet tenant only the frame stays in memory: what it has counted, its
// throttling windows while they hold something, and the values that somebody
// changed. The rest grows from its number when it is used and is dropped when
// keepGrown others have been used since. That is what makes ten thousand tenants
// as cheap as the few in use.

// keepGrown is how many fleet tenants keep their content.
const keepGrown = 512

// sweepAtOnce is how many idle frames are looked at whenever a tenant grows, to
// forget windows that have run empty.
const sweepAtOnce = 8

const fleetID = "f1ee7000-7e57-4c10-8d01-"

// FleetTenant returns id and name of the n-th tenant of a fleet, counted from 1.
// It says nothing about whether a cloud has that many.
func FleetTenant(n int) (id, name string) {
	return fmt.Sprintf("%s%012d", fleetID, n), fmt.Sprintf("fleet-%04d", n)
}

// fleetSeed returns the n-th tenant of the fleet, counted from 1.
func fleetSeed(n, devices int) seed {
	id, name := FleetTenant(n)
	return seed{id: id, domain: name + ".example", name: name, consented: everyConsent(), more: devices, fleet: true}
}

// seedOf finds a tenant by id, domain or name, in lower case.
func (c *Cloud) seedOf(ref string) (seed, bool) {
	if s, ok := c.seeds[ref]; ok {
		return s, true
	}
	digits, ok := strings.CutPrefix(ref, fleetID)
	if !ok {
		digits, ok = strings.CutPrefix(strings.TrimSuffix(ref, ".example"), "fleet-")
	}
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > c.fleet.Tenants {
		return seed{}, false
	}
	s := fleetSeed(n, c.fleet.Devices)
	return s, ref == s.id || ref == s.domain || ref == s.name
}

// A garden keeps track of the fleet tenants in memory.
type garden struct {
	mu     sync.Mutex
	frames []*tenant // every fleet tenant used so far
	next   int       // the frame to sweep next
	grown  []*tenant // those with content, the longest grown first
}

// lock locks a tenant and gives it its content.
func (c *Cloud) lock(t *tenant) {
	t.mu.Lock()
	if t.grown {
		return
	}
	if err := c.grow(t); err != nil {
		panic("graphsim: " + err.Error()) // its values are what commit wrote
	}
}

// grow gives a tenant its sample content and lays over it what was changed. The
// caller holds the tenant's lock, or has the tenant alone.
func (c *Cloud) grow(t *tenant) error {
	c.plant(t)
	if err := t.restore(); err != nil {
		return fmt.Errorf("restore tenant %s: %w", t.id, err)
	}
	t.grown = true
	if t.seed.fleet {
		c.garden.add(c, t)
	}
	return nil
}

// add notes a tenant that has grown and drops the content of the longest grown
// ones. A tenant in use is left alone.
func (g *garden) add(c *Cloud, t *tenant) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grown = append(g.grown, t)
	for range len(g.grown) - keepGrown {
		old := g.grown[0]
		g.grown = g.grown[1:]
		if !old.mu.TryLock() {
			g.grown = append(g.grown, old)
			continue
		}
		old.drop()
		old.mu.Unlock()
	}
	now := c.now()
	for range min(sweepAtOnce, len(g.frames)) {
		g.next = (g.next + 1) % len(g.frames)
		if idle := g.frames[g.next]; idle != t && idle.mu.TryLock() {
			idle.windows.sweep(now)
			maps.DeleteFunc(idle.retryAt, func(_ string, at time.Time) bool { return now.After(at) })
			idle.mu.Unlock()
		}
	}
}

// drop forgets what grow can bring back.
func (t *tenant) drop() {
	t.grown = false
	t.content = content{}
}

// remember keeps a written value for the tenant's next growth. The caller holds
// the tenant's lock.
func (c *Cloud) remember(key string, value json.RawMessage) {
	kind, rest, _ := strings.Cut(key, "/")
	tenantID, id, ok := strings.Cut(rest, "/")
	if !ok {
		return // the cloud's own
	}
	c.mu.Lock()
	t := c.tenants[tenantID]
	c.mu.Unlock()
	if t.saved == nil {
		t.saved = make(map[string]json.RawMessage)
	}
	t.saved[kind+"/"+id] = value
}

// devices returns the tenant's devices by id. They are made when first asked
// for: most of a large fleet is never asked.
func (t *tenant) devices() map[string]*device {
	if t.planted == nil {
		t.plantDevices()
		for _, key := range slices.Sorted(maps.Keys(t.saved)) {
			id, ok := strings.CutPrefix(key, "device/")
			if d := t.planted[id]; ok && d != nil {
				var state deviceState // not laid over the sample's: false and zero are left out of what is written
				if err := json.Unmarshal(t.saved[key], &state); err != nil {
					panic("graphsim: a device's state that grow has decoded: " + err.Error())
				}
				d.deviceState = state
			}
		}
	}
	return t.planted
}

// changedDevices reports whether any device is other than its sample.
func (t *tenant) changedDevices() bool {
	for key := range t.saved {
		if strings.HasPrefix(key, "device/") {
			return true
		}
	}
	return false
}
