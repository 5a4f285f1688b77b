package work_test

import (
	"context"
	"fmt"
	"os"
	"time"

	"pinreset/events"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// ExampleUnit accepts a request: the row that says so and the message that carries it on commit together.
func ExampleUnit() {
	dir, err := os.MkdirTemp("", "pinreset")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	store, err := sqlitework.Open(dir, sqlitework.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	ctx := context.Background()

	unit := newUnit(store)
	_ = unit.Create("reset 1", state{"accepted"})
	_, _ = unit.Send(ctx, "passcodereset", time.Time{}, events.PasscodeResetCheckDue{RequestID: "1", DeviceID: device})
	fmt.Println(unit.Commit(ctx))

	deliveries, _ := store.Receive(ctx, "passcodereset", 1)
	run := newUnit(store)
	var reset state
	_ = run.Get(ctx, "reset 1", &reset)
	_ = run.Put("reset 1", state{"done"})
	fmt.Println(reset.State, store.Settle(ctx, deliveries[0], run.Batch(), work.Outcome{Kind: work.Done}))
	// Output:
	// <nil>
	// accepted <nil>
}
