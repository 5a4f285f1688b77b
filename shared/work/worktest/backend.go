// Package worktest states the contract of package work as a test suite. Every backend passes it whole, so that a handler
// can't tell them apart: what a backend can't do on purpose is said in its [Backend], not skipped in silence.
//
// The names of the subtests are the specification; read them with
//
//	go test -v -run TestConformance ./shared/work/sqlitework
//
// The suite says nothing about order of delivery, about speed, or about a lease that has ended and was given to nobody.
package worktest

import (
	"context"
	"testing"
	"time"

	"pinreset/shared/work"
)

// Backend is one empty backend and what the suite must know of it.
type Backend struct {
	work.Store
	work.Source

	// Lease is how long a delivery is held without Renew.
	Lease time.Duration
	// Now is the backend's clock; time.Now if nil.
	Now func() time.Time
	// Skew is by how much the clock of the service that holds deliveries may differ from Now.
	Skew time.Duration
	// Advance moves the backend's clock and returns when the backend has noticed or will notice. Nil means that the
	// backend's time is real: the suite waits, so its Lease should be short.
	Advance func(time.Duration)
	// Reopen gives the same data to a new process, or what comes close. Nil means that the backend has no process of its own
	// to lose.
	Reopen func(*testing.T) Backend
	// ReopenReleases says of a backend that Reopen returned that it knows the earlier process to be gone, and hands out at
	// once what that one held.
	ReopenReleases bool

	// Forgetful says that the queue remembers no ids, so what a sweep sends beside its commit can have two holders at once. Exactly one
	// of them settles, which the suite looks at then.
	Forgetful bool

	// Steps names the steps of a commit that is not atomic, in order; none if it is.
	Steps []string
	// Crash lets the next commit that reaches the step stop before it, as if the process had died; "" calls that off. Set
	// with Steps.
	Crash func(step string)
	// Sweep finishes what crashes left, as housekeeping does. Set with Steps.
	Sweep func(context.Context) error
}

// Queues are the queues that the suite uses; a backend whose queues must exist beforehand creates them.
var Queues = []work.Queue{queue, otherQueue}

const (
	queue      work.Queue = "worktest"
	otherQueue work.Queue = "worktest-bulk"
)

// Run runs the suite. open returns a new backend that shares no data with another and closes it when its test ends; it is called
// from parallel subtests.
func Run(t *testing.T, open func(*testing.T) Backend) {
	for _, chapter := range []struct {
		name  string
		cases []sentence
	}{
		{"rows", rowSentences},
		{"conditions", conditionSentences},
		{"lists", listSentences},
		{"limits", limitSentences},
		{"deliveries", deliverySentences},
		{"leases", leaseSentences},
		{"outcomes", outcomeSentences},
		{"duplicates", duplicateSentences},
		{"concurrency", concurrencySentences},
		{"units", unitSentences},
		{"restarts", restartSentences},
		{"crashes", crashSentences},
	} {
		t.Run(chapter.name, func(t *testing.T) {
			for _, s := range chapter.cases {
				t.Run(s.says, func(t *testing.T) {
					t.Parallel()
					s.test(newTrial(t, open(t)))
				})
			}
		})
	}
}

// sentence is one statement of the contract with its test.
type sentence struct {
	says string
	test func(*trial)
}
