package secret

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"pinreset/shared/work"
)

const (
	// epoch is how long a key-encryption key wraps new data keys.
	epoch = time.Hour
	// keptOpen is how long an unwrapped key-encryption key is kept in memory: so long, a process goes on after the key service was
	// told to refuse it.
	keptOpen = 10 * time.Minute
	// keptMost bounds how many are kept. Codes that are looked at are mostly of the last hours.
	keptMost = 64

	chainPartition = "key-encryption"
	chainPrefix    = "kek|"
	standing       = "standing"
	epochFormat    = "2006010215" // the hour that an epoch began in
)

// root wraps key-encryption keys in a key service, such as Key Vault. Its own keys never leave it and have versions: the newest
// wraps, and each unwraps what it wrapped.
type root interface {
	Wrap(ctx context.Context, key []byte) (wrapped []byte, version string, err error)
	Unwrap(ctx context.Context, wrapped []byte, version string) (key []byte, err error)
	Newest(ctx context.Context) (version string, err error)
}

// Chain keeps key-encryption keys in the key ring, each wrapped by a root key that is elsewhere. Each hour has a key of its own for
// the data keys of codes. It is destroyed when the last code of its hour must have expired: a data key that should be gone, and for
// whatever reason is not, opens nothing. Processes share the keys: the first to need one makes it.
//
// What it can't do: reach a copy of the ring that somebody made before. Such a copy opens with the root key, as long as the version
// that wrapped its keys is enabled. Rotating the root, [Chain.Tidy] and disabling the old version make it useless.
//
// A Chain is safe for concurrent use.
type Chain struct {
	ring ring
	root root
	now  func() time.Time

	mu   sync.Mutex
	open map[string]opened
}

type opened struct {
	key   *LocalKey
	until time.Time
}

