package sqlitework

import (
	"context"
	"database/sql/driver"
	"sync"
	"sync/atomic"
	"time"
)

// checkpointer copies what the log has to the database beside the writer. SQLite would do it within a commit, every so many
// pages, and everybody in that group would wait for the copying and the fsync of the database. What it has copied the writer's
// own checkpoint need not copy again, so that one only starts the log anew.
type checkpointer struct {
	passive *statement
	written chan struct{} // signalled after each group; holds one signal
	closing chan struct{}
	ended   chan struct{}
	// running is held during a checkpoint: SQLite refuses a second one at the same time without waiting.
	running sync.Mutex
	// restart asks the writer to copy the last pages itself, between two groups: only a log that is copied to its end starts anew,
	// and beside a busy writer its end is never reached.
	restart atomic.Bool
}

// Under load:
const (
	checkpointRest = 10 * time.Millisecond // between two checkpoints: so short that each is small
	longLog        = 8000                  // pages, 32 MB, after which the log starts anew
)

// passiveCheckpoint copies what no reader and no writer keeps it from copying; it waits for nobody.
const passiveCheckpoint = "PRAGMA wal_checkpoint(PASSIVE)"

func newCheckpointer(ctx context.Context, conn *connection) (*checkpointer, error) {
	passive, err := conn.prepare(ctx, "checkpoint", passiveCheckpoint)
	return &checkpointer{passive: passive, written: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}, err
}

// wrote tells that there is something to copy. It never waits.
func (c *checkpointer) wrote() {
	select {
	case c.written <- struct{}{}:
	default:
	}
}

func (c *checkpointer) run() {
	defer close(c.ended)
	for {
		select {
		case <-c.written:
		case <-c.closing:
			return
		}
		rest := time.NewTimer(checkpointRest)
		select {
		case <-rest.C:
		case <-c.closing:
			rest.Stop()
			return
		}
		c.running.Lock()
		if c.copy() > longLog {
			c.copy() // what came meanwhile, so that little is left to the writer
			c.restart.Store(true)
		}
		c.running.Unlock()
	}
}

// copy returns the pages in the log. An error is not one of the data: the writer's own checkpoint, when the log has grown, meets
// it and says so.
func (c *checkpointer) copy() (pages int64) {
	_ = c.passive.query(context.Background(), func(columns []driver.Value) error {
		pages, _ = columns[1].(int64)
		return nil
	})
	return pages
}

func (c *checkpointer) stop() {
	close(c.closing)
	<-c.ended
}
