package servicebustest

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Sizes and times of the service, by Microsoft's page "Service Bus quotas and limits" and the pages of each feature.
const (
	StandardMessageSize = 256 << 10 // the largest message of the Standard tier, in bytes
	PremiumMessageSize  = 1 << 20   // the default of the Premium tier

	defaultLockDuration     = time.Minute
	defaultMaxDeliveryCount = 10
)

// Config says what a [Server] is like. The zero value is a server without queues or topics on plain TCP and real time.
type Config struct {
	Queues []Queue
	Topics []Topic

	// Clock is the time of locks, schedules, times to live and duplicate windows. Nil is real time. Signs of life on a
	// connection always follow real time, because the client at the other end does.
	Clock Clock

	// TLS makes the server speak TLS, with a certificate of its own that [Server.RootCAs] vouches for.
	TLS bool

	// Port on 127.0.0.1, or 0 for a free one.
	Port int

	// MaxMessageSize is the largest message or batch, in bytes. 0 is StandardMessageSize.
	MaxMessageSize int

	// Authorize judges each token that a client puts. An error refuses it with status 401. Nil takes every token.
	Authorize func(Token) error
}

// Token is what a client puts before it opens a link.
type Token struct {
	Audience string // amqp[s]://<host>/<entity>
	Type     string // "servicebus.windows.net:sastoken" or "jwt"
	Value    string
}

// Queue describes a queue.
type Queue struct {
	Name string
	Delivery

	// DuplicateWindow is how long a message id is remembered: another message with that id is accepted and dropped. 0
	// is off.
	DuplicateWindow time.Duration

	// MaxBytes bounds the messages that are stored, those of the dead-letter queue too. 0 is no bound.
	MaxBytes int
}

// Topic describes a topic. Every subscription receives a copy of every message.
type Topic struct {
	Name            string
	Subscriptions   []Subscription
	DuplicateWindow time.Duration // as a queue's
	MaxBytes        int           // over all subscriptions
}

// Subscription describes a subscription to a topic.
type Subscription struct {
	Name string
	Delivery
}

// Delivery is what queues and subscriptions have in common.
type Delivery struct {
	LockDuration     time.Duration // 0 is one minute
	MaxDeliveryCount int           // 0 is 10
	TTL              time.Duration // bounds each message's own; 0 is no bound

	// DeadLetterExpired keeps messages whose time to live is over in the dead-letter queue. Else they are gone.
	DeadLetterExpired bool
}

func (d Delivery) withDefaults() Delivery {
	if d.LockDuration == 0 {
		d.LockDuration = defaultLockDuration
	}
	if d.MaxDeliveryCount == 0 {
		d.MaxDeliveryCount = defaultMaxDeliveryCount
	}
	return d
}

// Names below an entity's own.
const (
	subscriptionsPart = "/Subscriptions/"
	deadLetterPart    = "/$DeadLetterQueue"
	transferPart      = "/$Transfer"
	managementPart    = "/$management"
)

// check reports every mistake in c.
func (c Config) check() error {
	var mistakes []error
	seen := map[string]bool{}
	name := func(kind, scope, name string) {
		path := fold(scope + name)
		switch {
		case name == "":
			mistakes = append(mistakes, fmt.Errorf("a %s without a name", kind))
		case strings.ContainsAny(name, "$?#@"):
			mistakes = append(mistakes, fmt.Errorf("%s %q: a name has no $, ?, # or @", kind, name))
		case seen[path]:
			mistakes = append(mistakes, fmt.Errorf("%s %q is there twice", kind, name))
		}
		seen[path] = true
	}
	delivery := func(name string, d Delivery) {
		if d.LockDuration < 0 || d.MaxDeliveryCount < 0 || d.TTL < 0 {
			mistakes = append(mistakes, fmt.Errorf("%q has a negative setting", name))
		}
	}
	for _, q := range c.Queues {
		name("queue", "", q.Name)
		delivery(q.Name, q.Delivery)
	}
	for _, t := range c.Topics {
		name("topic", "", t.Name)
		for _, s := range t.Subscriptions {
			name("subscription", t.Name+subscriptionsPart, s.Name)
			delivery(s.Name, s.Delivery)
		}
	}
	if c.MaxMessageSize < 0 {
		mistakes = append(mistakes, errors.New("a negative MaxMessageSize"))
	}
	return errors.Join(mistakes...)
}

// fold makes paths comparable: the service does not tell upper from lower case.
func fold(path string) string { return strings.ToLower(path) }
