package sqlitework

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql/driver"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"

	"pinreset/shared/work"
)

const (
	defaultLimit = 100
	maxLimit     = 1000
	// maxPageBytes ends a page early, as Table storage does, so that a list of large rows does not fill the memory.
	maxPageBytes = 4 << 20
	macBytes     = 16
)

// reader is a connection that can't write. Its statements see everything that was committed before they began.
type reader struct {
	get, list, stats *statement
	calls            chan func()
}

// serve carries out the calls. SQLite goes deep, and what asks often has to wait for Microsoft Graph next: on a goroutine of the reader's
// own it is one stack that grows for that, and not the stack of each of hundreds that wait.
func (r *reader) serve() {
	for call := range r.calls {
		call()
	}
}

// do carries out fn on the reader's goroutine. A panic is the caller's.
func (r *reader) do(fn func(*reader) error) (err error) {
	var panicked any
	done := make(chan struct{})
	r.calls <- func() {
		defer close(done)
		defer func() { panicked = recover() }()
		err = fn(r)
	}
	<-done
	if panicked != nil {
		panic(panicked)
	}
	return err
}

func (r *reader) close() error {
	close(r.calls)
	return nil
}

func newReader(ctx context.Context, c *connection) (*reader, error) {
	var err error
	prepare := c.preparing(ctx, &err)
	r := &reader{
		calls: make(chan func()),
		get:   prepare("get row", `SELECT version, value FROM rows WHERE partition = ?1 AND row = ?2`),
		// A bare parameter in LIMIT makes SQLite plan the statement anew each time that one is bound.
		list: prepare("list rows", `SELECT row, version, value FROM rows
			WHERE partition = ?1 AND row >= ?2 AND row < ?3 ORDER BY row LIMIT ?4 + 0`),
		stats: prepare("count messages", `SELECT queue,
				sum(due <= ?1), sum(due > ?1 AND lease = 0), sum(due > ?1 AND lease <> 0), min(due)
			FROM messages WHERE due IS NOT NULL GROUP BY queue`),
	}
	if err != nil {
		return nil, err
	}
	go r.serve()
	return r, nil
}

// usable returns why nothing can be read: ctx has ended, or the store is closed.
func (s *Store) usable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.closing:
		return ErrClosed
	default:
		return nil
	}
}

// read lends an idle reader to fn.
func (s *Store) read(ctx context.Context, fn func(*reader) error) error {
	if err := s.usable(ctx); err != nil {
		return err
	}
	select {
	case r := <-s.readers:
		defer func() { s.readers <- r }()
		return r.do(fn)
	case <-s.closing:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drainReaders waits until nobody reads and takes all readers away. Only the writer, and Close after it has ended, may do
// so: two at a time would wait for each other.
func (s *Store) drainReaders() []*reader {
	all := make([]*reader, cap(s.readers))
	for i := range all {
		all[i] = <-s.readers
	}
	return all
}

// Get returns the row or [work.ErrNotFound].
func (s *Store) Get(ctx context.Context, key work.Key) (work.Row, error) {
	if err := s.usable(ctx); err != nil {
		return work.Row{}, err
	}
	e, turn, found := s.cache.get(key)
	if found {
		return work.Row{Key: key, ETag: etag(e.version), Value: bytes.Clone(e.value)}, nil
	}
	err := s.read(ctx, func(r *reader) error {
		// A point read takes microseconds; watching ctx during it would cost more than that.
		return r.get.query(context.Background(), func(columns []driver.Value) error {
			found = true
			e.version = columns[0].(int64)
			e.value, _ = columns[1].([]byte)
			return nil
		}, key.Partition, key.Row)
	})
	if err != nil {
		return work.Row{}, fmt.Errorf("read row %s: %w", key.Row, err)
	}
	if !found {
		return work.Row{}, fmt.Errorf("read row %s: %w", key.Row, work.ErrNotFound)
	}
	s.cache.keep(key, e, turn)
	return work.Row{Key: key, ETag: etag(e.version), Value: bytes.Clone(e.value)}, nil
}

// List returns one page of rows in key order. A page may be shorter than asked for and still have a next one; a limit above
// 1000 is taken as 1000.
func (s *Store) List(ctx context.Context, q work.Query) (work.Page, error) {
	limit := min(q.Limit, maxLimit)
	if limit <= 0 {
		limit = defaultLimit
	}
	first, end := q.Prefix, q.Prefix+"\x7f" // keys hold nothing above 0x7e
	if q.Before != "" {
		end = min(end, q.Before)
	}
	if q.Page != "" {
		last, err := s.openPage(q)
		if err != nil {
			return work.Page{}, err
		}
		first = last + "\x01" // keys hold nothing below 0x20
	}
	var (
		page work.Page
		size int
		more bool
	)
	err := s.read(ctx, func(r *reader) error {
		return r.list.query(ctx, func(columns []driver.Value) error {
			value, _ := columns[2].([]byte)
			if len(page.Rows) == limit || len(page.Rows) > 0 && size+len(value) > maxPageBytes {
				more = true
				return io.EOF
			}
			size += len(value)
			key := work.Key{Partition: q.Partition, Row: columns[0].(string)}
			page.Rows = append(page.Rows, work.Row{Key: key, ETag: etag(columns[1].(int64)), Value: value})
			return nil
		}, q.Partition, first, end, int64(limit+1))
	})
	if err != nil {
		return work.Page{}, fmt.Errorf("list rows %s: %w", q.Prefix, err)
	}
	if more {
		page.Next = s.sealPage(q, page.Rows[len(page.Rows)-1].Row)
	}
	return page, nil
}

// sealPage makes the token of the page after the row. Its code binds it to the partition and the prefix.
func (s *Store) sealPage(q work.Query, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(s.pageMAC(q, last), last...))
}

func (s *Store) openPage(q work.Query) (last string, err error) {
	data, err := base64.RawURLEncoding.DecodeString(q.Page)
	if err != nil || len(data) < macBytes || !hmac.Equal(data[:macBytes], s.pageMAC(q, string(data[macBytes:]))) {
		return "", fmt.Errorf("list rows %s: %w", q.Prefix, work.ErrBadPage)
	}
	return string(data[macBytes:]), nil
}

func (s *Store) pageMAC(q work.Query, last string) []byte {
	mac := hmac.New(sha256.New, s.key)
	for _, part := range []string{q.Partition, q.Prefix, last} {
		fmt.Fprintf(mac, "%d:%s", len(part), part)
	}
	return mac.Sum(nil)[:macBytes]
}

// etag is the text of a row's version. Versions come from the store's counter, so that none is ever given out twice, not
// even to a row that was deleted and made again.
func etag(version int64) string { return strconv.FormatInt(version, 36) }

func parseETag(text string) (version int64, ok bool) {
	version, err := strconv.ParseInt(text, 36, 64)
	return version, err == nil && etag(version) == text
}
