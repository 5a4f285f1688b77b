package main

import (
	"context"
	"fmt"
	"time"

	"pinreset/shared/work"
)

// keeper is where a world keeps its rows and messages. The scheduler decides which message is handed out: messages that wait
// or are held have numbers in the order in which they were sent, and every change of it may change them.
type keeper interface {
	work.Store
	Settle(context.Context, work.Delivery, work.Batch, work.Outcome) error
	Renew(context.Context, work.Delivery) (time.Time, error)

	// ready returns what can be handed out, and next how long it takes until something can be.
	ready() []int
	next() (in time.Duration, waits bool)
	message(i int) work.Message
	// take hands a message out. Whoever has it calls open first, unless that is nil; fresh is false when there is nothing to do.
	take(i int) (d work.Delivery, open func(context.Context) (work.Delivery, error), fresh bool)
	duplicate(i int)
	delay(i int, due, held time.Duration)
	lose(i int)

	// alive reports whether the message is still to be handled, or to be sent.
	alive(key messageKey) bool
	// unsent looks among the messages that are committed and not in the queue, and waits among those that are in it.
	unsent(which func(work.Message) bool) bool
	waits(which func(work.Message) bool) bool
	// restart begins anew for a process that has died; tend is called ahead of each step of the world.
	restart(process int)
	tend()
}

// keeping says what a world's keeper is.
type keeping uint8

const (
	both keeping = iota // every twelfth round of scenes is composite, the others are local
	local
	composite // package outbox over a table and a queue
)

var keepings = map[string]keeping{"both": both, "local": local, "composed": composite}

// Set makes a keeping a flag.
func (k *keeping) Set(name string) error {
	v, ok := keepings[name]
	if !ok {
		return fmt.Errorf("%q is none of local, composed, both", name)
	}
	*k = v
	return nil
}

func (k *keeping) String() string {
	for name, v := range keepings {
		if v == *k {
			return name
		}
	}
	return ""
}

// longest is for how long the queue of the seed's composed store can wait: in every second of the rounds that have one for a quarter of
// an hour, as SQS can, else for ever, as Service Bus can.
func (k keeping) longest(seed uint64) time.Duration {
	round := seed / uint64(len(scenes))
	if k == both {
		round /= 12
	}
	if round%2 == 1 {
		return 15 * time.Minute
	}
	return 0
}

// composes reports whether the seed's world has the composed store.
func (k keeping) composes(seed uint64) bool {
	return k == composite || k == both && seed/uint64(len(scenes))%12 == 11
}
