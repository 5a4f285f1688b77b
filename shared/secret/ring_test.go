package secret_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"pinreset/shared/secret"
	"pinreset/shared/secret/ringtest"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

func sqlite(t *testing.T) *sqlitework.Store {
	t.Helper()
	s, err := sqlitework.Open(filepath.Join(t.TempDir(), "store"), sqlitework.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestRings(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		ringtest.Run(t, func(t *testing.T) ringtest.Backend {
			ring := sqlite(t)
			return ringtest.Backend{Ring: ring, Rows: sqlite(t), Again: func(*testing.T) ringtest.Ring { return ring }}
		})
	})
	t.Run("store", func(t *testing.T) {
		t.Parallel()
		ringtest.Run(t, func(t *testing.T) ringtest.Backend {
			store := sqlite(t)
			again := func(*testing.T) ringtest.Ring { return secret.NewRing(plainStore{store}) }
			return ringtest.Backend{Ring: again(t), Rows: sqlite(t), Again: again}
		})
	})
}

// plainStore hides what SQLite can do besides.
type plainStore struct{ work.Store }

// dying is a store that dies at its n-th commit.
type dying struct {
	work.Store
	left int
}

var errDied = errors.New("the process died here")

func (s *dying) Commit(ctx context.Context, b work.Batch) error {
	if s.left--; s.left < 0 {
		return errDied
	}
	return s.Store.Commit(ctx, b)
}

// TestRingEraseEndsAnywhere ends an erasure of a tenant before each of its commits. The next one finishes it.
func TestRingEraseEndsAnywhere(t *testing.T) {
	t.Parallel()
	const keys = 2*work.MaxOperations + 1
	for at := range 4 {
		store := sqlite(t)
		for from := range keys {
			w := work.Write{Row: fmt.Sprintf("key|%04d", from), Value: []byte("{}")}
			if err := store.Commit(t.Context(), work.Batch{Partition: contoso, Writes: []work.Write{w}}); err != nil {
				t.Fatal(err)
			}
		}
		first, _, err := secret.NewRing(&dying{store, at}).ErasePartition(t.Context(), contoso)
		if wantDeath := at < 3; errors.Is(err, errDied) != wantDeath || first != min(at*work.MaxOperations, keys) {
			t.Errorf("ended before commit %d: %d rows, %v", at, first, err)
		}
		second, _, err := secret.NewRing(store).ErasePartition(t.Context(), contoso)
		if err != nil || first+second != keys {
			t.Errorf("ended before commit %d: %d and then %d rows of %d, %v", at, first, second, keys, err)
		}
	}
}
