package sqlitework

import (
	"bytes"
	"sync"

	"pinreset/shared/work"
)

// cacheBytes bounds what the cache holds. A row in work is read several times within seconds, and hardly ever after.
const cacheBytes = 2 << 20

// cache keeps rows that were read or written lately, as they are committed. It can, because the directory is locked: every write of
// a row goes through this store's writer.
//
// A row is never older than what SQLite would answer. The writer takes a group's rows out before the commit, so that they are read
// from SQLite until it is known what became of them, and who has read from SQLite keeps nothing that a group may have changed
// meanwhile.
type cache struct {
	mu         sync.Mutex
	young, old map[work.Key]entry // old is dropped when young is full, and begins again as what was young
	bytes      int                // of young
	turn       uint64             // counts the beginnings and ends of commits
	committing map[work.Key]bool  // nil between commits
	all        bool               // the commit may change any row
}

type entry struct {
	version int64
	value   []byte // nobody changes it
}

func newCache() *cache { return &cache{young: map[work.Key]entry{}} }

// get returns the row, or the turn that keep wants.
func (c *cache) get(key work.Key) (e entry, turn uint64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok = c.young[key]; ok {
		return e, 0, true
	}
	if e, ok = c.old[key]; ok {
		c.put(key, e)
		return e, 0, true
	}
	return entry{}, c.turn, false
}

// keep adds a row that was read from SQLite since get told the turn.
func (c *cache) keep(key work.Key, e entry, turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if turn == c.turn && !c.all && !c.committing[key] {
		c.put(key, e)
	}
}

func (c *cache) put(key work.Key, e entry) {
	size := len(key.Partition) + len(key.Row) + len(e.value) + 128 // about what the maps take for it
	if c.bytes+size > cacheBytes/2 {
		c.old, c.young, c.bytes = c.young, map[work.Key]entry{}, 0
	}
	c.young[key] = e
	c.bytes += size
}

// changes are a group's: each row's new state, nil for one that is deleted.
type changes struct {
	rows map[work.Key]*entry
	all  bool // and others that are not listed
}

func (c *changes) put(key work.Key, version int64, value []byte) {
	c.set(key, &entry{version, bytes.Clone(value)})
}

func (c *changes) set(key work.Key, e *entry) {
	if c.rows == nil {
		c.rows = map[work.Key]*entry{}
	}
	c.rows[key] = e
}

// begin takes out what the group changes.
func (c *cache) begin(g *changes) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	if c.all = g.all; c.all {
		c.young, c.old, c.bytes = map[work.Key]entry{}, nil, 0
	}
	c.committing = make(map[work.Key]bool, len(g.rows))
	for key := range g.rows {
		c.committing[key] = true
		delete(c.young, key)
		delete(c.old, key)
	}
}

// end puts in what was committed.
func (c *cache) end(g *changes, committed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	c.committing, c.all = nil, false
	if !committed {
		return
	}
	for key, e := range g.rows {
		if e != nil {
			c.put(key, *e)
		}
	}
}
