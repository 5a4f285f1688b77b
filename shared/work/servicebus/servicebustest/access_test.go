package servicebustest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
)

// credential gives out tokens that say what they were asked for.
type credential struct{}

func (credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "for " + o.Scopes[0], ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func TestTLSWithTokenCredential(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []servicebustest.Token
	server := servicebustest.New(t, servicebustest.Config{
		TLS:    true,
		Queues: []servicebustest.Queue{{Name: "q"}, {Name: "secret"}},
		Authorize: func(token servicebustest.Token) error {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, token)
			if token.Audience == "amqps://ns.servicebus.windows.net/secret" {
				return errors.New("not for you")
			}
			return nil
		},
	})
	client, err := azservicebus.NewClient("ns.servicebus.windows.net", credential{}, &azservicebus.ClientOptions{
		CustomEndpoint: server.Addr(), TLSConfig: &tls.Config{RootCAs: server.RootCAs()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	f := &fixture{T: t, server: server, client: client}
	f.sender, f.receiver = f.newSender("q"), f.newReceiver(nil)
	f.send("a")
	f.complete(f.receiver, f.receiveOne(f.receiver))
	f.has("q", servicebustest.Counts{})
	f.wantCode(f.newSender("secret").SendMessage(t.Context(), &azservicebus.Message{}, nil), azservicebus.CodeUnauthorizedAccess)
	mu.Lock()
	defer mu.Unlock()
	want := servicebustest.Token{Audience: "amqps://ns.servicebus.windows.net/q/$management", Type: "jwt", Value: "for https://servicebus.azure.net//.default"}
	if !slices.Contains(seen, want) {
		t.Errorf("tokens %+v, none is %+v", seen, want)
	}
}

func TestTLSIsVerified(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{TLS: true})
	other := servicebustest.New(t, servicebustest.Config{TLS: true})
	dial := func(config *tls.Config) error {
		c, err := tls.Dial("tcp", server.Addr(), config)
		if err == nil {
			_ = c.Close()
		}
		return err
	}
	if err := dial(&tls.Config{RootCAs: server.RootCAs()}); err != nil {
		t.Error(err)
	}
	if err := dial(&tls.Config{RootCAs: other.RootCAs()}); err == nil {
		t.Error("another server's authority vouches for this one")
	}
	if err := dial(&tls.Config{RootCAs: server.RootCAs(), ServerName: "example.com"}); err == nil {
		t.Error("the certificate is for a name that is not its own")
	}
}

func TestUnauthorized(t *testing.T) {
	t.Parallel()
	refusing := true
	var mu sync.Mutex
	f := newFixtureOf(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}, Authorize: func(token servicebustest.Token) error {
		mu.Lock()
		defer mu.Unlock()
		if refusing || token.Type != "servicebus.windows.net:sastoken" {
			return errors.New("no")
		}
		return nil
	}})
	f.wantCode(f.sender.SendMessage(t.Context(), &azservicebus.Message{}, nil), azservicebus.CodeUnauthorizedAccess)
	_, err := f.receiver.ReceiveMessages(t.Context(), 1, nil)
	f.wantCode(err, azservicebus.CodeUnauthorizedAccess)
	if n := f.server.Stats().Links; n != 0 {
		t.Errorf("%d links", n)
	}
	mu.Lock()
	refusing = false
	mu.Unlock()
	f.send("a")
}

func TestNotFound(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}, Topics: []servicebustest.Topic{{Name: "t"}}})
	f.wantCode(f.newSender("nope").SendMessage(t.Context(), &azservicebus.Message{}, nil), azservicebus.CodeNotFound)
	r, err := f.client.NewReceiverForSubscription("t", "nope", nil)
	f.check(err)
	_, err = r.ReceiveMessages(t.Context(), 1, nil)
	f.wantCode(err, azservicebus.CodeNotFound)
	// A topic without subscribers takes messages and keeps none.
	f.check(f.newSender("t").SendMessage(t.Context(), &azservicebus.Message{}, nil))
	// Names are the same in upper and lower case.
	f.check(f.newSender("Q").SendMessage(t.Context(), &azservicebus.Message{}, nil))
	f.has("q", servicebustest.Counts{Active: 1})
}