// chainRow is a key-encryption key in the ring. The root's version is kept beside it, to tell which key opens it.
type chainRow struct {
	Wrapped   []byte    `json:"wrapped"`
	Version   string    `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
}

// NewChain returns the chain of keys in the ring under the root.
func NewChain(keys ring, root root, now func() time.Time) *Chain {
	return &Chain{ring: keys, root: root, now: now, open: map[string]opened{}}
}

// Chained reports whether the ring has keys of a chain.
func Chained(ctx context.Context, keys ring) (bool, error) {
	p, err := keys.List(ctx, work.Query{Partition: chainPartition, Prefix: chainPrefix, Limit: 1})
	if err != nil {
		return false, fmt.Errorf("list key-encryption keys: %w", err)
	}
	return len(p.Rows) > 0, nil
}

// Wrap encrypts key under the key of the hour; bound must be given to Unwrap again.
func (c *Chain) Wrap(ctx context.Context, key, bound []byte) ([]byte, error) {
	return c.wrap(ctx, c.now().UTC().Format(epochFormat), key, bound)
}

// Unwrap is the inverse of Wrap. It is ErrGone where the key-encryption key has been destroyed.
func (c *Chain) Unwrap(ctx context.Context, wrapped, bound []byte) ([]byte, error) {
	if len(wrapped) == 0 || len(wrapped) < 1+int(wrapped[0]) {
		return nil, ErrBinding
	}
	id, rest := string(wrapped[1:1+wrapped[0]]), wrapped[1+wrapped[0]:]
	if _, err := time.Parse(epochFormat, id); err != nil && id != standing {
		return nil, ErrBinding
	}
	kek, err := c.key(ctx, id, false)
	if errors.Is(err, work.ErrNotFound) {
		return nil, fmt.Errorf("key-encryption key %s: %w", id, ErrGone)
	}
	if err != nil {
		return nil, err
	}
	return kek.Unwrap(ctx, rest, bound)
}

func (c *Chain) wrap(ctx context.Context, id string, key, bound []byte) ([]byte, error) {
	kek, err := c.key(ctx, id, true)
	if err != nil {
		return nil, err
	}
	sealed, err := kek.Wrap(ctx, key, bound)
	if err != nil {
		return nil, err
	}
	return append(append([]byte{byte(len(id))}, id...), sealed...), nil
}

// Standing returns the key-encryption key that is never destroyed, for what must outlive codes: the keys of devices.
func (c *Chain) Standing() Standing { return Standing{c} }

// Standing is a key-encryption key without an end. It is made when it is first used.
type Standing struct{ chain *Chain }

// Wrap encrypts key; bound must be given to Unwrap again.
func (s Standing) Wrap(ctx context.Context, key, bound []byte) ([]byte, error) {
	return s.chain.wrap(ctx, standing, key, bound)
}

// Unwrap is the inverse of Wrap.
func (s Standing) Unwrap(ctx context.Context, wrapped, bound []byte) ([]byte, error) {
	return s.chain.Unwrap(ctx, wrapped, bound)
}

// Derive returns a key for another purpose, which tells nothing about this one. The same purpose gives the same key.
func (s Standing) Derive(ctx context.Context, purpose string) ([]byte, error) {
	kek, err := s.chain.key(ctx, standing, true)
	if err != nil {
		return nil, err
	}
	return kek.Derive(purpose)
}

// key finds a key-encryption key in memory or in the ring, or makes it.
func (c *Chain) key(ctx context.Context, id string, mayMake bool) (*LocalKey, error) {
	now := c.now()
	c.mu.Lock()
	kept, ok := c.open[id]
	c.mu.Unlock()
	if ok && now.Before(kept.until) {
		return kept.key, nil
	}
	row, err := c.ring.Get(ctx, work.Key{Partition: chainPartition, Row: chainPrefix + id})
	switch {
	case errors.Is(err, work.ErrNotFound) && mayMake:
		return c.make(ctx, id)
	case err != nil:
		return nil, fmt.Errorf("read key-encryption key %s: %w", id, err)
	}
	return c.unwrap(ctx, id, row)
}

func (c *Chain) unwrap(ctx context.Context, id string, row work.Row) (*LocalKey, error) {
	var stored chainRow
	if err := json.Unmarshal(row.Value, &stored); err != nil {
		return nil, fmt.Errorf("decode key-encryption key %s: %w", id, err)
	}
	key, err := c.root.Unwrap(ctx, stored.Wrapped, stored.Version)
	if err != nil {
		return nil, fmt.Errorf("unwrap key-encryption key %s: %w", id, err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("key-encryption key %s has %d bytes, want 32", id, len(key))
	}
	return c.keep(id, key), nil
}

// make makes a key-encryption key. Where another process was first, its key is the one: a key is used only once it is in the ring.
func (c *Chain) make(ctx context.Context, id string) (*LocalKey, error) {
	key := newKey()
	wrapped, version, err := c.root.Wrap(ctx, key)
	if err != nil {
		return nil, fmt.Errorf("wrap key-encryption key %s: %w", id, err)
	}
	err = c.put(ctx, id, chainRow{Wrapped: wrapped, Version: version, CreatedAt: c.now().UTC()}, work.IfAbsent())
	if errors.Is(err, work.ErrConflict) {
		row, err := c.ring.Get(ctx, work.Key{Partition: chainPartition, Row: chainPrefix + id})
		if err != nil {
			return nil, fmt.Errorf("read key-encryption key %s: %w", id, err)
		}
		return c.unwrap(ctx, id, row)
	}
	if err != nil {
		return nil, fmt.Errorf("store key-encryption key %s: %w", id, err)
	}
	return c.keep(id, key), nil
}

func (c *Chain) put(ctx context.Context, id string, row chainRow, condition work.Condition) error {
	value, err := json.Marshal(row)
	if err != nil {
		return err
	}
	return c.ring.Commit(ctx, work.Batch{Partition: chainPartition, Writes: []work.Write{{Row: chainPrefix + id, Value: value, If: condition}}})
}

func (c *Chain) keep(id string, key []byte) *LocalKey {
	now := c.now()
	kek := &LocalKey{key: key}
	c.mu.Lock()
	defer c.mu.Unlock()
	oldest := ""
	for other, kept := range c.open {
		if !now.Before(kept.until) {
			delete(c.open, other)
		} else if oldest == "" || kept.until.Before(c.open[oldest].until) {
			oldest = other
		}
	}
	if len(c.open) >= keptMost {
		delete(c.open, oldest)
	}
	c.open[id] = opened{key: kek, until: now.Add(keptOpen)}
	return kek
}

// Tidied is what Tidy did.
type Tidied struct {
	Destroyed int // keys of hours whose codes have all expired
	Rewrapped int // keys that an older version of the root had wrapped
}

// Tidy destroys the keys of hours whose codes have all expired, and wraps those that an older version of the root wrapped again,
// under its newest. After it, the older versions can be disabled. It may be repeated, by several processes at once.
func (c *Chain) Tidy(ctx context.Context) (done Tidied, err error) {
	newest, err := c.root.Newest(ctx)
	if err != nil {
		return done, fmt.Errorf("look for the newest root key: %w", err)
	}
	for page := ""; ; {
		p, err := c.ring.List(ctx, work.Query{Partition: chainPartition, Prefix: chainPrefix, Page: page})
		if err != nil {
			return done, fmt.Errorf("list key-encryption keys: %w", err)
		}
		var doomed []work.Key
		for _, row := range p.Rows {
			id := strings.TrimPrefix(row.Row, chainPrefix)
			if begun, err := time.Parse(epochFormat, id); err == nil && !c.now().Before(begun.Add(epoch+MaxLife)) {
				doomed = append(doomed, row.Key)
				c.forget(id)
				continue
			}
			again, err := c.rewrap(ctx, id, row, newest)
			if err != nil {
				return done, err
			}
			if again {
				done.Rewrapped++
			}
		}
		if err := c.ring.Erase(ctx, doomed...); err != nil {
			return done, fmt.Errorf("destroy %d key-encryption keys: %w", len(doomed), err)
		}
		done.Destroyed += len(doomed)
		if page = p.Next; page == "" {
			return done, nil
		}
	}
}

func (c *Chain) rewrap(ctx context.Context, id string, row work.Row, newest string) (bool, error) {
	var stored chainRow
	if err := json.Unmarshal(row.Value, &stored); err != nil {
		return false, fmt.Errorf("decode key-encryption key %s: %w", id, err)
	}
	if stored.Version == newest {
		return false, nil
	}
	key, err := c.root.Unwrap(ctx, stored.Wrapped, stored.Version)
	if err != nil {
		return false, fmt.Errorf("unwrap key-encryption key %s: %w", id, err)
	}
	defer clear(key)
	if stored.Wrapped, stored.Version, err = c.root.Wrap(ctx, key); err != nil {
		return false, fmt.Errorf("wrap key-encryption key %s: %w", id, err)
	}
	err = c.put(ctx, id, stored, work.IfMatch(row.ETag))
	if errors.Is(err, work.ErrConflict) {
		return false, nil // another process has done it
	}
	if err != nil {
		return false, fmt.Errorf("store key-encryption key %s: %w", id, err)
	}
	return true, nil
}

func (c *Chain) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, id)
}
