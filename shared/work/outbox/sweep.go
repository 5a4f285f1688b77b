package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pinreset/shared/work"
)

// Sweep sends what crashes and failures left unsent and what has come within [Options].MaxDelay, in every partition, and once a day,
// whoever runs it, deletes the rows of messages that were done more than [Options].Inbox ago. It may run at any time and beside
// others: what is sent twice has the same id. Run it every minute or so, and at least every third of MaxDelay: a message that a crash
// left behind waits for it, and one that was due later than the queue can wait is late when none has run for MaxDelay.
func (s *Store) Sweep(ctx context.Context) error {
	horizon := s.horizon()
	err := s.eachPartition(ctx, func(partition string) error {
		err := s.each(ctx, toFinish(partition, horizon), func(rows []work.Row) error {
			var failed error
			for _, row := range rows {
				if err := s.finish(ctx, row, horizon); err != nil {
					failed = errors.Join(failed, fmt.Errorf("mark %s: %w", row.Row, err))
				}
			}
			return failed
		})
		if err != nil {
			return fmt.Errorf("sweep %s: %w", partition, err)
		}
		return nil
	})
	return errors.Join(err, s.forgetDaily(ctx))
}

// finish sends what the mark names that is due before the horizon, and takes it away.
func (s *Store) finish(ctx context.Context, mark work.Row, horizon int64) error {
	var entries []entry
	if err := json.Unmarshal(mark.Value, &entries); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	var parcels []Parcel
	for _, e := range entries {
		if e.waits(horizon) {
			continue
		}
		p, wanted, err := s.unsent(ctx, mark.Partition, e)
		if err != nil {
			return err
		}
		if wanted {
			parcels = append(parcels, p)
		}
	}
	if len(parcels) > 0 {
		if err := s.queue.Send(ctx, parcels); err != nil {
			return fmt.Errorf("send: %w", err)
		}
	}
	if err := s.rows.Transact(ctx, mark.Partition, clearing(mark.Row, entries, horizon)); err != nil {
		return fmt.Errorf("clear: %w", err)
	}
	return nil
}

// unsent returns the parcel that an entry asks for; wanted is false when its message has gone on since, or waits in its own partition
// from now on.
func (s *Store) unsent(ctx context.Context, partition string, e entry) (p Parcel, wanted bool, err error) {
	key := work.Key{Partition: partition, Row: e.Foreign}
	if e.Foreign == "" {
		key.Row = messageKey(e.Message)
	}
	row, err := s.rows.Get(ctx, key)
	if errors.Is(err, work.ErrNotFound) {
		return p, false, nil // done long ago, or erased; or cleared by somebody just now
	}
	if err != nil {
		return p, false, fmt.Errorf("look up row %s: %w", key.Row, err)
	}
	r, err := decodeRecord(row)
	if err != nil {
		return p, false, err
	}
	if e.Foreign != "" {
		fresh, err := s.place(ctx, r.Partition, r.Message, r, e)
		return s.parcel(r.Partition, r.Message, r), fresh && e.Due == 0, err
	}
	return s.parcel(partition, e.Message, r), r.Done == 0 && r.Attempt == e.Attempt, nil
}

// lastForgotten is the row of the register that says when old ids were last looked for.
const lastForgotten = "forgotten"

// forgetDaily forgets if nobody has for a day. Whoever writes the row does it.
func (s *Store) forgetDaily(ctx context.Context) error {
	now := s.now()
	w := work.Write{Row: lastForgotten, Value: []byte(now.Format(time.RFC3339)), If: work.IfAbsent()}
	row, err := s.rows.Get(ctx, work.Key{Partition: register, Row: lastForgotten})
	switch {
	case err == nil:
		last, err := time.Parse(time.RFC3339, string(row.Value))
		if err == nil && now.Sub(last) < 24*time.Hour {
			return nil
		}
		w.If = work.IfMatch(row.ETag)
	case !errors.Is(err, work.ErrNotFound):
		return fmt.Errorf("forget messages: %w", err)
	}
	if err := s.rows.Transact(ctx, register, []work.Write{w}); err != nil {
		if errors.Is(err, work.ErrConflict) {
			return nil
		}
		return fmt.Errorf("forget messages: %w", err)
	}
	return s.forget(ctx)
}

