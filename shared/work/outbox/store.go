package outbox

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"pinreset/shared/work"
)

// Steps of a commit, in their order. Each names what is about to happen.
const (
	StepRows     = "rows"     // the transaction that decides; nothing is stored yet
	StepMessages = "messages" // the rows are stored, no message is sent
	StepSettle   = "settle"   // the messages are sent, the delivery is still held
	StepClear    = "clear"    // the delivery is settled, the mark is still there
)

// Options are a store's settings. NewID is required.
type Options struct {
	// NewID gives ids that never repeat, in any process: letters and digits.
	NewID func() string
	// Now tells the time; time.Now if nil.
	Now func() time.Time
	// Inbox is how long the id of a done message is remembered; 8 days if zero, because a webhook is retried for up to
	// three days and a bit with the same id (Standard Webhooks' retry schedule), and a queue may keep a parcel for seven.
	Inbox time.Duration
	// MaxDelay is how far ahead the queue can be asked to deliver; zero is as far as you like (Service Bus). What is due later stays
	// in its row, and [Store.Sweep] sends it.
	MaxDelay time.Duration
	// Logger hears of steps that a sweep will have to finish; slog.Default() if nil.
	Logger *slog.Logger
	// Before is called ahead of each step of each commit that has the step, on the caller's goroutine. An error of it ends the commit
	// there, as the death of the process would, and is returned. For tests; nil otherwise.
	Before func(step string) error
}

// Store is a work.Store and a work.Source over a rows driver and a queue driver. All methods are safe for concurrent use.
type Store struct {
	rows       Rows
	queue      Queue
	o          Options
	partitions sync.Map // the names that are known to be in the register
}

var (
	_ work.Store  = (*Store)(nil)
	_ work.Source = (*Store)(nil)
)

// New returns a store over the drivers. It panics when one of them or NewID is missing.
func New(rows Rows, queue Queue, o Options) *Store {
	if rows == nil || queue == nil || o.NewID == nil {
		panic("outbox: rows, queue and NewID are required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Inbox == 0 {
		o.Inbox = 8 * 24 * time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &Store{rows: rows, queue: queue, o: o}
}

func (s *Store) now() time.Time { return s.o.Now().UTC() }

// Kinds of rows, told apart by the first byte of their keys, so that no name that a handler gives meets one of ours.
const (
	kindMark    = "k" // which messages of a commit are still to be sent
	kindForeign = "f" // a message for another partition, until it is there
	kindMessage = "m"
	kindRow     = "r" // a handler's
)

// register is the partition whose rows name the partitions that a sweep looks into.
const register = "~register"

const kindPartition = "p"

// Get returns the row or work.ErrNotFound.
func (s *Store) Get(ctx context.Context, key work.Key) (work.Row, error) {
	got, err := s.rows.Get(ctx, work.Key{Partition: key.Partition, Row: kindRow + key.Row})
	if err != nil {
		return work.Row{}, fmt.Errorf("read row %s: %w", key.Row, err)
	}
	got.Key = key
	return got, nil
}

// List returns rows in key order.
func (s *Store) List(ctx context.Context, q work.Query) (work.Page, error) {
	asked := q.Prefix
	q.Prefix = kindRow + q.Prefix
	if q.Before != "" {
		q.Before = kindRow + q.Before
	}
	page, err := s.rows.List(ctx, q)
	if err != nil {
		return work.Page{}, fmt.Errorf("list rows %s: %w", asked, err)
	}
	for i := range page.Rows {
		page.Rows[i].Row = strings.TrimPrefix(page.Rows[i].Row, kindRow)
	}
	return page, nil
}

// Commit applies the batch whole or not at all. When it returns nil the rows are stored, and the messages are sent or will be
// by the next sweep.
func (s *Store) Commit(ctx context.Context, batch work.Batch) error {
	if err := batch.Validate(); err != nil {
		return err
	}
	if len(batch.Writes) == 0 && len(batch.Messages) == 0 {
		return ctx.Err()
	}
	c := s.begin(batch, nil)
	return c.run(ctx)
}

// Settle commits the batch and the outcome of the delivery together; see Commit for the messages. It returns
// work.ErrLeaseLost when the delivery is no longer held, with nothing applied.
func (s *Store) Settle(ctx context.Context, d work.Delivery, batch work.Batch, outcome work.Outcome) error {
	if outcome.Kind != work.Done && outcome.Kind != work.Retry && outcome.Kind != work.Postpone {
		return fmt.Errorf("settle delivery %s: outcome %d does not exist", d.ID, outcome.Kind)
	}
	if err := batch.Validate(); err != nil {
		return err
	}
	if len(batch.Writes)+len(batch.Messages) > 0 && batch.Partition != d.Partition {
		return fmt.Errorf("settle delivery %s of %s with a batch of %s: %w", d.ID, d.Partition, batch.Partition, work.ErrBadKey)
	}
	batch.Partition = d.Partition
	held, ok := parseLease(d.Lease)
	if !ok {
		return fmt.Errorf("settle delivery %s: %w", d.ID, work.ErrLeaseLost)
	}
	if now := s.now(); now.Add(margin).After(d.LeasedUntil) {
		_, err := s.queue.Renew(ctx, d.Queue, held.token)
		if errors.Is(err, work.ErrLeaseLost) || err != nil && !now.Before(d.LeasedUntil) {
			return fmt.Errorf("settle delivery %s: renew: %w", d.ID, err)
		}
	}
	c := s.begin(batch, &d)
	c.settle(held, outcome)
	if err := c.run(ctx); err != nil {
		return fmt.Errorf("settle delivery %s: %w", d.ID, err)
	}
	return nil
}

// margin is how long before a lock ends it is no longer relied on: more than the clocks of two services differ, and than a
// transaction takes.
const margin = 15 * time.Second

// Renew extends the lease and returns its new end, or work.ErrLeaseLost.
func (s *Store) Renew(ctx context.Context, d work.Delivery) (time.Time, error) {
	held, ok := parseLease(d.Lease)
	if !ok {
		return time.Time{}, fmt.Errorf("renew delivery %s: %w", d.ID, work.ErrLeaseLost)
	}
	until, err := s.queue.Renew(ctx, d.Queue, held.token)
	if err != nil {
		return time.Time{}, fmt.Errorf("renew delivery %s: %w", d.ID, err)
	}
	return until.UTC(), nil
}

// enrol makes sure that sweeps look into the partition, before anything is left there that they may have to finish.
func (s *Store) enrol(ctx context.Context, partition string) error {
	if _, known := s.partitions.Load(partition); known {
		return nil
	}
	write := work.Write{Row: kindPartition + partition, If: work.IfAbsent()}
	if err := s.rows.Transact(ctx, register, []work.Write{write}); err != nil && !errors.Is(err, work.ErrConflict) {
		return fmt.Errorf("enrol partition %s: %w", partition, err)
	}
	s.partitions.Store(partition, true)
	return nil
}
