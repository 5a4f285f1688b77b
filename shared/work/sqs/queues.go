package sqs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"pinreset/shared/awsapi"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

var (
	// ErrNoQueue: there is no queue of that name.
	ErrNoQueue = errors.New("does not exist")
	// ErrRefused: the role may not do that with the queue.
	ErrRefused = errors.New("is refused to this role")
	// ErrNotHeld: a parcel was to be set aside that this process did not receive, so it has nothing to make a copy of.
	ErrNotHeld = errors.New("the message was not received by this process")
)

// Limits of the service ("Amazon SQS message quotas").
const (
	MaxDelay   = 15 * time.Minute // of a message
	maxBatch   = 10               // messages of one call
	maxBytes   = 1 << 20          // of a message, and of those of one call together, attributes included
	maxVisible = 12 * time.Hour   // of a message's time in hands
	maxWait    = 20 * time.Second // of a long poll
)

// DeadSuffix ends the name of a queue's dead-letter queue, which begins with the queue's own.
const DeadSuffix = "-dead"

// How long one call may take, all its attempts together; a long poll has maxWait besides.
const callTimeout = 15 * time.Second

// Options say where the queues are.
type Options struct {
	// URL is that of any of the queues without the queue's own name: https://sqs.REGION.amazonaws.com/ACCOUNT/PREFIX.
	URL     string
	Account *awsapi.Account
	// Visibility is for how long a parcel is held that Receive returned, and for how much longer by Renew; a minute if zero. Whole
	// seconds, up to 12 hours.
	Visibility time.Duration
	// Topics are queues whose messages are published to a topic of SNS too, named by its ARN, for whoever subscribes to it:
	// work.Announcements, in practice. What a Retry or Postpone puts off is not published again.
	Topics map[work.Queue]string
	Now    func() time.Time // time.Now if nil
}

// Queues are the queues of one account and region. They are safe for concurrent use.
type Queues struct {
	o        Options
	endpoint string

	mu   sync.Mutex
	held map[string]held // by token
	full int             // of held, where it is cleared up
}

type held struct {
	parcel outbox.Received
	until  time.Time
}

var _ outbox.Queue = (*Queues)(nil)

// Open returns the queues. It calls nothing; see [Queues.Check].
func Open(o Options) (*Queues, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Count(u.Path, "/") != 2 {
		return nil, errors.New("the URL of the queues must be https://sqs.REGION.amazonaws.com/ACCOUNT/PREFIX, where the prefix may be empty")
	}
	if o.Visibility == 0 {
		o.Visibility = time.Minute
	}
	if o.Visibility < time.Second || o.Visibility > maxVisible || o.Visibility%time.Second != 0 {
		return nil, fmt.Errorf("visibility must be whole seconds up to %s, not %s", maxVisible, o.Visibility)
	}
	if o.Account == nil {
		return nil, errors.New("an account is required")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Queues{o: o, endpoint: u.Scheme + "://" + u.Host + "/", held: map[string]held{}, full: 256}, nil
}

// Close lets go of idle connections. Nothing else is held open.
func (q *Queues) Close(context.Context) error {
	q.o.Account.HTTP.CloseIdleConnections()
	return nil
}

func (q *Queues) url(queue work.Queue) string { return q.o.URL + string(queue) }

// call calls an operation of SQS as repeat has it.
func (q *Queues) call(ctx context.Context, operation string, patience time.Duration, in, out any) error {
	return repeat(ctx, patience, func(ctx context.Context) error {
		return q.o.Account.JSON(ctx, "sqs", q.endpoint, "AmazonSQS."+operation, in, out)
	})
}

// repeat calls until it is done, refused, or its time is over. Each operation may be repeated: what is sent twice is there
// twice, and settled once.
func repeat(ctx context.Context, patience time.Duration, call func(context.Context) error) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := call(bounded)
		if err == nil || !awsapi.Passing(err) || attempt == 3 {
			return err
		}
		timer := time.NewTimer(50 * time.Millisecond << (2 * attempt))
		select {
		case <-timer.C:
		case <-bounded.Done():
			timer.Stop()
			return err
		}
	}
}

// explain adds what an operator must know of a refusal.
func (q *Queues) explain(err error, doing string, queue work.Queue) error {
	name := q.o.URL[strings.LastIndexByte(q.o.URL, '/')+1:] + string(queue)
	var refused *awsapi.Error
	if errors.As(err, &refused) {
		switch refused.Code {
		case "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue":
			return fmt.Errorf("%s %s: %w: %w", doing, name, ErrNoQueue, err)
		case "AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken", "InvalidSecurity":
			return fmt.Errorf("%s %s: %w: %w", doing, name, ErrRefused, err)
		}
	}
	return fmt.Errorf("%s %s: %w", doing, name, err)
}

// Check looks at each queue and its dead-letter queue as Look does.
func (q *Queues) Check(ctx context.Context, queues []work.Queue) error {
	var all []work.Queue
	for _, queue := range queues {
		all = append(all, queue, queue+DeadSuffix)
	}
	return q.Look(ctx, all)
}

// Look looks at the queues and at no other, for a role that may look at no other, and reports all that is missing (ErrNoQueue) or
// refused (ErrRefused), by name. That messages may be sent and received it cannot tell.
func (q *Queues) Look(ctx context.Context, queues []work.Queue) error {
	failed := make([]error, len(queues))
	var all sync.WaitGroup
	for i, name := range queues {
		all.Go(func() {
			in := map[string]any{"QueueUrl": q.url(name), "AttributeNames": []string{"QueueArn"}}
			if err := q.call(ctx, "GetQueueAttributes", callTimeout, in, nil); err != nil {
				failed[i] = q.explain(err, "look at", name)
			}
		})
	}
	all.Wait()
	return errors.Join(failed...)
}

func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

func count(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 1
	}
	return max(n, 1)
}
