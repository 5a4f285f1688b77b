package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"pinreset/shared/passcode"
	"pinreset/shared/secret"
	"pinreset/shared/work/sqlitework"
)

// settled is how long a process is left alone before its memory is read.
const settled = 10 * time.Second

// seeded makes a cloud and a data directory with its tenants, which fill then adds to.
func (b *bench) seeded(ctx context.Context, name string, fill func(*seeding, *cloud) error) (data string, c *cloud, err error) {
	dir := filepath.Join(b.dir, name)
	data = filepath.Join(dir, "data")
	if c, err = openCloud(ctx, filepath.Join(dir, "sim")); err != nil {
		return "", nil, err
	}
	s, err := openSeeding(data)
	if err != nil {
		return "", nil, errors.Join(err, c.Close())
	}
	err = s.tenants(ctx, c.Tenants)
	if err == nil && fill != nil {
		err = fill(s, c)
	}
	if err = errors.Join(err, s.close()); err != nil {
		return "", nil, errors.Join(err, c.Close())
	}
	return data, c, nil
}

// start measures how soon the program is ready with 100,000 rows, and what it holds when nothing happens.
func (b *bench) start(ctx context.Context) (err error) {
	rows := b.scaled(100_000)
	data, c, err := b.seeded(ctx, "start", func(s *seeding, c *cloud) error {
		return s.resets(ctx, c.Tenants, rows, func(int) time.Time { return time.Now().Add(secret.MaxLife) })
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var took []time.Duration
	var idle int64
	for turn := range 5 {
		err := b.running(ctx, data, c, nil, func(p *process) error {
			took = append(took, p.ready)
			if turn < 4 {
				return nil
			}
			if err := sleep(ctx, settled); err != nil {
				return err
			}
			var err error
			idle, err = p.resident()
			return err
		})
		if err != nil {
			return err
		}
	}
	worst := quantile(took, 1)
	b.table.atMost("start → ready", worst, 200*time.Millisecond, fmt.Sprintf("worst of %d starts, %d rows and as many pending expiries", len(took), rows))
	b.table.within("resident memory, idle", idle, 40*megabyte, fmt.Sprintf("%s after the start, the same data", settled))
	return nil
}

// accept measures how long an operator's click takes to be on stable storage.
func (b *bench) accept(ctx context.Context) (err error) {
	data, c, err := b.seeded(ctx, "accept", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	const perSecond = 200
	return b.running(ctx, data, c, nil, func(p *process) error {
		if err := p.warm(ctx, c); err != nil {
			return err
		}
		targets, err := c.targets(b.scaled(4_000), 1)
		if err != nil {
			return err
		}
		used, started := p.cpu(), time.Now()
		done, err := p.pace(ctx, targets, perSecond)
		if err != nil {
			return err
		}
		busy := float64(p.cpu()-used) / float64(time.Since(started))
		list := took(done)
		b.table.atMost("accepted (fsynced), p99", quantile(list, 0.99), 5*time.Millisecond,
			fmt.Sprintf("%d resets at %d/s in open loop over HTTP, and carried out meanwhile; median %s, worst %s; %.0f%% of a core", len(list), perSecond,
				ms(quantile(list, 0.5)), ms(quantile(list, 1)), 100*busy))
		until, err := reached(ctx, c, done)
		if err != nil {
			return err
		}
		b.table.add(row{figure: "accepted → POST at Graph, p99", value: ms(quantile(until, 0.99)), note: fmt.Sprintf("the same run, no bulk work; median %s", ms(quantile(until, 0.5)))})
		return nil
	})
}

// bulk measures how long bulk work keeps an operator waiting: 100,000 codes that have all expired, each to be destroyed.
func (b *bench) bulk(ctx context.Context) (err error) {
	waiting := b.scaled(100_000)
	data, c, err := b.seeded(ctx, "bulk", func(s *seeding, c *cloud) error {
		past := time.Now().Add(-time.Minute)
		return s.resets(ctx, c.Tenants, waiting, func(int) time.Time { return past })
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	const perSecond = 20
	var until, list []time.Duration
	err = b.running(ctx, data, c, nil, func(p *process) error {
		if err := p.warm(ctx, c); err != nil {
			return err
		}
		targets, err := c.targets(b.scaled(1_000), 1)
		if err != nil {
			return err
		}
		done, err := p.pace(ctx, targets, perSecond)
		if err != nil {
			return err
		}
		list = took(done)
		until, err = reached(ctx, c, done)
		return err
	})
	if err != nil {
		return err
	}
	left, err := bulkLeft(ctx, data)
	if err != nil {
		return err
	}
	note := fmt.Sprintf("%d resets at %d/s; bulk messages at the start %d, still waiting at the end %d; median %s, worst %s; accepted p99 %s", len(until), perSecond,
		waiting, left, ms(quantile(until, 0.5)), ms(quantile(until, 1)), ms(quantile(list, 0.99)))
	b.table.atMost("accepted → POST at Graph, p99, bulk waiting", quantile(until, 0.99), 50*time.Millisecond, note)
	return nil
}

// bulkLeft counts the bulk messages that wait in a data directory that no process uses.
func bulkLeft(ctx context.Context, data string) (n int, err error) {
	s, err := sqlitework.Open(filepath.Join(data, "work"), sqlitework.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	stats, err := s.Stats(ctx)
	for _, q := range stats.Queues {
		if q.Queue == passcode.Queue.Bulk() {
			n = q.Due + q.Later + q.Leased
		}
	}
	return n, err
}

// expiry measures what a million codes that wait for their expiry hold of memory, and how late some of them expire.
func (b *bench) expiry(ctx context.Context) (err error) {
	pending, sample := b.scaled(1_000_000), 300
	idle := func(name string, n int) (int64, []time.Duration, error) {
		// Fired one every 50 ms, from well after the start on.
		f := &fired{due: map[string]time.Time{}}
		var first time.Time
		data, c, err := b.seeded(ctx, name, func(s *seeding, c *cloud) error {
			if n == 0 {
				return nil
			}
			if err := s.expiries(ctx, c.Tenants, n, time.Now().Add(6*24*time.Hour)); err != nil {
				return err
			}
			first = time.Now().Add(settled + 5*time.Second)
			s.made = func(reset string, due time.Time) { f.due[reset] = due }
			return s.resets(ctx, c.Tenants, sample, func(i int) time.Time { return first.Add(time.Duration(i) * 50 * time.Millisecond) })
		})
		if err != nil {
			return 0, nil, err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		var memory int64
		err = b.running(ctx, data, c, f.line, func(p *process) error {
			if err := sleep(ctx, settled); err != nil {
				return err
			}
			var err error
			if memory, err = p.resident(); err != nil || n == 0 {
				return err
			}
			return f.wait(ctx, sample, first.Add(time.Duration(sample)*50*time.Millisecond+20*time.Second))
		})
		return memory, f.late, err
	}
	none, _, err := idle("expiry-none", 0)
	if err != nil {
		return err
	}
	all, late, err := idle("expiry-all", pending)
	if err != nil {
		return err
	}
	b.table.within(fmt.Sprintf("resident memory more with %d pending expiries", pending), max(0, all-none), 64*megabyte, fmt.Sprintf("%s with none, %s with them", mb(none), mb(all)))
	b.table.atMost("expiry, later than due", quantile(late, 1), time.Second, fmt.Sprintf("worst of %d codes, to the end of their destruction; median %s", len(late), ms(quantile(late, 0.5))))
	return nil
}

// fired notes how late codes expired, from the program's log.
type fired struct {
	due  map[string]time.Time // by the reset's id
	mu   sync.Mutex
	late []time.Duration
}

func (f *fired) line(text []byte) {
	var l struct {
		Time    time.Time `json:"time"`
		Message string    `json:"msg"`
		Kind    string    `json:"kind"`
		Verdict string    `json:"verdict"`
		Request string    `json:"request"`
	}
	if json.Unmarshal(text, &l) != nil || l.Message != "run" || l.Kind != "passcode.expirydue.v1" || l.Verdict != "done" {
		return
	}
	due, known := f.due[l.Request]
	if !known {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.late = append(f.late, l.Time.Sub(due))
}

func (f *fired) wait(ctx context.Context, n int, deadline time.Time) error {
	for {
		f.mu.Lock()
		have := len(f.late)
		f.mu.Unlock()
		if have >= n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d codes expired in time", have, n)
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
