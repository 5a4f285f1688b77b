package outbox_test

import (
	"context"
	"errors"
	"fmt"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
)

// ExampleStore_Sweep: the process dies between storing the rows and sending the message; the next one sends it.
func ExampleStore_Sweep() {
	ctx, rows, queue := context.Background(), &outboxtest.Rows{}, &outboxtest.Queue{}
	dying := outbox.New(rows, queue, outbox.Options{
		NewID: func() string { return "commit-1" },
		Before: func(step string) error {
			if step == outbox.StepMessages {
				return errors.New("the process died")
			}
			return nil
		},
	})
	batch := work.Batch{
		Partition: "contoso",
		Writes:    []work.Write{{Row: "reset 1", Value: []byte("accepted"), If: work.IfAbsent()}},
		Messages:  []work.Message{{ID: "message-1", Queue: "passcodereset", Partition: "contoso"}},
	}
	fmt.Println(dying.Commit(ctx, batch))

	next := outbox.New(rows, queue, outbox.Options{NewID: func() string { return "commit-2" }})
	fmt.Println(next.Sweep(ctx))
	deliveries, err := next.Receive(ctx, "passcodereset", 1)
	fmt.Println(deliveries[0].ID, err)
	fmt.Println(next.Settle(ctx, deliveries[0], work.Batch{}, work.Outcome{Kind: work.Done}))
	// Output:
	// commit step messages: the process died
	// <nil>
	// message-1 <nil>
	// <nil>
}
