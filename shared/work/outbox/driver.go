package outbox

import (
	"context"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// Rows is a rows driver: one table of one service, with transactions inside a partition. Drivers classify and bound what
// they do in time; they may repeat what fails, but decide nothing. Every method is safe for concurrent use.
//
// Keys that a driver is given are those that package work allows, of up to [work.MaxKeyBytes] and one byte more.
type Rows interface {
	// Get returns the row or work.ErrNotFound.
	Get(ctx context.Context, key work.Key) (work.Row, error)
	// List returns rows in the byte order of their keys; its page tokens are bound to the partition and the prefix, and any
	// other is work.ErrBadPage.
	List(ctx context.Context, query work.Query) (work.Page, error)
	// Transact makes all the writes, at most [MaxTransaction], or none, and returns when they are on stable storage. No row is
	// named twice. When a condition does not hold it returns a [*Refused]; for what the service would not take, work.ErrTooLarge
	// or work.ErrBadKey. Any other error leaves open whether the writes were made.
	Transact(ctx context.Context, partition string, writes []work.Write) error
}

// MaxTransaction is how many writes one transaction takes: [work.MaxOperations], the delivery's own row, and the row that
// tells what is still to be sent.
const MaxTransaction = work.MaxOperations + 2

// Refused says which write of a transaction had a condition that does not hold. It is a work.ErrConflict.
type Refused struct {
	Write int // index among the transaction's writes; -1 when the service did not tell
}

func (r *Refused) Error() string {
	if r.Write < 0 {
		return "a condition of the transaction does not hold"
	}
	return fmt.Sprintf("the condition of write %d does not hold", r.Write)
}

// Is makes a Refused a work.ErrConflict.
func (r *Refused) Is(target error) bool { return target == work.ErrConflict }

// Parcel is a message on its way into a queue.
type Parcel struct {
	// ID is made of what the parcel carries, so a parcel that is sent again has it again: a queue drops the second one
	// for as long as it remembers ids (Service Bus: duplicate detection). Over a queue that remembers none, a message that a sweep
	// sends again may have two holders at once, of whom one settles it. 32 characters, hexadecimal.
	ID         string
	Queue      work.Queue
	Due        time.Time // not to be handed out before; zero is now
	Attributes map[string]string
	Body       []byte
}

// Received is a parcel in the hands of a receiver. A driver gives attributes and body back as they were sent.
type Received struct {
	Queue       work.Queue
	Attributes  map[string]string
	Body        []byte
	Deliveries  int    // how often this parcel was handed out, this time included; counted by the queue, durably
	Token       string // holds the parcel until LockedUntil; another one at every delivery
	LockedUntil time.Time
}

// Names of the attributes that a parcel carries beside its body.
const (
	AttributePartition   = "pinreset-partition"
	AttributeMessage     = "pinreset-message"
	AttributeAttempt     = "pinreset-attempt"
	AttributeTraceParent = "traceparent" // W3C Trace Context, of the event in the body; absent when it has none
)

// Queue is a queue driver: the queues of one service. It delivers at least once, in no promised order, and its tokens need not
// fence anything: see the package's documentation for what does. Every method is safe for concurrent use and has an end
// of its own, whatever its context says.
type Queue interface {
	// Send puts the parcels into their queues. An error leaves open which of them were; all of them will be sent again.
	Send(ctx context.Context, parcels []Parcel) error
	// Receive waits until a parcel of the queue is due and returns up to limit of them. It returns ctx.Err() when ctx ends
	// first, and takes no parcel along then.
	Receive(ctx context.Context, queue work.Queue, limit int) ([]Received, error)
	// Renew holds the parcel for longer and returns until when, or work.ErrLeaseLost.
	Renew(ctx context.Context, queue work.Queue, token string) (time.Time, error)
	// Complete removes the parcel. A token that holds nothing any more is no error.
	Complete(ctx context.Context, queue work.Queue, token string) error
	// DeadLetter sets a parcel aside that is no message of ours, for people to look at. A token that holds nothing any more
	// is no error.
	DeadLetter(ctx context.Context, queue work.Queue, token, reason, description string) error
}
