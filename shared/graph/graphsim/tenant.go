package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// ErrUnknown is wrapped by the errors for a tenant, device, app or user that
// does not exist.
var ErrUnknown = errors.New("unknown")

// ErrInvalid is wrapped by the errors for a knob value that makes no sense.
var ErrInvalid = errors.New("invalid")

// replicas is how many directory replicas answer reads, in turn.
const replicas = 3

// A tenant is one customer's directory and fleet.
type tenant struct {
	seed
	epoch   time.Time // when the state began; sample times are relative to it
	windows windows

	mu      sync.Mutex
	grown   bool                       // content is there
	saved   map[string]json.RawMessage // what differs from the sample, by kind and id
	knobs   knobs
	faults  []*Fault
	counts  map[Family]FamilyCount
	retryAt map[string]time.Time // by app, family and kind: when a throttled caller may come back
	reads   uint64               // picks the next replica
	content
}

// content is what grows from the seed. Users are sample data and never change;
// the rest does.
type content struct {
	users       []user
	groups      []*group
	principals  map[string]*servicePrincipal // by object id, deleted ones included
	grants      map[string]*permissionGrant  // by id
	assignments map[string]*roleAssignment   // by id
	planted     map[string]*device           // by id; nil until asked for, see devices
	policies    map[string]*policy           // by id, deleted ones included
	evaluation  evaluation
	seq         int64                 // of the last change that delta reports
	audited     int64                 // audit records written
	records     map[int64]auditRecord // the last keepRecords, by number modulo that

	subscriptions map[string]*subscription // by id, deleted ones included
}

// knobs are the tenant's own settings; they survive a restart.
type knobs struct {
	ReplicationLag   *time.Duration `json:"replicationLag,omitempty"` // nil: the cloud's
	ApprovalRequired bool           `json:"approvalRequired,omitempty"`
	ActionHistory    bool           `json:"actionHistory,omitempty"`
	Slow             time.Duration  `json:"slow,omitempty"`
	SlowAnswer       time.Duration  `json:"slowAnswer,omitempty"`
}

type user struct{ id, upn, name string }

// A change is one key's new value and what it does in memory once it is on disk.
type change struct {
	key   string
	value any
	apply func()
}

// commit writes all changes at once and then applies them. The caller holds the
// tenant's lock.
func (c *Cloud) commit(changes ...change) error {
	entries := make([]entry, len(changes))
	for i, ch := range changes {
		value, err := json.Marshal(ch.value)
		if err != nil {
			return fmt.Errorf("encode %s: %w", ch.key, err)
		}
		entries[i] = entry{ch.key, value}
	}
	if err := c.journal.append(entries); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	for _, e := range entries {
		c.remember(e.Key, e.Value)
	}
	for _, ch := range changes {
		ch.apply()
	}
	return nil
}

// lookup finds a tenant by id, domain or display name, without case, and makes
// it on first use.
func (c *Cloud) lookup(ref string) (*tenant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, ok := c.seedOf(strings.ToLower(ref))
	if !ok {
		return nil, fmt.Errorf("tenant %q: %w", ref, ErrUnknown)
	}
	if t := c.tenants[from.id]; t != nil {
		return t, nil
	}
	t := &tenant{seed: from, saved: c.saved[from.id], counts: make(map[Family]FamilyCount), retryAt: make(map[string]time.Time)}
	if !from.fleet {
		if err := c.grow(t); err != nil {
			return nil, err
		}
	}
	if text, ok := t.saved["knobs/"]; ok {
		if err := json.Unmarshal(text, &t.knobs); err != nil {
			return nil, fmt.Errorf("restore knobs of tenant %s: %w", from.id, err)
		}
	}
	delete(c.saved, from.id)
	c.tenants[from.id] = t
	if from.fleet {
		c.garden.mu.Lock()
		c.garden.frames = append(c.garden.frames, t)
		c.garden.mu.Unlock()
	}
	return t, nil
}

// restore lays the saved values over the sample data.
func (t *tenant) restore() error {
	saved := t.saved
	for _, key := range slices.Sorted(maps.Keys(saved)) {
		kind, id, _ := strings.Cut(key, "/")
		var err error
		switch kind {
		case "sp":
			sp := new(servicePrincipal)
			err = json.Unmarshal(saved[key], sp)
			t.principals[id] = sp
			t.seq = max(t.seq, sp.Seq)
		case "grant":
			g := new(permissionGrant)
			err = json.Unmarshal(saved[key], g)
			t.grants[id] = g
			t.seq = max(t.seq, g.Seq)
		case "role":
			a := new(roleAssignment)
			err = json.Unmarshal(saved[key], a)
			t.assignments[id] = a
		case "group":
			var g group
			err = json.Unmarshal(saved[key], &g)
			t.putGroup(g).apply()
		case "policy":
			p := new(policy)
			err = json.Unmarshal(saved[key], p)
			t.policies[id] = p
		case "subscription":
			one := new(subscription)
			err = json.Unmarshal(saved[key], one)
			t.subscriptions[id] = one
		case "evaluation":
			err = json.Unmarshal(saved[key], &t.evaluation)
		case "audit":
			var r auditRecord
			err = json.Unmarshal(saved[key], &r)
			t.records[r.Seq%keepRecords] = r
			t.audited = max(t.audited, r.Seq)
		case "device": // laid over it by devices
			err = json.Unmarshal(saved[key], new(deviceState))
		}
		if err != nil {
			return fmt.Errorf("decode %s: %w", key, err)
		}
	}
	return nil
}

// lag is the tenant's replication lag.
func (c *Cloud) lag(t *tenant) time.Duration {
	if t.knobs.ReplicationLag != nil {
		return *t.knobs.ReplicationLag
	}
	return c.timing.ReplicationLag
}

// A view is one replica of the tenant's directory at one moment. Replica 0 sees
// every change at once, the last one after the whole lag, so that repeated reads
// of something new flap until the lag is over.
type view struct {
	now   time.Time
	delay time.Duration
}

func (c *Cloud) nextView(t *tenant) view {
	replica := t.reads % replicas
	t.reads++
	return view{c.now(), c.lag(t) * time.Duration(replica) / (replicas - 1)}
}

// primary sees every change at once; writes are checked against it.
func (c *Cloud) primary() view { return view{now: c.now()} }

// sees reports whether something created and perhaps deleted at those times is
// there for this replica.
func (v view) sees(created, deleted time.Time) bool {
	return v.past(created) && (deleted.IsZero() || !v.past(deleted))
}

func (v view) past(at time.Time) bool { return !v.now.Before(at.Add(v.delay)) }

// user finds a user by id or user principal name.
func (t *tenant) user(ref string) (user, bool) {
	i := slices.IndexFunc(t.users, func(u user) bool { return u.id == ref || strings.EqualFold(u.upn, ref) })
	if i < 0 {
		return user{}, false
	}
	return t.users[i], true
}

// device finds a device by id or name.
func (t *tenant) device(ref string) (*device, error) {
	d := t.devices()[ref]
	if d == nil {
		for _, other := range t.devices() {
			if strings.EqualFold(other.name, ref) {
				d = other
			}
		}
	}
	if d == nil || d.Retired {
		return nil, fmt.Errorf("device %q in tenant %s: %w", ref, t.domain, ErrUnknown)
	}
	return d, nil
}
