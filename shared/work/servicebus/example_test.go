package servicebus_test

import (
	"context"
	"fmt"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
)

// ExampleOpen sends a message through a queue, on a model of the service. Package outbox does this for a store.
func ExampleOpen() {
	server, err := servicebustest.Start(servicebustest.Config{Queues: []servicebustest.Queue{{Name: "passcodereset"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	ctx := context.Background()

	bus, err := servicebus.Open(servicebus.Options{ConnectionString: server.ConnectionString()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bus.Close(ctx)
	fmt.Println("there:", bus.Check(ctx, []work.Queue{"passcodereset"}))

	parcel := outbox.Parcel{ID: "0af7651916cd43dd8448eb211c80319c", Queue: "passcodereset", Body: []byte("reset")}
	fmt.Println("sent:", bus.Send(ctx, []outbox.Parcel{parcel}))
	received, err := bus.Receive(ctx, "passcodereset", 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("came: %s, delivery %d\n", received[0].Body, received[0].Deliveries)
	fmt.Println("completed:", bus.Complete(ctx, received[0].Queue, received[0].Token))
	// Output:
	// there: <nil>
	// sent: <nil>
	// came: reset, delivery 1
	// completed: <nil>
}
