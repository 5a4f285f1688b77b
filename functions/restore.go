package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"pinreset/events"
	"pinreset/shared/approval"
	"pinreset/shared/audit"
	"pinreset/shared/devicekey"
	"pinreset/shared/dispatch"
	"pinreset/shared/grant"
	"pinreset/shared/identity"
	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// Names in the data directory.
const (
	workDir     = "work"
	keysDir     = "keys"
	rootKeyFile = "root-key" // in keysDir
)

// errNotEmpty: a restored store would be put beside, or over, another one.
var errNotEmpty = errors.New("the data directory is not empty")

// restored counts what restoring a backup changed, because it can't know what happened since.
type restored struct {
	Tenants   int `json:"tenants"`
	Expired   int `json:"expired"`   // codes whose key is gone, or whose time is over
	Readable  int `json:"readable"`  // codes that still have their key
	Cancelled int `json:"cancelled"` // resets, bulk resets and approvals that had not ended: they may have been carried out, or used, since
	Discarded int `json:"discarded"` // messages that would have gone on with them
	Revoked   int `json:"revoked"`   // tokens: one may have been revoked since
	Sessions  int `json:"sessions"`  // of browsers, which were closed
	Grants    int `json:"grants"`    // of people, which were withdrawn: one may have been revoked since
	Devices   int `json:"devices"`   // keys of devices, which were revoked for the same reason
}

// restore makes the data directory from a backup. Nothing of the store is there before all of it is right: a crash leaves a
// directory that is taken away by the next attempt.
func restore(ctx context.Context, file, data string, now func() time.Time) (r restored, err error) {
	if err := checkEmpty(data); err != nil {
		return r, err
	}
	half := filepath.Join(data, restoringDir)
	if err := os.RemoveAll(half); err != nil {
		return r, fmt.Errorf("clear what an earlier attempt left: %w", err)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return r, fmt.Errorf("make data directory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(half))
		}
	}()
	if err := sqlitework.Restore(ctx, file, half); err != nil {
		return r, err
	}
	if r, err = settle(ctx, half, data, now); err != nil {
		return r, err
	}
	if err := os.Rename(half, filepath.Join(data, workDir)); err != nil {
		return r, fmt.Errorf("put the store in place: %w", err)
	}
	return r, nil
}

const restoringDir = "work.restoring"

// checkEmpty allows what a restored store can be used with: the keys, and the administrator's token, which it will replace.
func checkEmpty(data string) error {
	entries, err := os.ReadDir(data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into data directory: %w", err)
	}
	for _, e := range entries {
		if !slices.Contains([]string{keysDir, identity.AdminFile, restoringDir}, e.Name()) {
			return fmt.Errorf("%w: %s has %s", errNotEmpty, data, e.Name())
		}
	}
	return nil
}

// canUnwrap reports whether there is what the keys in the ring are wrapped by: the file, or keys that Key Vault wraps.
func canUnwrap(ctx context.Context, data string, ring *sqlitework.Store) (bool, error) {
	if _, err := os.Stat(filepath.Join(data, keysDir, rootKeyFile)); err == nil {
		return true, nil
	}
	return secret.Chained(ctx, ring)
}

// settle puts right in the store of dir what can't be trusted after a time that it knows nothing of.
func settle(ctx context.Context, dir, data string, now func() time.Time) (r restored, err error) {
	store, err := sqlitework.Open(dir, sqlitework.Options{Now: now})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	has := func(context.Context, string, string) (bool, error) { return false, nil }
	if _, err := os.Stat(filepath.Join(data, keysDir)); err == nil {
		ring, err := sqlitework.Open(filepath.Join(data, keysDir), sqlitework.Options{Now: now})
		if err != nil {
			return r, err
		}
		defer ring.Close()
		wrapped, err := canUnwrap(ctx, data, ring)
		if err != nil {
			return r, err
		}
		if wrapped {
			has = secret.NewVault(ring, nil, now).Has
		}
	}

	for _, queue := range []work.Queue{passcode.Queue, passcode.Queue.Bulk()} {
		n, err := store.Discard(ctx, queue)
		if err != nil {
			return r, err
		}
		r.Discarded += n
	}
	s := settling{store: store, has: has, now: now, newID: newIDs(), found: &r}
	for page := ""; ; {
		tenants, next, err := tenant.List(ctx, store, 0, page)
		if err != nil {
			return r, err
		}
		for _, t := range tenants {
			r.Tenants++
			if err := errors.Join(s.bulks(ctx, t.ID), s.approvals(ctx, t.ID), s.resets(ctx, t.ID), s.deviceKeys(ctx, t.ID)); err != nil {
				return r, err
			}
		}
		if page = next; page == "" {
			break
		}
	}
	if err := s.tokens(ctx); err != nil {
		return r, err
	}
	if r.Sessions, err = identity.NewSessions(store, now).EndAll(ctx); err != nil {
		return r, err
	}
	if r.Grants, err = grant.NewBook(store, now).Close(ctx); err != nil {
		return r, err
	}
	u := s.unit(dispatch.SystemPartition)
	err = errors.Join(audit.Append(u, audit.Entry{Actor: events.Pinreset(), Action: audit.StoreRestored, Change: map[string]string{
		"expired": fmt.Sprint(r.Expired), "cancelled": fmt.Sprint(r.Cancelled), "revoked": fmt.Sprint(r.Revoked), "devices": fmt.Sprint(r.Devices),
		"sessions": fmt.Sprint(r.Sessions), "grants": fmt.Sprint(r.Grants),
	}}), u.Commit(ctx))
	if err != nil {
		return r, fmt.Errorf("record the restoration: %w", err)
	}
	return r, nil
}

