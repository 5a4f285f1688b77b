// Package sqs carries messages of package work on Amazon SQS: the queue driver of package outbox, over standard queues.
//
// What SQS has not, this is instead:
//
//   - Duplicate detection: none on standard queues. A parcel that is sent again is there twice; the message's row in package outbox lets
//     one of its holders settle, and the other is completed without running.
//   - Delays beyond 15 minutes: package outbox asks again, if its MaxDelay is [MaxDelay].
//   - A reason with a dead letter: none. DeadLetter sends a copy to the queue's own dead-letter queue, with the reason in its
//     attributes, and then deletes the parcel. A crash between the two leaves the parcel, which comes again and is set aside again.
//   - Bytes: bodies and attributes are text that XML allows ("Amazon SQS message quotas"). Any other body goes as base64, and
//     an attribute says so.
//
// A receive that its caller gives up may have been answered by then. What the answer brings is made visible again; where the answer
// is lost, the messages come again at the end of their visibility, with one more delivery counted.
//
// SQS calls a message by the receipt handle of its latest delivery. What it does with an older one while somebody else holds the
// message is not documented for certain; package outbox does not rest on it.
//
// The driver makes and changes no queue. It needs sqs:SendMessage, sqs:ReceiveMessage, sqs:DeleteMessage, sqs:ChangeMessageVisibility
// and sqs:GetQueueAttributes. It has run against a model of SQS (package sqstest) and not against the service.
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
	Now        func() time.Time // time.Now if nil
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

func (q *Queues) url(queue work.Queue) string { return q.o.URL + string(queue) }

// call calls an operation until it is done, refused, or its time is over. Each of them may be repeated: what is sent twice is there
// twice, and settled once.
func (q *Queues) call(ctx context.Context, operation string, patience time.Duration, in, out any) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := q.o.Account.JSON(bounded, "sqs", q.endpoint, "AmazonSQS."+operation, in, out)
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

// Check looks at each queue and its dead-letter queue, and reports all that is missing (ErrNoQueue) or refused (ErrRefused), by name.
// That messages may be sent and received it cannot tell.
func (q *Queues) Check(ctx context.Context, queues []work.Queue) error {
	failed := make([]error, 2*len(queues))
	var all sync.WaitGroup
	for i, queue := range queues {
		for j, name := range []work.Queue{queue, queue + DeadSuffix} {
			all.Go(func() {
				in := map[string]any{"QueueUrl": q.url(name), "AttributeNames": []string{"QueueArn"}}
				if err := q.call(ctx, "GetQueueAttributes", callTimeout, in, nil); err != nil {
					failed[2*i+j] = q.explain(err, "look at", name)
				}
			})
		}
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
