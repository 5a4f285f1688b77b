package quota

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// Whole is all of a limit. Parts are counted in ten thousandths.
const Whole = 10_000

// Usable is what all processes together use of a limit.
const Usable = Whole - spare

// Modest is the part of a process that does not need more.
const Modest = Whole / 20

const spare = Whole / 20 // left to one that comes along

// DefaultLife is how long a part is held without another word.
const DefaultLife = 20 * time.Second

// Prefix begins the rows of the ledger: quota|{application}.
const Prefix = "quota|"

// ErrContended: others wrote the row every time that this process tried to. Nothing changed.
var ErrContended = errors.New("others are changing the division of the limit")

// tries is how often a renewal is begun again because another process wrote the row first.
const tries = 6

// rows are where the ledger is kept.
type rows interface {
	Get(context.Context, work.Key) (work.Row, error)
	Commit(context.Context, work.Batch) error
}

// Options are what a Ledger needs to know besides its store. Process and Common are required.
type Options struct {
	Process string           // names this process; no two that run, or have lately run, may have the same
	Common  string           // partition of limits that are no tenant's
	Life    time.Duration    // of a lease; 0 means DefaultLife. All processes must use the same
	Now     func() time.Time // nil means time.Now
}

// Ledger leases parts. It is safe for concurrent use and keeps nothing in memory.
type Ledger struct {
	rows    rows
	process string
	common  string
	life    time.Duration
	now     func() time.Time
}

// New returns a ledger in the store.
func New(store rows, o Options) *Ledger {
	if o.Process == "" || o.Common == "" {
		panic("quota: a ledger needs the name of its process and a partition for limits that are no tenant's")
	}
	l := &Ledger{rows: store, process: o.Process, common: o.Common, life: o.Life, now: o.Now}
	if l.life == 0 {
		l.life = DefaultLife
	}
	if l.now == nil {
		l.now = time.Now
	}
	return l
}

// Life is how long a lease lasts. It should be renewed when a quarter of that has passed.
func (l *Ledger) Life() time.Duration { return l.life }

// Ask is what a process says of itself when it renews.
type Ask struct {
	Busy    bool          // its calls have to wait for room
	Longest time.Duration // the longest window in which its calls may count until the lease ends
	Least   int           // the part that a call needs which waits because it costs more than the even share; 0: none does
	// Lower is told the part that will be leased, before that is written, and returns the part that earlier calls still take up.
	// From then on no call may go beyond the larger of the two. It may be called several times.
	Lower func(part int) (held int)
}

// Lease is what a process may use of each limit whose window is no longer than was asked for, for the ledger's Life from before
// Renew was called.
type Lease struct {
	Part int // what it may go on using
	Top  int // what it must never go beyond: more than Part while earlier calls still take up more
	Fair int // what Part will come to once others have given theirs back
}

// Renew leases a part of the application's limits in the tenant; a tenant of "" means those in all tenants together.
// After an error the earlier lease stands until its end, within what Lower was last told.
func (l *Ledger) Renew(ctx context.Context, tenant, application string, ask Ask) (Lease, error) {
	return l.change(ctx, l.key(tenant, application), ask, false)
}

// Release hands the process's part back, for one that is about to end. What Lower says that earlier calls still take up stays
// taken until they have left the window; the rest is free for others at once. Lower is told a part of 0.
func (l *Ledger) Release(ctx context.Context, tenant, application string, ask Ask) error {
	_, err := l.change(ctx, l.key(tenant, application), ask, true)
	return err
}

func (l *Ledger) key(tenant, application string) work.Key {
	if tenant == "" {
		tenant = l.common
	}
	return work.Key{Partition: tenant, Row: Prefix + application}
}

// change writes the process's part, again when others were first.
func (l *Ledger) change(ctx context.Context, key work.Key, ask Ask, leaving bool) (Lease, error) {
	for range tries {
		lease, err := l.write(ctx, key, ask, leaving)
		if !errors.Is(err, work.ErrConflict) {
			return lease, err
		}
	}
	return Lease{}, fmt.Errorf("change %s of %s: %w", key.Row, key.Partition, ErrContended)
}

