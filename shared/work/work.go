package work

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Errors that every backend returns (wrapped) in the same situations.
var (
	// ErrNotFound: there is no such row.
	ErrNotFound = errors.New("row not found")
	// ErrConflict: a write's condition does not hold; nothing was written.
	ErrConflict = errors.New("row changed since it was read")
	// ErrLeaseLost: the delivery has passed to another receiver, or is done; nothing was written.
	ErrLeaseLost = errors.New("delivery is no longer held")
	// ErrTooLarge: the commit exceeds what one table transaction can carry.
	ErrTooLarge = errors.New("commit exceeds the limits of one table transaction")
	// ErrBadKey: a key has characters that table storage refuses, or is too long.
	ErrBadKey = errors.New("key is not allowed")
	// ErrBadPage: a page token was not issued for this list.
	ErrBadPage = errors.New("page token does not belong to this list")
)

// Limits of one commit and of one row. They are Table storage's (100 operations and 4 MiB a transaction, 1 MiB an entity,
// 64 KiB a property, keys of 1 KiB in UTF-16) less what the backend adds: its inbox, outbox and properties, a byte in front of each
// key, and the third by which bytes grow on their way there in base64.
const (
	MaxOperations = 98
	MaxBatchBytes = 2816 << 10
	MaxValueBytes = 760 << 10
	MaxKeyBytes   = 511
	MaxBodyBytes  = 192 << 10 // a message; Service Bus Standard takes 256 KiB with its properties
)

// Key addresses a row.
type Key struct {
	Partition string
	Row       string
}

// Row is a stored value. ETag changes with every write of the row.
type Row struct {
	Key
	ETag  string
	Value []byte
}

// Condition is what must hold for a write to happen.
type Condition struct {
	kind conditionKind
	etag string
}

type conditionKind int

const (
	always conditionKind = iota
	ifAbsent
	ifMatch
)

// Always writes whatever is stored.
func Always() Condition { return Condition{} }

// IfAbsent writes only a row that does not exist.
func IfAbsent() Condition { return Condition{kind: ifAbsent} }

// IfMatch writes only over the row version that etag names.
func IfMatch(etag string) Condition { return Condition{kind: ifMatch, etag: etag} }

// Absent reports whether the condition asks for no row.
func (c Condition) Absent() bool { return c.kind == ifAbsent }

// ETag returns the version the condition asks for; ok is false when it asks for none.
func (c Condition) ETag() (etag string, ok bool) { return c.etag, c.kind == ifMatch }

// Write puts or, with Delete set, removes one row of the batch's partition. Deleting a row that does not exist is no error
// unless the condition asks for a version.
type Write struct {
	Row    string
	Value  []byte
	Delete bool
	If     Condition
}

// Queue names where a message waits. People's work and bulk work of one function wait in separate queues, so that a hundred
// thousand bulk messages delay nobody who waits at a screen; see [Queue.Bulk].
type Queue string

// Announcements carries what has happened to whoever wants to know: results and failures.
const Announcements Queue = "announcement"

const bulkSuffix = "-bulk"

// Bulk returns the queue for the same function's bulk work.
func (q Queue) Bulk() Queue {
	if q.IsBulk() {
		return q
	}
	return q + bulkSuffix
}

// IsBulk reports whether the queue carries bulk work.
func (q Queue) IsBulk() bool { return strings.HasSuffix(string(q), bulkSuffix) }

// Message is work to be done. Body is a CloudEvent in structured JSON; it references secrets and never carries one.
type Message struct {
	ID        string // dedup key, unique within the partition
	Queue     Queue
	Partition string    // whose work it is: the partition that the unit will commit to
	At        time.Time // not before; zero is now
	Body      []byte
}

// Batch is what commits together.
type Batch struct {
	Partition string
	Writes    []Write
	Messages  []Message
}

// Delivery is a message in the hands of one receiver until LeasedUntil. Its At is never zero: it is the time that the message
// was due, by its sender or by the Retry or Postpone that put it off.
type Delivery struct {
	Message
	Deliveries  int    // how often it was handed out, this time included; counts crashes
	Lease       string // fencing token: changes with every delivery
	LeasedUntil time.Time
	EnqueuedAt  time.Time
}

// OutcomeKind says what becomes of a delivery.
type OutcomeKind int

// What becomes of a delivery when its unit commits.
const (
	Done     OutcomeKind = iota // never again; the message id enters the inbox
	Retry                       // again at At, this delivery counted
	Postpone                    // again at At, this delivery not counted: it was not the message's fault
)

