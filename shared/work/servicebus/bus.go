package servicebus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work"
)

var (
	// ErrClosed: the bus was closed; the operation was not begun, or stopped waiting.
	ErrClosed = errors.New("service bus connection is closed")
	// ErrNoEntity: the namespace has no queue or topic of that name.
	ErrNoEntity = errors.New("does not exist in the namespace")
	// ErrRefused: the namespace does not accept the credential for that queue or topic.
	ErrRefused = errors.New("is refused to this credential")
)

// How long one call may take. The library has no limit of its own for an attempt.
const (
	settleTimeout = 30 * time.Second
	closeTimeout  = 5 * time.Second
)

// Bus is one process's hold on a namespace. It is safe for concurrent use.
type Bus struct {
	client *azservicebus.Client
	o      Options
	// poll is how long one receive waits, and deaf how many of them may pass without a message before the receiver is made
	// anew: ten minutes together. patience is for one attempt at a settlement, renewing for one renewal of a lock, and sending
	// for one batch.
	poll              time.Duration
	deaf              int
	patience          time.Duration
	renewing, sending time.Duration

	// life ends when Close begins: who waits for messages stops waiting.
	life context.Context
	end  context.CancelFunc

	mu      sync.Mutex
	closed  bool
	under   sync.WaitGroup // operations under way
	inlets  map[work.Queue]*inlet
	outlets map[string]*outlet // by entity
}

// Open makes a bus. It opens no connection; see [Bus.Check].
func Open(o Options) (*Bus, error) {
	client, err := o.connect()
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Bus{
		client: client, o: o, poll: 2 * time.Minute, deaf: 5, patience: time.Second,
		renewing: 10 * time.Second, sending: 30 * time.Second,
		inlets: map[work.Queue]*inlet{}, outlets: map[string]*outlet{},
	}
	b.life, b.end = context.WithCancel(context.Background())
	return b, nil
}

// Close refuses new operations, lets those under way end, sends what waits to be sent, and closes the connection. Who waits in
// Receive gets ErrClosed. When ctx ends first the connection is closed at once and Close returns ctx's error.
func (b *Bus) Close(ctx context.Context) error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.end()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.under.Wait()
	}()
	var err error
	select {
	case <-ended:
	case <-ctx.Done():
		err = fmt.Errorf("close service bus: %w", ctx.Err())
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	return errors.Join(err, b.client.Close(ctx))
}

// begin admits an operation; end it with b.under.Done.
func (b *Bus) begin() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return ErrClosed
	}
	b.under.Add(1)
	return nil
}

func (b *Bus) inlet(q work.Queue) *inlet {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := b.inlets[q]
	if in == nil {
		in = newInlet(b, q)
		b.inlets[q] = in
	}
	return in
}

func (b *Bus) outlet(entity string) *outlet {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.outlets[entity]
	if out == nil {
		out = &outlet{bus: b, entity: entity}
		b.outlets[entity] = out
	}
	return out
}

// explain adds what an operator must know of a failure that does not pass by itself.
func explain(err error, doing, entity string) error {
	var known *azservicebus.Error
	if errors.As(err, &known) {
		switch known.Code {
		case azservicebus.CodeNotFound:
			return fmt.Errorf("%s %s: %w: %w", doing, entity, ErrNoEntity, err)
		case azservicebus.CodeUnauthorizedAccess:
			return fmt.Errorf("%s %s: %w: %w", doing, entity, ErrRefused, err)
		}
	}
	return fmt.Errorf("%s %s: %w", doing, entity, err)
}

func lockLost(err error) bool {
	var known *azservicebus.Error
	return errors.As(err, &known) && known.Code == azservicebus.CodeLockLost
}