// settling goes through a restored store.
type settling struct {
	store *sqlitework.Store
	has   func(ctx context.Context, tenant, id string) (bool, error)
	now   func() time.Time
	newID func() string
	found *restored
}

func (s settling) unit(partition string) *work.Unit {
	return work.NewUnit(s.store, partition, s.now(), s.newID)
}

func (s settling) bulks(ctx context.Context, tenantID string) error {
	for page := ""; ; {
		bulks, next, err := passcode.ListBulks(ctx, s.store, tenantID, 0, page)
		if err != nil {
			return err
		}
		for _, b := range bulks {
			if !b.Open() {
				continue
			}
			u := s.unit(tenantID)
			if _, err := passcode.CancelBulk(ctx, u, b.ID, restoredReason, events.Pinreset()); err != nil {
				return err
			}
			if err := u.Commit(ctx); err != nil {
				return fmt.Errorf("give bulk reset %s up: %w", b.ID, err)
			}
			s.found.Cancelled++
		}
		if page = next; page == "" {
			return nil
		}
	}
}

func (s settling) approvals(ctx context.Context, tenantID string) error {
	for page := ""; ; {
		all, next, err := approval.List(ctx, s.store, tenantID, 0, page)
		if err != nil {
			return err
		}
		for _, a := range all {
			u := s.unit(tenantID)
			open, err := approval.Void(ctx, u, a.ID, restoredReason, events.Pinreset())
			if err != nil {
				return err
			}
			if !open {
				continue
			}
			if err := u.Commit(ctx); err != nil {
				return fmt.Errorf("end approval %s: %w", a.ID, err)
			}
			s.found.Cancelled++
		}
		if page = next; page == "" {
			return nil
		}
	}
}

func (s settling) resets(ctx context.Context, tenantID string) error {
	for page := ""; ; {
		resets, next, err := passcode.List(ctx, s.store, tenantID, 0, page)
		if err != nil {
			return err
		}
		for _, r := range resets {
			if err := s.reset(ctx, tenantID, r); err != nil {
				return fmt.Errorf("put reset %s right: %w", r.ID, err)
			}
		}
		if page = next; page == "" {
			return nil
		}
	}
}

const restoredReason = "restored from a backup: what happened after it was made is not known"

func (s settling) reset(ctx context.Context, tenantID string, r passcode.Reset) error {
	u := s.unit(tenantID)
	switch {
	case r.Open():
		s.found.Cancelled++
		if _, err := passcode.Cancel(ctx, u, r.ID, restoredReason, events.Pinreset()); err != nil {
			return err
		}
	case r.Code == nil:
		return nil
	default:
		there, err := s.has(ctx, tenantID, r.Code.ID)
		if err != nil {
			return err
		}
		if there && s.now().Before(r.ExpiresAt) {
			s.found.Readable++
			return nil
		}
		s.found.Expired++
		if r, err = passcode.Read(ctx, u, r.ID); err != nil {
			return err
		}
		r.State, r.Code = passcode.Expired, nil
		err = errors.Join(passcode.Write(u, r), audit.Append(u, audit.Entry{
			Actor: events.Pinreset(), Action: audit.PasscodeExpired, DeviceID: r.DeviceID, RequestID: r.ID, Reason: restoredReason,
		}))
		if err != nil {
			return err
		}
	}
	return u.Commit(ctx)
}

func (s settling) deviceKeys(ctx context.Context, tenantID string) error {
	for page := ""; ; {
		keys, next, err := devicekey.ListAll(ctx, s.store, tenantID, page)
		if err != nil {
			return err
		}
		for _, k := range keys {
			u := s.unit(tenantID)
			if _, err := devicekey.Revoke(ctx, u, k.DeviceID, k.ID, restoredReason, events.Pinreset()); err != nil {
				return err
			}
			if err := u.Commit(ctx); err != nil {
				return fmt.Errorf("revoke device key %s: %w", k.ID, err)
			}
			s.found.Devices++
		}
		if page = next; page == "" {
			return nil
		}
	}
}

func (s settling) tokens(ctx context.Context) error {
	tokens := identity.NewTokens(s.store, s.now, s.newID)
	for page := ""; ; {
		list, next, err := tokens.List(ctx, 0, page)
		if err != nil {
			return err
		}
		for _, t := range list {
			if !t.RevokedAt.IsZero() {
				continue
			}
			u := s.unit(identity.Partition)
			if _, err := tokens.Revoke(ctx, u, t.ID, events.Pinreset()); err != nil {
				return err
			}
			if err := u.Commit(ctx); err != nil {
				return fmt.Errorf("revoke token %s: %w", t.ID, err)
			}
			s.found.Revoked++
		}
		if page = next; page == "" {
			return nil
		}
	}
}
