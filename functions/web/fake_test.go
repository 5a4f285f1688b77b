package web_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"pinreset/shared/graph"
	"pinreset/shared/policy"
	"pinreset/shared/work"
)

// fleet is Graph with a few devices; err makes every call fail, and boom makes it panic.
type fleet struct {
	mu      sync.Mutex
	devices map[string][]graph.ManagedDevice
	err     error
	boom    any
	page    int             // devices of a page
	asked   []string        // places of the pages that were read
	seen    map[string]seen // by the id that is asked for

	roles    map[string][]string // of users
	rolesErr error

	policies map[string][]policy.Found
	missing  []string // applications that the directory does not have
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fleet) explode(value any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.boom = value
}

func (f *fleet) of(tenant string) ([]graph.ManagedDevice, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.boom != nil {
		panic(f.boom)
	}
	return f.devices[tenant], f.err
}

// DevicePage gives pages of f.page devices, all of them where that is 0, and keeps which places it was asked for.
func (f *fleet) DevicePage(_ context.Context, tenant string, filter graph.DeviceFilter, after string) ([]graph.ManagedDevice, string, error) {
	all, err := f.of(tenant)
	if err != nil {
		return nil, "", err
	}
	var found []graph.ManagedDevice
	for _, d := range all {
		is := func(want, have string) bool { return want == "" || strings.EqualFold(want, have) }
		if is(filter.Name, d.DeviceName) && is(filter.User, d.UserPrincipalName) && is(filter.Serial, d.SerialNumber) {
			found = append(found, d)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, after)
	start, _ := strconv.Atoi(strings.TrimPrefix(after, "/devices?from="))
	if f.page == 0 || start+f.page >= len(found) {
		return found[start:], "", nil
	}
	return found[start : start+f.page], fmt.Sprintf("/devices?from=%d", start+f.page), nil
}

func (f *fleet) ManagedDevice(_ context.Context, tenant, id string) (graph.ManagedDevice, error) {
	devices, err := f.of(tenant)
	if err != nil {
		return graph.ManagedDevice{}, err
	}
	for _, d := range devices {
		if d.ID == id {
			return d, nil
		}
	}
	return graph.ManagedDevice{}, fmt.Errorf("read device %s: %w", id, graph.ErrNotFound)
}

// seen is the device of the directory and its groups; a device that is not there is in none.
type seen struct {
	edition   graph.DeviceEdition
	directory graph.DirectoryDevice
	groups    []string // of the device
	user      []string // of its user
	err       error    // of all reads but that of the managed device
}

func (f *fleet) sees(id string, s seen) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen == nil {
		f.seen = map[string]seen{}
	}
	f.seen[id] = s
}

func (f *fleet) sight(id string) (seen, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s, ok := f.seen[id]
	if !ok {
		return s, fmt.Errorf("read %s: %w", id, graph.ErrNotFound)
	}
	return s, s.err
}

func (f *fleet) DeviceEdition(_ context.Context, _, id string) (graph.DeviceEdition, error) {
	s, err := f.sight(id)
	return s.edition, err
}

func (f *fleet) DirectoryDevice(_ context.Context, _, id string) (graph.DirectoryDevice, error) {
	s, err := f.sight(id)
	return s.directory, err
}

func (f *fleet) DeviceGroups(_ context.Context, _, id string) ([]string, error) {
	s, err := f.sight(id)
	return s.groups, err
}

func (f *fleet) UserRoles(_ context.Context, _, user string) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.roles[user], f.rolesErr
}

// holds sets which directory roles a user holds, or why that can't be read.
func (f *fleet) holds(err error, user string, roles ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.roles, f.rolesErr = map[string][]string{user: roles}, err
}

func (f *fleet) UserGroups(_ context.Context, _, id string) ([]string, error) {
	s, err := f.sight(id)
	return s.user, err
}

func (f *fleet) Policies(_ context.Context, tenant string) ([]policy.Found, error) {
	_, err := f.of(tenant)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.policies[tenant], err
}

func (f *fleet) ServicePrincipal(_ context.Context, tenant, app string) (graph.ServicePrincipal, error) {
	_, err := f.of(tenant)
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.Contains(f.missing, app) {
		return graph.ServicePrincipal{}, fmt.Errorf("read %s: %w", app, graph.ErrNotFound)
	}
	return graph.ServicePrincipal{ID: app, AppID: app, AccountEnabled: true}, err
}

func (f *fleet) GroupKind(_ context.Context, _, id string) (policy.GroupKind, error) {
	if id == visitors {
		return policy.DeviceGroup, nil
	}
	return policy.UserGroup, nil
}

// lack takes applications from every tenant's directory.
func (f *fleet) lack(apps ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.missing = apps
}

// have sets what policies a tenant has.
func (f *fleet) have(tenant string, found ...policy.Found) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.policies = map[string][]policy.Found{tenant: found}
}

// brokenStore fails every commit while it is broken, and keeps the last one that held.
type brokenStore struct {
	work.Store
	broken atomic.Bool
	reads  atomic.Int64
	last   atomic.Pointer[work.Batch]
}

func (b *brokenStore) Get(ctx context.Context, key work.Key) (work.Row, error) {
	b.reads.Add(1)
	return b.Store.Get(ctx, key)
}

func (b *brokenStore) Commit(ctx context.Context, batch work.Batch) error {
	if b.broken.Load() {
		return fmt.Errorf("commit: disk full")
	}
	err := b.Store.Commit(ctx, batch)
	if err == nil {
		b.last.Store(&batch)
	}
	return err
}

// buffer is a log that requests may write to at once.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
