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
	path := filepath.Join(dir, AdminFile)
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", fmt.Errorf("read administrator's token: %w", err)
	default:
		p, err := t.Check(ctx, strings.TrimSpace(string(text)))
		if err == nil {
			return p.ID, nil
		}
		if !errors.Is(err, ErrUnauthenticated) {
			return "", fmt.Errorf("check administrator's token: %w", err)
		}
	}
	u := work.NewUnit(t.store, Partition, t.now(), t.newID)
	var earlier adminPointer
	switch err := u.Get(ctx, adminRow, &earlier); {
	case errors.Is(err, work.ErrNotFound):
	case err != nil:
		return "", fmt.Errorf("read administrator: %w", err)
	default:
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
	// The row first: a crash before the file is written leaves a token that nobody has, and the next start replaces it.
	if err := writeFile(path, fresh+"\n"); err != nil {
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