func TestWrongDirection(t *testing.T) {
	t.Parallel()
	f := newFixtureOf(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}},
		Topics: []servicebustest.Topic{{Name: "t", Subscriptions: []servicebustest.Subscription{{Name: "s"}}}}})
	for _, entity := range []string{"t/Subscriptions/s", "q/$DeadLetterQueue"} {
		if err := f.newSender(entity).SendMessage(t.Context(), &azservicebus.Message{}, nil); err == nil {
			t.Errorf("sent to %s", entity)
		}
	}
	r, err := f.client.NewReceiverForQueue("t", nil)
	f.check(err)
	if _, err := r.ReceiveMessages(t.Context(), 1, nil); err == nil {
		t.Error("received from a topic")
	}
	transfer := f.newReceiver(&azservicebus.ReceiverOptions{SubQueue: azservicebus.SubQueueTransfer})
	if peeked, err := transfer.PeekMessages(t.Context(), 1, nil); err != nil || len(peeked) != 0 {
		t.Errorf("transfer dead-letter queue: %d messages, %v", len(peeked), err)
	}
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	_, err := servicebustest.Start(servicebustest.Config{
		Queues:         []servicebustest.Queue{{Name: "q"}, {Name: "Q"}, {}, {Name: "a$b"}, {Name: "n", Delivery: servicebustest.Delivery{TTL: -1}}},
		Topics:         []servicebustest.Topic{{Name: "q", Subscriptions: []servicebustest.Subscription{{Name: "s"}, {Name: "S"}}}},
		MaxMessageSize: -1,
	})
	var all interface{ Unwrap() []error }
	if !errors.As(err, &all) || len(all.Unwrap()) != 7 {
		t.Errorf("mistakes: %v", err)
	}
	server := servicebustest.New(t, servicebustest.Config{})
	_, port, _ := net.SplitHostPort(server.Addr())
	taken, _ := strconv.Atoi(port)
	if _, err := servicebustest.Start(servicebustest.Config{Port: taken}); err == nil {
		t.Error("started on a port that is taken")
	}
	for name, call := range map[string]func(){
		"Counts":      func() { server.Counts("nope") },
		"Fail":        func() { server.Fail(servicebustest.Send, "nope", 1, busy) },
		"DetachLinks": func() { server.DetachLinks("nope", detached) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of an entity that is not there did not panic", name)
				}
			}()
			call()
		}()
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		err := f.server.Await(t.Context(), "q", func(c servicebustest.Counts) bool { return c.Active == 2 })
		if err != nil {
			t.Error(err)
		}
	})
	f.send("a", "b")
	waiting.Wait()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := f.server.Await(ctx, "q", func(c servicebustest.Counts) bool { return c.Active == 3 })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("await with a context that is over: %v", err)
	}
}

func TestManualClock(t *testing.T) {
	t.Parallel()
	clock := servicebustest.NewManualClock(start)
	var calls []string
	note := func(name string) func() {
		return func() { calls = append(calls, name+" "+clock.Now().Sub(start).String()) }
	}
	clock.AfterFunc(3*time.Second, note("c"))
	clock.AfterFunc(time.Second, func() {
		note("a")()
		clock.AfterFunc(time.Second, note("b")) // due within the same advance
	})
	stopped := clock.AfterFunc(time.Second, note("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("a timer is stopped once")
	}
	clock.Advance(2500 * time.Millisecond)
	if want := []string{"a 1s", "b 2s"}; !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
	if got := clock.Now().Sub(start); got != 2500*time.Millisecond {
		t.Errorf("the clock is at %v", got)
	}
	clock.Advance(time.Second)
	if len(calls) != 3 || calls[2] != "c 3s" {
		t.Errorf("calls %q", calls)
	}
}

// TestRealTime: without a clock of its own a server follows the machine's.
func TestRealTime(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q", Delivery: servicebustest.Delivery{LockDuration: 50 * time.Millisecond}}}})
	f := &fixture{T: t, server: server, client: connect(t, server)}
	f.sender, f.receiver = f.newSender("q"), f.newReceiver(nil)
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("a"), ScheduledEnqueueTime: ptr(time.Now().Add(50 * time.Millisecond))}, nil))
	f.await("q", servicebustest.Counts{Active: 1})
	first := f.receiveOne(f.receiver)
	f.await("q", servicebustest.Counts{Active: 1}) // the lock has ended
	if m := f.receiveOne(f.receiver); m.DeliveryCount != 2 || m.EnqueuedTime.After(*first.LockedUntil) {
		t.Errorf("%+v", m)
	}
}
