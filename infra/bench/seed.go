package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"pinreset/events"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// seeding writes a data directory as pinreset leaves it: the tenants' register, resets whose codes are sealed, and their
// pending expiries.
type seeding struct {
	work, keys *sqlitework.Store
	key        *secret.LocalKey
	next       int
	made       func(reset string, expires time.Time) // told of each reset; may be nil
}

func openSeeding(data string) (_ *seeding, err error) {
	s := &seeding{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.work, err = sqlitework.Open(filepath.Join(data, "work"), sqlitework.Options{}); err != nil {
		return nil, err
	}
	if s.keys, err = sqlitework.Open(filepath.Join(data, "keys"), sqlitework.Options{}); err != nil {
		return nil, err
	}
	s.key, err = secret.OpenLocalKey(filepath.Join(data, "keys", "root-key"))
	return s, err
}

func (s *seeding) close() error {
	var errs []error
	for _, store := range []*sqlitework.Store{s.work, s.keys} {
		if store != nil {
			errs = append(errs, store.Close())
		}
	}
	return errors.Join(errs...)
}

func (s *seeding) newID() string {
	s.next++
	return fmt.Sprintf("01J%023d", s.next)
}

func (s *seeding) tenants(ctx context.Context, list []graphsim.TenantInfo) error {
	u := work.NewUnit(s.work, tenant.Partition, time.Now(), s.newID)
	for _, t := range list {
		if _, err := tenant.Add(u, t.ID, t.Name, events.Pinreset()); err != nil {
			return err
		}
	}
	return u.Commit(ctx)
}

// ring gathers data keys, to be committed many at a time.
type ring struct{ batch *work.Batch }

func (ring) Get(context.Context, work.Key) (work.Row, error) { return work.Row{}, work.ErrNotFound }
func (ring) Erase(context.Context, ...work.Key) error        { return errors.ErrUnsupported }
func (ring) List(context.Context, work.Query) (work.Page, error) {
	return work.Page{}, errors.ErrUnsupported
}
func (r ring) Commit(_ context.Context, b work.Batch) error {
	r.batch.Partition = b.Partition
	r.batch.Writes = append(r.batch.Writes, b.Writes...)
	return nil
}

// resets writes n resets that have ended with a sealed code which expires at the time, and its expiry.
func (s *seeding) resets(ctx context.Context, list []graphsim.TenantInfo, n int, expires func(i int) time.Time) error {
	const together = 40 // two operations each
	commits := newCommits(ctx)
	for i := 0; i < n; {
		id := list[i/together%len(list)].ID
		u := work.NewUnit(s.work, id, time.Now(), s.newID)
		keys := work.Batch{}
		for range min(together, n-i) {
			at := expires(i)
			made := at.Add(-secret.MaxLife)
			// The vault seals for seven days from now at the most; for a code of the past its now is in the past.
			vault := secret.NewVault(ring{&keys}, s.key, func() time.Time { return made })
			r := passcode.Reset{ID: s.newID(), DeviceID: fmt.Sprintf("00000000-0000-4000-8000-%012d", i), State: passcode.Issued,
				Reason: "user forgot it and stands at the desk", By: events.Pinreset(), RequestedAt: made, EndedAt: made, IssuedAt: made, ExpiresAt: at,
				DeviceName: fmt.Sprintf("pixel-%04d", i), Platform: "AndroidEnterprise", OSVersion: "14.0", User: "sam@fleet.example"}
			env, err := vault.Seal(ctx, s.newID(), secret.Binding{Tenant: id, Device: r.DeviceID, Request: r.ID}, secret.NewText("12345678"), at)
			if err != nil {
				return err
			}
			r.Code = &env
			if err := passcode.Write(u, r); err != nil {
				return err
			}
			if err := s.expiry(ctx, u, r.ID, r.DeviceID, at); err != nil {
				return err
			}
			if s.made != nil {
				s.made(r.ID, at)
			}
			i++
		}
		commits.add(s.keys, keys)
		commits.add(s.work, u.Batch())
	}
	return commits.wait()
}

func (s *seeding) expiry(ctx context.Context, u *work.Unit, reset, device string, at time.Time) error {
	_, err := u.Send(ctx, passcode.Queue.Bulk(), at, events.PasscodeExpiryDue{RequestID: reset, DeviceID: device})
	return err
}

// expiries writes n expiries alone, which fall due at the time.
func (s *seeding) expiries(ctx context.Context, list []graphsim.TenantInfo, n int, at time.Time) error {
	const together = 90
	commits := newCommits(ctx)
	for i := 0; i < n; {
		u := work.NewUnit(s.work, list[i/together%len(list)].ID, time.Now(), s.newID)
		for range min(together, n-i) {
			if err := s.expiry(ctx, u, s.newID(), fmt.Sprintf("00000000-0000-4000-8000-%012d", i), at); err != nil {
				return err
			}
			i++
		}
		commits.add(s.work, u.Batch())
	}
	return commits.wait()
}

// commits commits batches side by side, so that they share transactions.
type commits struct {
	ctx  context.Context
	free chan struct{}
	all  sync.WaitGroup
	mu   sync.Mutex
	err  error
}

func newCommits(ctx context.Context) *commits {
	return &commits{ctx: ctx, free: make(chan struct{}, 16)}
}

func (c *commits) add(s *sqlitework.Store, b work.Batch) {
	c.free <- struct{}{}
	c.all.Go(func() {
		defer func() { <-c.free }()
		if err := s.Commit(c.ctx, b); err != nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.err = err
		}
	})
}

func (c *commits) wait() error {
	c.all.Wait()
	return c.err
}
