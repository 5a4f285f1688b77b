package sqlitework

import (
	"context"
	"sync"
	"time"
)

// checkpointer copies what the log has to the database beside the writer. SQLite would do it within a commit, every so many
// pages, and everybody in that group would wait for the copying and the fsync of the database. What it has copied the writer's
// own checkpoint need not copy again, so that one only starts the log anew.
type checkpointer struct {
	conn    *connection
	written chan struct{} // signalled after each group; holds one signal
	closing chan struct{}
	ended   chan struct{}
	// running is held during a checkpoint: SQLite refuses a second one at the same time without waiting.
	running sync.Mutex
}

// checkpointRest is the time between two checkpoints under load: short enough that each is small.
const checkpointRest = 50 * time.Millisecond

func newCheckpointer(conn *connection) *checkpointer {
	return &checkpointer{conn: conn, written: make(chan struct{}, 1), closing: make(chan struct{}), ended: make(chan struct{})}
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
		// An error is not one of the data: the writer's own checkpoint, every so many pages, meets it and says so.
		_ = c.conn.script(context.Background(), "PRAGMA wal_checkpoint(PASSIVE)")
		c.running.Unlock()
	}
}

func (c *checkpointer) stop() {
	close(c.closing)
	<-c.ended
}
