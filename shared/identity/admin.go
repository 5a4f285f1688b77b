package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"pinreset/events"
	"pinreset/shared/work"
)

// AdminFile is the file of the data directory that holds the local administrator's token.
const AdminFile = "admin-token"

const (
	adminRow  = "admin" // names the local administrator's token
	adminName = "local administrator"
)

type adminPointer struct {
	Token string `json:"token"`
}

// EnsureAdmin makes sure that the file [AdminFile] in dir holds a token with every permission on every tenant, and returns
// the token's id. It makes one at the first start, and again whenever the file is gone or its token is not valid; the
// earlier one is revoked then. So whoever can write to the data directory is the administrator, and deleting the file is
// how a leaked token is replaced.
func (t *Tokens) EnsureAdmin(ctx context.Context, dir string) (id string, err error) {
	id, _, err = t.fromFile(ctx, dir)
	if id != "" || err != nil {
		return id, err
	}
	return t.makeAdmin(ctx, dir, false)
}

// ShareAdmin is [Tokens.EnsureAdmin] where several processes with directories of their own share the store. The first one makes the
// token and has it in its directory; one that has no file uses the token as it stands, and makes another only when that is not valid.
// A file whose token is not valid, such as an empty one, asks for a new token, and the earlier one is revoked.
func (t *Tokens) ShareAdmin(ctx context.Context, dir string) (id string, err error) {
	for {
		id, there, err := t.fromFile(ctx, dir)
		if id != "" || err != nil {
			return id, err
		}
		id, err = t.makeAdmin(ctx, dir, !there)
		if errors.Is(err, work.ErrConflict) && ctx.Err() == nil {
			continue // another process was quicker
		}
		return id, err
	}
}

// ErrHasAdministrator means that the store has an administrator whose token is valid.
var ErrHasAdministrator = errors.New("there is an administrator already")

// FirstAdmin makes the administrator's token of a store that has none, for whom no process has a directory that lasts. keep
// gets the token before anything is stored: one that can't be kept is not made. Where there is an administrator it is
// [ErrHasAdministrator], and keep was called only if another process was quicker by a moment. What was kept is worth nothing then.
func (t *Tokens) FirstAdmin(ctx context.Context, keep func(text string) error) (Token, error) {
	u := work.NewUnit(t.store, Partition, t.now(), t.newID)
	var earlier adminPointer
	switch err := u.Get(ctx, adminRow, &earlier); {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return Token{}, fmt.Errorf("read administrator: %w", err)
	default:
		_, err := t.Holder(ctx, earlier.Token)
		if err == nil {
			return Token{}, ErrHasAdministrator
		}
		if !errors.Is(err, ErrUnauthenticated) {
			return Token{}, fmt.Errorf("read administrator's token: %w", err)
		}
	}
	token, text, err := t.create(u, Grant{Name: adminName, Tenants: []string{"*"}, Permissions: Permissions()}, events.Pinreset())
	if err != nil {
		return Token{}, fmt.Errorf("make administrator's token: %w", err)
	}
	if err := keep(text); err != nil {
		return Token{}, err
	}
	err = errors.Join(u.Put(adminRow, adminPointer{token.ID}), u.Commit(ctx))
	if errors.Is(err, work.ErrConflict) {
		return Token{}, ErrHasAdministrator
	}
	if err != nil {
		return Token{}, fmt.Errorf("store administrator's token: %w", err)
	}
	return token, nil
}

// fromFile returns the id of the token in the directory's file, "" if there is none or it is not valid, and whether there is a file.
func (t *Tokens) fromFile(ctx context.Context, dir string) (id string, there bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, AdminFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("read administrator's token: %w", err)
	}
	p, err := t.Check(ctx, strings.TrimSpace(string(text)))
	switch {
	case err == nil:
		return p.ID, true, nil
	case errors.Is(err, ErrUnauthenticated):
		return "", true, nil
	}
	return "", true, fmt.Errorf("check administrator's token: %w", err)
}

// makeAdmin makes a token and revokes the earlier one; with keep it returns the earlier one where that is valid.
func (t *Tokens) makeAdmin(ctx context.Context, dir string, keep bool) (id string, err error) {
	u := work.NewUnit(t.store, Partition, t.now(), t.newID)
	var earlier adminPointer
	switch err := u.Get(ctx, adminRow, &earlier); {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return "", fmt.Errorf("read administrator: %w", err)
	default:
		if keep {
			_, err := t.Holder(ctx, earlier.Token)
			if err == nil {
				return earlier.Token, nil
			}
			if !errors.Is(err, ErrUnauthenticated) {
				return "", fmt.Errorf("read administrator's token: %w", err)
			}
		}
		if _, err := t.Revoke(ctx, u, earlier.Token, events.Pinreset()); err != nil && !errors.Is(err, work.ErrNotFound) {
			return "", fmt.Errorf("revoke administrator's earlier token: %w", err)
		}
	}
	token, fresh, err := t.create(u, Grant{Name: adminName, Tenants: []string{"*"}, Permissions: Permissions()}, events.Pinreset())
	if err != nil {
		return "", fmt.Errorf("make administrator's token: %w", err)
	}
	if err := errors.Join(u.Put(adminRow, adminPointer{token.ID}), u.Commit(ctx)); err != nil {
		return "", fmt.Errorf("store administrator's token: %w", err)
	}
	// The row first: a crash before the file is written leaves a token that nobody has. The next start replaces it, or, where the store is
	// shared, whoever puts an empty file there.
	if err := writeFile(filepath.Join(dir, AdminFile), fresh+"\n"); err != nil {
		return "", fmt.Errorf("write administrator's token: %w", err)
	}
	return token.ID, nil
}

// writeFile puts a file of mode 0600 in place whole or not at all.
func writeFile(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".admin-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
