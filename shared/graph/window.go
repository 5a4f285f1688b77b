package graph

import "time"

// instant is a moment on the limiter's own clock: time since the limiter was made.
type instant = time.Duration

// mark is a number of permits and the moment that they were used at (or are promised for).
type mark struct {
	at     instant
	n      int32
	people int32 // of these, those of calls that people wait for
}

// ring is a queue of marks in order of time. It holds memory only while it is not empty.
type ring struct {
	buf       []mark
	head, len int32
	sum       int32 // permits of all marks
	people    int32 // of these, people's
}

func (r *ring) at(i int32) *mark { return &r.buf[(r.head+i)%int32(len(r.buf))] }

// push appends a mark; at must not be before the last one's.
func (r *ring) push(at instant, n, people int) {
	r.sum += int32(n)
	r.people += int32(people)
	if r.len > 0 {
		if last := r.at(r.len - 1); last.at == at {
			last.n += int32(n)
			last.people += int32(people)
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
	*r.at(r.len - 1) = mark{at, int32(n), int32(people)}
}

// dropThrough removes the marks up to and including the moment.
func (r *ring) dropThrough(at instant) {
	for r.len > 0 && r.buf[r.head].at <= at {
		r.sum -= r.buf[r.head].n
		r.people -= r.buf[r.head].people
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
	inUse    int32    // given and not yet answered
	people   int32    // of these, those of calls that people wait for
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

// out returns how many permits are out, and how many of them are people's.
func (w *window) out() (all, people int) {
	return int(w.inUse + w.used.sum), int(w.people + w.used.people)
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

// room is how much of a limit a call may find out beside itself. What people have out comes from their reserve first, the difference of
// the two, so that a help desk at work takes nothing from bulk calls before its reserve is used up.
type room struct{ share, limit int }

// of is how many permits may be out where so many of them are people's.
func (r room) of(people int) int { return r.share + max(0, min(r.limit-r.share, people)) }

// due returns the first moment at which cost permits can be given with no more out than there is room for. When that
// depends on calls that are not answered yet, sure is false and the moment is the earliest possible.
// A cost above the room (not above the limit) is given when nothing is out.
func (w *window) due(now instant, r room, cost int) (at instant, sure bool) {
	if w.limit == 0 || cost == 0 {
		return now, true
	}
	w.expire(now)
	out, people := w.out()
	fits := func() bool { return out == 0 || out+cost <= r.of(people) }
	if fits() {
		return now, true
	}
	for i := range w.used.len {
		m := w.used.at(i)
		out, people = out-int(m.n), people-int(m.people)
		if fits() {
			return m.at + w.per, true
		}
	}
	return now + w.per, false
}

// returned returns the moment at which n of the permits that are out have come back.
func (w *window) returned(now instant, n int) (at instant, sure bool) {
	for i := range w.used.len {
		m := w.used.at(i)
		if n -= int(m.n); n <= 0 {
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
// A promise is a delay and no claim: whoever comes first gets the permit. out is how long a permit is out until its call is
// answered: promised without it, the thirtieth round of a window would come that much too early thirty times over, find nothing, and be sent
// to the end.
func (w *window) promise(now instant, r room, cost int, p Priority, out time.Duration) instant {
	at, sure := w.due(now, r, cost)
	if !sure {
		at += out
	}
	if at == now || w.promised == nil {
		return at
	}
	awaited := w.awaited(p)
	if awaited.len == 0 {
		return at
	}
	held, people := w.out()
	// Permits come back in this order: those answered, those in use, and those that are promised and will be used then.
	need := min(held, held+cost-r.of(people)) + int(awaited.sum)
	if need <= held {
		if at, sure = w.returned(now, need); !sure {
			at += out
		}
	}
	need -= held
	for i, sum := awaited.len-1, int(awaited.sum); i >= 0 && need > 0; i-- {
		m := awaited.at(i)
		if sum -= int(m.n); sum < need {
			at = max(at, m.at+w.per+out)
			break
		}
	}
	step := max(1, w.per/promiseSteps)
	at = min((at+step-1)/step*step, (now+promiseAhead*w.per)/step*step)
	return max(at, awaited.at(awaited.len-1).at) // first come, first served
}

// ofPeople is how much of a cost people wait for.
func ofPeople(cost int, p Priority) int {
	if p == People {
		return cost
	}
	return 0
}

func (w *window) give(cost int, p Priority) {
	if w.limit > 0 {
		w.inUse += int32(cost)
		w.people += int32(ofPeople(cost, p))
	}
}

// answered starts the window-length after which the permits come back.
func (w *window) answered(now instant, cost int, p Priority) {
	if w.limit == 0 || cost == 0 {
		return
	}
	w.expire(now)
	w.inUse -= int32(cost)
	w.people -= int32(ofPeople(cost, p))
	if w.quantum > 0 {
		now = (now + w.quantum - 1) / w.quantum * w.quantum
	}
	w.used.push(now, cost, ofPeople(cost, p))
}

// takeBack returns permits of a call that was never sent.
func (w *window) takeBack(cost int, p Priority) {
	if w.limit > 0 {
		w.inUse -= int32(cost)
		w.people -= int32(ofPeople(cost, p))
	}
}
