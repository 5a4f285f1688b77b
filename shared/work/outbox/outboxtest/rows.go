package outboxtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// Rows is an outbox.Rows in memory. The zero value is empty and ready.
type Rows struct {
	mu         sync.Mutex
	serial     int
	partitions map[string]*partition
	tokens     map[string]work.Query // by page token: Page is the row to go on behind
}

type partition struct {
	keys []string // sorted
	rows map[string]work.Row
}

var _ outbox.Rows = (*Rows)(nil)

// Get implements outbox.Rows.
func (r *Rows) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if err := ctx.Err(); err != nil {
		return work.Row{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	row, ok := r.row(key.Partition, key.Row)
	if !ok {
		return work.Row{}, work.ErrNotFound
	}
	row.Value = slices.Clone(row.Value)
	return row, nil
}

func (r *Rows) row(name, key string) (work.Row, bool) {
	p := r.partitions[name]
	if p == nil {
		return work.Row{}, false
	}
	row, ok := p.rows[key]
	return row, ok
}

// List implements outbox.Rows.
func (r *Rows) List(ctx context.Context, q work.Query) (work.Page, error) {
	if err := ctx.Err(); err != nil {
		return work.Page{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	after := ""
	if q.Page != "" {
		issued, ok := r.tokens[q.Page]
		if !ok || issued.Partition != q.Partition || issued.Prefix != q.Prefix {
			return work.Page{}, work.ErrBadPage
		}
		after = issued.Page
	}
	p := r.partitions[q.Partition]
	if p == nil {
		return work.Page{}, nil
	}
	limit := min(cmp.Or(q.Limit, 100), 1000)
	at, found := slices.BinarySearch(p.keys, max(after, q.Prefix))
	if found && p.keys[at] == after {
		at++
	}
	var page work.Page
	for ; at < len(p.keys) && strings.HasPrefix(p.keys[at], q.Prefix) && (q.Before == "" || p.keys[at] < q.Before); at++ {
		if len(page.Rows) == limit {
			page.Next = "page-" + r.number()
			if r.tokens == nil {
				r.tokens = map[string]work.Query{}
			}
			r.tokens[page.Next] = work.Query{Partition: q.Partition, Prefix: q.Prefix, Page: page.Rows[limit-1].Row}
			break
		}
		row := p.rows[p.keys[at]]
		row.Value = slices.Clone(row.Value)
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

func (r *Rows) number() string {
	r.serial++
	return strconv.Itoa(r.serial)
}

// Transact implements outbox.Rows. It panics on a transaction that no driver need take: that is a mistake of its caller.
func (r *Rows) Transact(ctx context.Context, name string, writes []work.Write) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(writes) == 0 || len(writes) > outbox.MaxTransaction {
		panic(fmt.Sprintf("outboxtest: transaction of %d writes", len(writes)))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for i, w := range writes {
		if seen[w.Row] {
			panic("outboxtest: row " + w.Row + " is written twice in one transaction")
		}
		seen[w.Row] = true
		row, there := r.row(name, w.Row)
		etag, match := w.If.ETag()
		if w.If.Absent() && there || match && (!there || row.ETag != etag) {
			return &outbox.Refused{Write: i}
		}
	}
	for _, w := range writes {
		r.write(name, w)
	}
	return nil
}

func (r *Rows) write(name string, w work.Write) {
	p := r.partitions[name]
	if p == nil {
		p = &partition{rows: map[string]work.Row{}}
		if r.partitions == nil {
			r.partitions = map[string]*partition{}
		}
		r.partitions[name] = p
	}
	at, found := slices.BinarySearch(p.keys, w.Row)
	switch {
	case w.Delete && found:
		p.keys = slices.Delete(p.keys, at, at+1)
		delete(p.rows, w.Row)
	case !w.Delete:
		if !found {
			p.keys = slices.Insert(p.keys, at, w.Row)
		}
		p.rows[w.Row] = work.Row{Key: work.Key{Partition: name, Row: w.Row}, ETag: r.number(), Value: slices.Clone(w.Value)}
	}
}

// Keys returns the keys of the partition's rows in order.
func (r *Rows) Keys(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.partitions[name]; p != nil {
		return slices.Clone(p.keys)
	}
	return nil
}
