// Package ringtest states as a test suite what package secret needs of a key ring. Every ring passes it whole.
package ringtest

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pinreset/events"
	"pinreset/shared/audit"
	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// Ring is what a key ring can do.
type Ring interface {
	work.Store
	Erase(context.Context, ...work.Key) error
	ErasePartition(ctx context.Context, partition string) (rows, messages int, err error)
}

// Backend is one empty ring, and beside it an empty store of rows for audit entries, which must be another one.
type Backend struct {
	Ring
	Rows work.Store
	// Again gives the same keys to another process.
	Again func(*testing.T) Ring
}

const (
	contoso  = "0b7e2d4c-6a51-4f3e-9d28-5c1a7f90e364"
	fabrikam = "7c1d9e02-33b4-4a6f-8f15-0d2e6b8a4c97"
	device   = "5f0c3a91-27de-4b68-8e14-d3b96a7c0f52"
)

// trial is one test with its ring.
type trial struct {
	*testing.T
	Backend
	vault  *secret.Vault
	kek    *secret.LocalKey
	now    time.Time
	serial int
}

// Run runs the suite. open returns a backend that shares no data with another; it is called from parallel subtests.
func Run(t *testing.T, open func(*testing.T) Backend) {
	for _, s := range sentences {
		t.Run(s.says, func(t *testing.T) {
			t.Parallel()
			tr := &trial{T: t, Backend: open(t), now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)}
			var err error
			if tr.kek, err = secret.OpenLocalKey(filepath.Join(t.TempDir(), "root-key")); err != nil {
				t.Fatal(err)
			}
			tr.vault = tr.over(tr.Ring)
			s.test(tr)
		})
	}
}

func (t *trial) over(r Ring) *secret.Vault {
	return secret.NewVault(r, t.kek, func() time.Time { return t.now })
}

func (t *trial) seal(tenant, id string) secret.Envelope {
	t.Helper()
	b := secret.Binding{Tenant: tenant, Device: device, Request: "req-" + id}
	env, err := t.vault.Seal(t.Context(), id, b, secret.NewText("code "+id), t.now.Add(secret.MaxLife))
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// opens reports how the vault opens the envelope: nil, or its error.
func (t *trial) opens(v *secret.Vault, env secret.Envelope) error {
	t.Helper()
	t.serial++
	unit := work.NewUnit(t.Rows, env.Binding.Tenant, t.now, func() string { return fmt.Sprintf("01JD000000000000000000%04d", t.serial) })
	receipt, err := audit.Commit(t.Context(), unit, audit.Entry{Actor: events.Pinreset(), Action: audit.PasscodeRevealed}, env.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := v.Open(t.Context(), env, env.Binding, receipt)
	if err == nil && text.Expose() != "code "+env.ID {
		t.Errorf("%s opens to %q", env.ID, text.Expose())
	}
	return err
}

func (t *trial) want(v *secret.Vault, env secret.Envelope, want error) {
	t.Helper()
	if err := t.opens(v, env); !errors.Is(err, want) {
		t.Errorf("open %s: %v, want %v", env.ID, err, want)
	}
}

func always(context.Context, string, string) (bool, error) { return true, nil }
