package servicebustest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

func Example() {
	clock := servicebustest.NewManualClock(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	server, err := servicebustest.Start(servicebustest.Config{
		Clock:  clock,
		Queues: []servicebustest.Queue{{Name: "orders", Delivery: servicebustest.Delivery{LockDuration: 30 * time.Second}}},
	})
	if err != nil {
		panic(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := azservicebus.NewClientFromConnectionString(server.ConnectionString(), nil)
	if err != nil {
		panic(err)
	}
	defer client.Close(ctx)
	sender, err := client.NewSender("orders", nil)
	if err != nil {
		panic(err)
	}
	if err := sender.SendMessage(ctx, &azservicebus.Message{Body: []byte("one tea")}, nil); err != nil {
		panic(err)
	}
	receiver, err := client.NewReceiverForQueue("orders", nil)
	if err != nil {
		panic(err)
	}
	messages, err := receiver.ReceiveMessages(ctx, 1, nil)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%s, locked: %d\n", messages[0].Body, server.Counts("orders").Locked)

	clock.Advance(30 * time.Second) // the receiver was too slow
	fmt.Println("half a minute later, waiting again:", server.Counts("orders").Active)
	// Output:
	// one tea, locked: 1
	// half a minute later, waiting again: 1
}