func (l *Ledger) write(ctx context.Context, key work.Key, ask Ask, leaving bool) (Lease, error) {
	now := l.now().UTC()
	var d division
	condition := work.IfAbsent()
	switch row, err := l.rows.Get(ctx, key); {
	case err == nil:
		if err := json.Unmarshal(row.Value, &d); err != nil {
			return Lease{}, fmt.Errorf("decode %s of %s: %w", key.Row, key.Partition, err)
		}
		condition = work.IfMatch(row.ETag)
	case !errors.Is(err, work.ErrNotFound):
		return Lease{}, fmt.Errorf("read %s of %s: %w", key.Row, key.Partition, err)
	}
	d.settle(now, l.life)
	var lease Lease
	mine := holder{Until: now, Longest: ask.Longest, Busy: ask.Busy} // who leaves makes no more calls
	if !leaving {
		mine.Until = now.Add(l.life)
		mine.queue(d.Holders[l.process], ask.Least, now)
		lease = d.offer(l.process, mine, now)
	}
	lease.Top = max(lease.Part, ask.Lower(lease.Part))
	mine.Part = lease.Top
	d.Holders[l.process] = mine
	if lease.Top == 0 && leaving {
		delete(d.Holders, l.process)
	}
	value, err := json.Marshal(d)
	if err != nil {
		return Lease{}, fmt.Errorf("encode %s: %w", key.Row, err)
	}
	if err := l.rows.Commit(ctx, work.Batch{Partition: key.Partition, Writes: []work.Write{{Row: key.Row, Value: value, If: condition}}}); err != nil {
		return Lease{}, fmt.Errorf("write %s of %s: %w", key.Row, key.Partition, err)
	}
	return lease, nil
}

// division is the row: who holds what.
type division struct {
	Holders map[string]holder `json:"holders"`
}

type holder struct {
	Part    int           `json:"part"`
	Until   time.Time     `json:"until"`   // by the holder's clock
	Longest time.Duration `json:"longest"` // nanoseconds
	Busy    bool          `json:"busy,omitempty"`
	Least   int           `json:"least,omitempty"`
	Since   time.Time     `json:"since,omitzero"` // it has waited for Least, by its clock
}

// queue puts the holder into the queue of those that need more than the even share, or keeps its place. Who had as much as it needed
// since its last renewal goes to the end, whether or not its call came in that time: nobody holds up the others.
func (h *holder) queue(before holder, least int, now time.Time) {
	if h.Least = least; least == 0 {
		return
	}
	if h.Since = before.Since; h.Since.IsZero() || before.Part >= before.Least {
		h.Since = now
	}
}

// settle drops holders whose calls can't be in any window any more.
func (d *division) settle(now time.Time, life time.Duration) {
	if d.Holders == nil {
		d.Holders = map[string]holder{}
	}
	skew := life / 4
	for name, h := range d.Holders {
		// A clock that is far ahead must not hold its part for as long as it is ahead.
		if latest := now.Add(life + skew); h.Until.After(latest) {
			h.Until = latest
			d.Holders[name] = h
		}
		if now.After(h.Until.Add(h.Longest + skew)) {
			delete(d.Holders, name)
		}
	}
}

// offer tells the part that the process may have, and the one that it will have once others have shrunk to theirs. mine is what it
// says of itself now.
func (d *division) offer(process string, mine holder, now time.Time) Lease {
	before, known := d.Holders[process]
	busy := mine.Busy
	free, busyOnes, idleOnes := Whole, 0, 0
	first, firstName := mine, process // of those that need more than the even share, the one that has waited longest
	count := func(busy bool) {
		if busy {
			busyOnes++
		} else {
			idleOnes++
		}
	}
	count(busy)
	for name, h := range d.Holders {
		if name == process {
			continue
		}
		free -= h.Part
		if now.Before(h.Until) {
			count(h.Busy)
			if h.Least > 0 && (first.Least == 0 || cmp.Or(h.Since.Compare(first.Since), cmp.Compare(name, firstName)) < 0) {
				first, firstName = h, name
			}
		}
	}
	free = max(free, 0)
	fair := Usable / (busyOnes + idleOnes)
	if busyOnes > 0 && idleOnes > 0 {
		idle := min(Modest, Usable/(2*idleOnes))
		fair = idle
		if busy {
			fair = (Usable - idle*idleOnes) / busyOnes
		}
	}
	// The spare part is for one that comes along: it may take half of it, and so may the next.
	part := max(free-spare, free/2)
	if known {
		part = max(part, min(before.Part, free))
	}
	switch all := busyOnes + idleOnes; {
	case first.Least <= Usable/all: // nobody needs more
	case firstName == process:
		fair = max(fair, first.Least)
		part = max(part, min(first.Least, free)) // of the spare part too, where it needs that
	default:
		fair = min(fair, max(0, Usable-first.Least)/(all-1))
	}
	return Lease{Part: min(fair, part), Fair: fair}
}
