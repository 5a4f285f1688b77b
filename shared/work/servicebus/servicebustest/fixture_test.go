package servicebustest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

// start is the time at which the clocks of the tests stand first.
var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// fixture is a server with one queue "q", a client, and a clock that stands still.
type fixture struct {
	*testing.T
	server   *servicebustest.Server
	clock    *servicebustest.ManualClock
	client   *azservicebus.Client
	sender   *azservicebus.Sender
	receiver *azservicebus.Receiver
}

func newFixture(t *testing.T, queue servicebustest.Queue) *fixture {
	t.Helper()
	queue.Name = "q"
	return newFixtureOf(t, servicebustest.Config{Queues: []servicebustest.Queue{queue}})
}

// newFixtureOf starts a server whose first queue is "q".
func newFixtureOf(t *testing.T, config servicebustest.Config) *fixture {
	t.Helper()
	f := &fixture{T: t, clock: servicebustest.NewManualClock(start)}
	config.Clock = f.clock
	f.server = servicebustest.New(t, config)
	f.client = connect(t, f.server)
	f.sender = f.newSender("q")
	f.receiver = f.newReceiver(nil)
	return f
}

// connect returns a client that tries again without much waiting.
func connect(t testing.TB, s *servicebustest.Server) *azservicebus.Client {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(s.ConnectionString(), &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 5, RetryDelay: 5 * time.Millisecond, MaxRetryDelay: 20 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(context.Background()) })
	return client
}

func (f *fixture) check(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) newSender(entity string) *azservicebus.Sender {
	f.Helper()
	s, err := f.client.NewSender(entity, nil)
	f.check(err)
	return s
}

func (f *fixture) newReceiver(options *azservicebus.ReceiverOptions) *azservicebus.Receiver {
	f.Helper()
	r, err := f.client.NewReceiverForQueue("q", options)
	f.check(err)
	return r
}

func (f *fixture) deadLetters() *azservicebus.Receiver {
	f.Helper()
	return f.newReceiver(&azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueDeadLetter})
}

// send sends one message for each of the bodies, with the body as its id too.
func (f *fixture) send(bodies ...string) {
	f.Helper()
	for _, body := range bodies {
		f.check(f.sender.SendMessage(f.Context(), &azservicebus.Message{Body: []byte(body), MessageID: &body}, nil))
	}
}

// receive receives n messages.
func (f *fixture) receive(r *azservicebus.Receiver, n int) []*azservicebus.ReceivedMessage {
	f.Helper()
	var all []*azservicebus.ReceivedMessage
	// The client returns what has come a moment after the first message, hands back what comes after that, and so mixes up
	// the order; so the moment is long. It returns nothing at all after a failure that it has put right.
	options := &azservicebus.ReceiveMessagesOptions{TimeAfterFirstMessage: 10 * time.Second}
	for len(all) < n {
		messages, err := r.ReceiveMessages(f.Context(), n-len(all), options)
		f.check(err)
		all = append(all, messages...)
	}
	return all
}

func (f *fixture) receiveOne(r *azservicebus.Receiver) *azservicebus.ReceivedMessage {
	f.Helper()
	return f.receive(r, 1)[0]
}

func (f *fixture) complete(r *azservicebus.Receiver, messages ...*azservicebus.ReceivedMessage) {
	f.Helper()
	for _, m := range messages {
		f.check(r.CompleteMessage(f.Context(), m, nil))
	}
}

// await waits until the counts of an entity are the wanted ones; the size is not compared.
func (f *fixture) await(entity string, want servicebustest.Counts) {
	f.Helper()
	ctx, cancel := context.WithTimeout(f.Context(), 5*time.Second)
	defer cancel()
	f.check(f.server.Await(ctx, entity, func(c servicebustest.Counts) bool {
		c.Bytes = want.Bytes
		return c == want
	}))
}

// has checks the counts of an entity; the size is not compared.
func (f *fixture) has(entity string, want servicebustest.Counts) {
	f.Helper()
	got := f.server.Counts(entity)
	if want.Bytes = got.Bytes; got != want {
		f.Fatalf("%s has %+v, want %+v", entity, got, want)
	}
}

// reopen has the receiver notice that its connection is gone and open another. Settling does not do that well: it waits
// four seconds before it tries again, whatever the client's options say.
func (f *fixture) reopen(r *azservicebus.Receiver) {
	f.Helper()
	_, err := r.PeekMessages(f.Context(), 1, nil)
	f.check(err)
}

func (f *fixture) wantCode(err error, want azservicebus.Code) {
	f.Helper()
	var e *azservicebus.Error
	if !errors.As(err, &e) || e.Code != want {
		f.Fatalf("error %v, want one with the code %q", err, want)
	}
}

func ptr[T any](v T) *T { return &v }

func bodies(messages []*azservicebus.ReceivedMessage) string {
	var all []string
	for _, m := range messages {
		all = append(all, string(m.Body))
	}
	return fmt.Sprint(all)
}
