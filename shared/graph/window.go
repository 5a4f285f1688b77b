package graph

import "time"

// instant is a moment on the limiter's own clock: time since the limiter was made.
type instant = time.Duration

// mark is a number of permits and the moment that they were used at (or are promised for).
type mark struct {
	at instant
	n  int
}

// ring is a queue of marks in order of time. It holds memory only while it is not empty.
type ring struct {
	buf       []mark
	head, len int32
	sum       int // permits of all marks
}

func (r *ring) at(i int32) *mark { return &r.buf[(r.head+i)%int32(len(r.buf))] }

// push appends a mark; at must not be before the last one's.
func (r *ring) push(at instant, n int) {
	r.sum += n
	if r.len > 0 {
		if last := r.at(r.len - 1); last.at == at {
			last.n += n
			return
		}
	}
	if int(r.len) == len(r.buf) {
		grown := make([]mark, max(1, 2*r.len))
		for i := range r.len {
			grown[i] = *r.at(i)
		}
		r.buf, r.head = grown, 0
	}
	r.len++
	*r.at(r.len - 1) = mark{at, n}
}

// dropThrough removes the marks up to and including the moment.
func (r *ring) dropThrough(at instant) {
	for r.len > 0 && r.buf[r.head].at <= at {
		r.sum -= r.buf[r.head].n
		r.head = (r.head + 1) % int32(len(r.buf))
		r.len--
	}
	if r.len == 0 {
		r.buf, r.head = nil, 0
	}
}

// exactUpTo is the largest limit whose window keeps every moment as it is. Larger ones (those of an application in all
// tenants) round moments up to a 2000th of the window: permits come back late by at most that, and never early.
const exactUpTo = 5_000

// window keeps one limit as a sliding window.
//
// A permit is in use from the moment it is given until the call is answered, and comes back one window-length after the
// answer. Graph counts a call somewhere between sending and answer; so whatever the network does, Graph never sees more
// than the limit within any span of the window's length, be its own window fixed or sliding.
type window struct {
	*span
	inUse    int      // given and not yet answered
	used     ring     // answered within the last window-length
	promised *[2]ring // by Priority: permits that refused callers were told to come back for; nil for none
}

// span is the limit of a window, and of all others that have the same.
type span struct {
	limit   int
	per     time.Duration
	quantum time.Duration
}

func newSpan(w Window) *span {
	s := &span{limit: w.Limit, per: w.Per}
	if w.Limit > exactUpTo {
		s.quantum = w.Per / 2000
	}
	return s
}

func newWindow(w Window) window { return window{span: newSpan(w)} }

func (w *window) expire(now instant) {
	w.used.dropThrough(now - w.per)
	if w.promised == nil {
		return
	}
	for p := range w.promised {
		w.promised[p].dropThrough(now)
	}
	if w.promised[Bulk].len == 0 && w.promised[People].len == 0 {
		w.promised = nil
	}
}

// idle reports whether the window, which has expired what is past, holds nothing.
func (w *window) idle() bool { return w.inUse == 0 && w.used.len == 0 && w.promised == nil }

// awaited are the promises to a priority.
func (w *window) awaited(p Priority) *ring {
	if w.promised == nil {
		w.promised = new([2]ring)
	}
	return &w.promised[p]
}

// due returns the first moment at which cost permits can be given without more than allowed of them being out. When that
// depends on calls that are not answered yet, sure is false and the moment is the earliest possible.
// A cost above allowed (not above the limit) is given when nothing is out.
func (w *window) due(now instant, allowed, cost int) (at instant, sure bool) {
	if w.limit == 0 || cost == 0 {
		return now, true
	}
	w.expire(now)
	out := w.inUse + w.used.sum
	need := min(out, out+cost-allowed)
	if need <= 0 {
		return now, true
	}
	return w.returned(now, need)
}

// returned returns the moment at which n of the permits that are out have come back.
func (w *window) returned(now instant, n int) (at instant, sure bool) {
	for i := range w.used.len {
		m := w.used.at(i)
		if n -= m.n; n <= 0 {
			return m.at + w.per, true
		}
	}
	return now + w.per, false
}

// Promises are made for at most so many window-lengths ahead, and all but the first in steps of a 100th of one, which
// bounds what they take.
const (
	promiseAhead = 64
	promiseSteps = 100
)

// promise returns when a refused caller should come back: as due does, but after all those of its priority that were
// refused before. Without it a thousand waiting calls would all come back for the same hundred permits, again and again.
// A promise is a delay and no claim: whoever comes first gets the permit.
func (w *window) promise(now instant, allowed, cost int, p Priority) instant {
	at, _ := w.due(now, allowed, cost)
	if at == now || w.promised == nil {
		return at
	}
	awaited := w.awaited(p)
	if awaited.len == 0 {
		return at
	}
	out := w.inUse + w.used.sum
	// Permits come back in this order: those answered, those in use, and those that are promised and will be used then.
	need := min(out, out+cost-allowed) + awaited.sum
	if need <= out {
		at, _ = w.returned(now, need)
	}
	need -= out
	for i, sum := awaited.len-1, awaited.sum; i >= 0 && need > 0; i-- {
		m := awaited.at(i)
		if sum -= m.n; sum < need {
			at = max(at, m.at+w.per)
			break
		}
	}
	step := max(1, w.per/promiseSteps)
	at = min((at+step-1)/step*step, (now+promiseAhead*w.per)/step*step)
	return max(at, awaited.at(awaited.len-1).at) // first come, first served
}

func (w *window) give(cost int) {
	if w.limit > 0 {
		w.inUse += cost
	}
}

// answered starts the window-length after which the permits come back.
func (w *window) answered(now instant, cost int) {
	if w.limit == 0 || cost == 0 {
		return
	}
	w.expire(now)
	w.inUse -= cost
	if w.quantum > 0 {
		now = (now + w.quantum - 1) / w.quantum * w.quantum
	}
	w.used.push(now, cost)
}

// takeBack returns permits of a call that was never sent.
func (w *window) takeBack(cost int) {
	if w.limit > 0 {
		w.inUse -= cost
	}
}
