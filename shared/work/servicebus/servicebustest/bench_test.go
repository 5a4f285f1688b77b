package servicebustest_test

import (
	"context"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

// The benchmarks measure client and server together, over loopback. They say what a test costs, not what Azure does.

func BenchmarkSend(b *testing.B) {
	_, sender, _ := benchmark(b)
	m := &azservicebus.Message{Body: make([]byte, 1024)}
	for b.Loop() {
		if err := sender.SendMessage(b.Context(), m, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReceiveComplete counts a message received in batches of a hundred and completed one by one.
func BenchmarkReceiveComplete(b *testing.B) {
	_, sender, receiver := benchmark(b)
	var got []*azservicebus.ReceivedMessage
	var batch *azservicebus.MessageBatch
	for b.Loop() {
		for len(got) == 0 {
			b.StopTimer()
			var err error
			if batch, err = sender.NewMessageBatch(b.Context(), nil); err != nil {
				b.Fatal(err)
			}
			for range 100 {
				if err := batch.AddMessage(&azservicebus.Message{Body: make([]byte, 1024)}, nil); err != nil {
					b.Fatal(err)
				}
			}
			if err := sender.SendMessageBatch(b.Context(), batch, nil); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
			if got, err = receiver.ReceiveMessages(b.Context(), 100, nil); err != nil {
				b.Fatal(err)
			}
		}
		if err := receiver.CompleteMessage(b.Context(), got[0], nil); err != nil {
			b.Fatal(err)
		}
		got = got[1:]
	}
}

// BenchmarkStart counts a server, a client and a first message.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		server, sender, _ := benchmark(b)
		if err := sender.SendMessage(b.Context(), &azservicebus.Message{}, nil); err != nil {
			b.Fatal(err)
		}
		server.Close()
	}
}

func benchmark(b *testing.B) (*servicebustest.Server, *azservicebus.Sender, *azservicebus.Receiver) {
	b.Helper()
	server, err := servicebustest.Start(servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(server.Close)
	client, err := azservicebus.NewClientFromConnectionString(server.ConnectionString(), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close(context.Background()) })
	sender, err := client.NewSender("q", nil)
	if err != nil {
		b.Fatal(err)
	}
	receiver, err := client.NewReceiverForQueue("q", nil)
	if err != nil {
		b.Fatal(err)
	}
	return server, sender, receiver
}