func (s *Store) forget(ctx context.Context) error {
	cutoff := micro(s.now().Add(-s.o.Inbox))
	return s.eachPartition(ctx, func(partition string) error {
		err := s.each(ctx, work.Query{Partition: partition, Prefix: kindMessage, Limit: 1000}, func(rows []work.Row) error {
			var old []string
			for _, row := range rows {
				r, err := decodeRecord(row)
				if err != nil {
					return err
				}
				if r.Done != 0 && r.Done < cutoff {
					old = append(old, row.Row)
				}
			}
			return s.remove(ctx, partition, old)
		})
		if err != nil {
			return fmt.Errorf("forget messages of %s: %w", partition, err)
		}
		return nil
	})
}

// Erase deletes handlers' rows, whatever their version. Rows that are not there are no error.
func (s *Store) Erase(ctx context.Context, keys ...work.Key) error {
	byPartition := map[string][]string{}
	for _, key := range keys {
		byPartition[key.Partition] = append(byPartition[key.Partition], kindRow+key.Row)
	}
	for partition, rows := range byPartition {
		slices.Sort(rows)
		if err := s.remove(ctx, partition, slices.Compact(rows)); err != nil {
			return fmt.Errorf("erase %d rows: %w", len(keys), err)
		}
	}
	return nil
}

// ErasePartition deletes every row of the partition and every message for it, and returns how many there were; messages that
// were done are not counted. Parcels that are still in a queue find no row and are completed unseen; whoever holds one gets
// work.ErrLeaseLost. The partition's name stays in the register, because another process may write to it.
func (s *Store) ErasePartition(ctx context.Context, partition string) (rows, messages int, err error) {
	err = s.each(ctx, work.Query{Partition: partition, Limit: 1000}, func(page []work.Row) error {
		var keys []string
		for _, row := range page {
			keys = append(keys, row.Row)
			switch row.Row[:1] {
			case kindRow:
				rows++
			case kindMessage:
				if r, err := decodeRecord(row); err != nil || r.Done == 0 {
					messages++
				}
			}
		}
		return s.remove(ctx, partition, keys)
	})
	if err != nil {
		return rows, messages, fmt.Errorf("erase partition: %w", err)
	}
	return rows, messages, nil
}

func (s *Store) remove(ctx context.Context, partition string, rows []string) error {
	for chunk := range slices.Chunk(rows, MaxTransaction) {
		var writes []work.Write
		for _, row := range chunk {
			writes = append(writes, work.Write{Row: row, Delete: true})
		}
		if err := s.rows.Transact(ctx, partition, writes); err != nil {
			return err
		}
	}
	return nil
}

// eachPartition calls fn for every partition of the register, and goes on after an error.
func (s *Store) eachPartition(ctx context.Context, fn func(partition string) error) error {
	return s.each(ctx, work.Query{Partition: register, Prefix: kindPartition, Limit: 1000}, func(rows []work.Row) error {
		var failed error
		for _, row := range rows {
			failed = errors.Join(failed, fn(strings.TrimPrefix(row.Row, kindPartition)))
		}
		return failed
	})
}

// each calls fn for every page of the list, and goes on after an error of it.
func (s *Store) each(ctx context.Context, q work.Query, fn func([]work.Row) error) error {
	var failed error
	for {
		page, err := s.rows.List(ctx, q)
		if err != nil {
			return errors.Join(failed, err)
		}
		failed = errors.Join(failed, fn(page.Rows))
		if page.Next == "" || ctx.Err() != nil {
			return errors.Join(failed, ctx.Err())
		}
		q.Page = page.Next
	}
}
