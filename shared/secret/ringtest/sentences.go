package ringtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/shared/secret"
	"pinreset/shared/work"
)

// sentence is one statement of the contract with its test.
type sentence struct {
	says string
	test func(*trial)
}

// many is more keys than one commit takes.
const many = 2*work.MaxOperations + 11

var sentences = []sentence{
	{"what one process sealed another opens, and what one destroyed is gone for the other", func(t *trial) {
		env, kept := t.seal(contoso, "s-1"), t.seal(contoso, "s-2")
		other := t.over(t.Again(t.T))
		t.want(other, env, nil)
		if err := other.Destroy(t.Context(), contoso, "s-1"); err != nil {
			t.Fatal(err)
		}
		t.want(t.vault, env, secret.ErrGone)
		t.want(t.vault, kept, nil)
	}},
	{"destroying twice, or what never was, is no error", func(t *trial) {
		env := t.seal(contoso, "s-1")
		for range 2 {
			for _, id := range []string{"s-1", "never"} {
				if err := t.vault.Destroy(t.Context(), contoso, id); err != nil {
					t.Error(err)
				}
			}
		}
		t.want(t.vault, env, secret.ErrGone)
	}},
	{"more keys than one commit takes are erased together, over tenants, and others stay", func(t *trial) {
		var keys []work.Key
		var gone []secret.Envelope
		for i := range many {
			tenant := []string{contoso, fabrikam}[i%2]
			id := fmt.Sprintf("s-%03d", i)
			gone = append(gone, t.seal(tenant, id))
			keys = append(keys, work.Key{Partition: tenant, Row: "key|" + id})
		}
		kept := t.seal(contoso, "kept")
		if err := t.Erase(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		if err := t.Erase(t.Context()); err != nil {
			t.Errorf("nothing to erase: %v", err)
		}
		t.want(t.vault, gone[0], secret.ErrGone)
		t.want(t.vault, gone[many-1], secret.ErrGone)
		for i, key := range keys {
			if _, err := t.Get(t.Context(), key); !errors.Is(err, work.ErrNotFound) {
				t.Fatalf("key %d is there: %v", i, err)
			}
		}
		t.want(t.vault, kept, nil)
	}},
	{"a tenant's keys are erased whole, and no other's", func(t *trial) {
		for i := range many {
			t.seal(contoso, fmt.Sprintf("s-%03d", i))
		}
		kept := t.seal(fabrikam, "s-000")
		rows, messages, err := t.ErasePartition(t.Context(), contoso)
		if err != nil || rows != many || messages != 0 {
			t.Fatalf("erased %d rows and %d messages, want %d and none: %v", rows, messages, many, err)
		}
		if p, err := t.List(t.Context(), work.Query{Partition: contoso}); err != nil || len(p.Rows) != 0 {
			t.Errorf("%d rows are left: %v", len(p.Rows), err)
		}
		if rows, _, err := t.ErasePartition(t.Context(), contoso); err != nil || rows != 0 {
			t.Errorf("erased %d rows more: %v", rows, err)
		}
		t.want(t.vault, kept, nil)
	}},
	{"the sweep destroys what has expired, over pages, and keeps the rest", func(t *trial) {
		var old secret.Envelope
		for i := range many {
			old = t.seal(contoso, fmt.Sprintf("s-%03d", i))
		}
		t.now = old.ExpiresAt.Add(-1)
		young := t.seal(contoso, "young")
		t.want(t.vault, old, nil)
		t.now = old.ExpiresAt
		t.want(t.vault, old, secret.ErrGone) // whether or not its key is there
		destroyed := 0
		for page := ""; ; {
			n, next, err := t.vault.Sweep(t.Context(), contoso, page, always)
			if err != nil {
				t.Fatal(err)
			}
			destroyed += n
			if page = next; page == "" {
				break
			}
		}
		if destroyed != many {
			t.Errorf("%d keys destroyed, want %d", destroyed, many)
		}
		t.want(t.vault, young, nil)
	}},
	{"a crash between the key and its envelope leaves a key that the sweep destroys", func(t *trial) {
		t.seal(contoso, "s-1") // its envelope was never stored
		nobody := func(context.Context, string, string) (bool, error) { return false, nil }
		if n, _, err := t.vault.Sweep(t.Context(), contoso, "", nobody); err != nil || n != 0 {
			t.Errorf("a key that is young may still get its envelope; %d destroyed: %v", n, err)
		}
		t.now = t.now.Add(secret.MaxLife / 2)
		if n, _, err := t.vault.Sweep(t.Context(), contoso, "", nobody); err != nil || n != 1 {
			t.Errorf("%d destroyed, want 1: %v", n, err)
		}
	}},
	{"a seal that failed at the ring leaves no envelope, and one that was cut short after it can be repeated", func(t *trial) {
		torn := &torn{Ring: t.Ring}
		vault := t.over(torn)
		b := secret.Binding{Tenant: contoso, Device: device, Request: "req-s-1"}
		for _, after := range []bool{false, true} {
			torn.commits, torn.after = 1, after
			if _, err := vault.Seal(t.Context(), "s-1", b, secret.NewText("lost"), t.now.Add(secret.MaxLife)); !errors.Is(err, errTorn) {
				t.Errorf("sealed over a ring that failed: %v", err)
			}
		}
		env := t.seal(contoso, "s-1")
		t.want(t.vault, env, nil)
	}},
	{"an erasure that was cut short between two commits is finished by the next", func(t *trial) {
		var keys []work.Key
		for i := range many {
			id := fmt.Sprintf("s-%03d", i)
			t.seal(contoso, id)
			keys = append(keys, work.Key{Partition: contoso, Row: "key|" + id})
		}
		if err := t.Erase(t.Context(), keys[:work.MaxOperations]...); err != nil { // as far as it got
			t.Fatal(err)
		}
		if err := t.Erase(t.Context(), keys...); err != nil {
			t.Fatal(err)
		}
		if p, err := t.List(t.Context(), work.Query{Partition: contoso}); err != nil || len(p.Rows) != 0 {
			t.Errorf("%d rows are left: %v", len(p.Rows), err)
		}
	}},
	{"processes that share a chain use one key an hour, and it goes when its codes have", func(t *trial) {
		r := &rootInMemory{}
		now := func() time.Time { return t.now }
		const processes = 4
		wrapped := make([][]byte, processes)
		chains := make([]*secret.Chain, processes)
		var all sync.WaitGroup
		for i := range processes {
			chains[i] = secret.NewChain(t.Again(t.T), r, now)
			all.Go(func() {
				var err error
				if wrapped[i], err = chains[i].Wrap(t.Context(), []byte("a data key"), []byte("bound")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for _, c := range chains {
			for _, w := range wrapped {
				if key, err := c.Unwrap(t.Context(), w, []byte("bound")); err != nil || string(key) != "a data key" {
					t.Errorf("unwrapped %q: %v", key, err)
				}
			}
		}
		t.now = t.now.Add(secret.MaxLife + time.Hour - 1)
		if done, err := chains[0].Tidy(t.Context()); err != nil || done.Destroyed != 0 {
			t.Errorf("destroyed %d before their time: %v", done.Destroyed, err)
		}
		t.now = t.now.Add(1)
		if done, err := chains[0].Tidy(t.Context()); err != nil || done.Destroyed != 1 {
			t.Errorf("destroyed %d, want the one of the hour: %v", done.Destroyed, err)
		}
		for i, c := range chains {
			if _, err := c.Unwrap(t.Context(), wrapped[i], []byte("bound")); !errors.Is(err, secret.ErrGone) {
				t.Errorf("process %d opens what was destroyed: %v", i, err)
			}
		}
	}},
}

var errTorn = errors.New("the process died here")

// torn is a ring whose next commits fail, before or after they did their work.
type torn struct {
	Ring
	commits int
	after   bool
}

func (r *torn) Commit(ctx context.Context, b work.Batch) error {
	if r.commits == 0 {
		return r.Ring.Commit(ctx, b)
	}
	r.commits--
	if r.after {
		if err := r.Ring.Commit(ctx, b); err != nil {
			return err
		}
	}
	return errTorn
}

// rootInMemory is a root key that turns every byte round.
type rootInMemory struct{ wraps atomic.Int64 }

func (r *rootInMemory) Wrap(_ context.Context, key []byte) ([]byte, string, error) {
	r.wraps.Add(1)
	return turned(key), "v1", nil
}

func (r *rootInMemory) Unwrap(_ context.Context, wrapped []byte, _ string) ([]byte, error) {
	return turned(wrapped), nil
}

func (r *rootInMemory) Newest(context.Context) (string, error) { return "v1", nil }

func turned(b []byte) []byte {
	out := make([]byte, len(b))
	for i := range b {
		out[i] = ^b[i]
	}
	return out
}