// Outcome settles a delivery.
type Outcome struct {
	Kind OutcomeKind
	At   time.Time // for Retry and Postpone; zero is now
}

// Query lists rows of one partition in key order.
type Query struct {
	Partition string
	Prefix    string // only rows whose key starts with it; "" is all
	Before    string // only rows whose key is less than it, in byte order; "" is no end. The same for every page
	Limit     int    // rows a page, 1–1000; 0 is 100
	Page      string // token from the previous page; "" is the first
}

// Page is one page of a list. Next is "" on the last page, and only there: a page may have fewer rows than asked for and
// still be followed by another.
type Page struct {
	Rows []Row
	Next string
}

// Store keeps rows and accepts messages. Every method is safe for concurrent use.
type Store interface {
	// Get returns the row or ErrNotFound.
	Get(ctx context.Context, key Key) (Row, error)
	// List returns rows in key order. An unknown token is ErrBadPage.
	List(ctx context.Context, query Query) (Page, error)
	// Commit applies the batch whole or not at all, and returns when it is on stable storage.
	Commit(ctx context.Context, batch Batch) error
}

// Source hands out messages and takes them back.
type Source interface {
	// Receive waits until at least one message of the queue is due and returns up to limit of them, each leased.
	// It returns ctx.Err() when ctx ends first.
	Receive(ctx context.Context, queue Queue, limit int) ([]Delivery, error)
	// Renew extends the lease and returns its new end, or ErrLeaseLost.
	Renew(ctx context.Context, delivery Delivery) (time.Time, error)
	// Settle commits the batch and the outcome of the delivery together, or returns ErrLeaseLost or ErrConflict with
	// nothing applied. A batch that is not empty must be of the delivery's partition, else it is ErrBadKey.
	Settle(ctx context.Context, delivery Delivery, batch Batch, outcome Outcome) error
}

// Validate reports the first limit that the batch breaks, as ErrTooLarge or ErrBadKey with what and by how much.
// Backends call it first, so that a batch refused in the cloud is refused on a laptop too.
func (b Batch) Validate() error {
	if n := len(b.Writes) + len(b.Messages); n > MaxOperations {
		return fmt.Errorf("%d operations, at most %d: %w", n, MaxOperations, ErrTooLarge)
	}
	if len(b.Writes) > 0 || len(b.Messages) > 0 {
		if err := validateKey("partition", b.Partition); err != nil {
			return err
		}
	}
	total := 0
	seen := make(map[string]bool, len(b.Writes))
	for _, w := range b.Writes {
		if err := validateKey("row", w.Row); err != nil {
			return err
		}
		if seen[w.Row] {
			return fmt.Errorf("row %s written twice in one commit: %w", w.Row, ErrBadKey)
		}
		seen[w.Row] = true
		if len(w.Value) > MaxValueBytes {
			return fmt.Errorf("row %s has %d bytes, at most %d: %w", w.Row, len(w.Value), MaxValueBytes, ErrTooLarge)
		}
		total += len(w.Row) + len(w.Value)
	}
	for _, m := range b.Messages {
		if err := validateKey("message id", m.ID); err != nil {
			return err
		}
		if err := validateKey("queue", string(m.Queue)); err != nil {
			return err
		}
		if err := validateKey("message partition", m.Partition); err != nil {
			return err
		}
		if len(m.Body) > MaxBodyBytes {
			return fmt.Errorf("message %s has %d bytes, at most %d: %w", m.ID, len(m.Body), MaxBodyBytes, ErrTooLarge)
		}
		total += len(m.ID) + len(m.Body)
	}
	if total > MaxBatchBytes {
		return fmt.Errorf("%d bytes, at most %d: %w", total, MaxBatchBytes, ErrTooLarge)
	}
	return nil
}

// validateKey refuses what Table storage refuses (/ \ # ? and control characters), the quote that its Go client doubles
// in keys, and keys that are empty or long.
func validateKey(what, key string) error {
	if key == "" || len(key) > MaxKeyBytes {
		return fmt.Errorf("%s of %d bytes, 1 to %d: %w", what, len(key), MaxKeyBytes, ErrBadKey)
	}
	for _, r := range key {
		if r < 0x20 || r >= 0x7f || strings.ContainsRune(`/\#?'%`, r) {
			return fmt.Errorf("%s has the character %q: %w", what, r, ErrBadKey)
		}
	}
	return nil
}
