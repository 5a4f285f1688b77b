package sqlitework

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"pinreset/shared/work"
)

// Stats is the state of the store at one moment.
type Stats struct {
	Queues  []QueueStats // by name; a queue without messages is not listed
	Commits int64        // transactions since Open, each with at most one fsync; many operations share one
}

// QueueStats counts the messages of one queue.
type QueueStats struct {
	Queue  work.Queue
	Due    int           // wait for a receiver
	Later  int           // wait for their time
	Leased int           // are held by a receiver
	Oldest time.Duration // how long the first of the due messages has been due; 0 if none is
}

// Stats counts the messages by queue. It reads the whole index of waiting messages.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	now := microseconds(s.now())
	stats := Stats{Commits: s.writer.groups.Load()}
	err := s.read(ctx, func(r *reader) error {
		return r.stats.query(ctx, func(columns []driver.Value) error {
			q := QueueStats{
				Queue: work.Queue(columns[0].(string)),
				Due:   int(columns[1].(int64)), Later: int(columns[2].(int64)), Leased: int(columns[3].(int64)),
			}
			if q.Due > 0 {
				q.Oldest = time.Duration(now-columns[4].(int64)) * time.Microsecond
			}
			stats.Queues = append(stats.Queues, q)
			return nil
		}, now)
	})
	if err != nil {
		return Stats{}, fmt.Errorf("count messages: %w", err)
	}
	slices.SortFunc(stats.Queues, func(a, b QueueStats) int { return cmp.Compare(a.Queue, b.Queue) })
	return stats, nil
}
