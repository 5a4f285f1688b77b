// Package sqstest is a model of Amazon SQS, for tests: standard queues over the AWS JSON protocol 1.0 on a port of this machine. It was
// made from SQS's published documentation and never compared with the service; passing over it proves agreement with the model.
//
// It models: SendMessage and SendMessageBatch with delays, attributes and their limits; ReceiveMessage with long polling, visibility and
// receive counts; DeleteMessage, ChangeMessageVisibility, GetQueueAttributes and GetQueueUrl; redrive to a dead-letter queue; requests
// that bear no well-formed signature of version 4 for SQS, which are refused.
//
// It does not: check signatures against a secret; FIFO queues, retention, purging, policies, encryption, delivery of one message twice or
// out of order by the service's own doing, the bound of twelve hours on a message's visibility, and the limit of messages in flight.
package sqstest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Account is the account that the queues are in, and Region the region.
const (
	Account = "123456789012"
	Region  = "eu-central-1"
)

// Queue is a queue's settings.
type Queue struct {
	Name        string
	Visibility  time.Duration // of a receive that asks for none; 30 s if zero
	DeadLetter  string        // name of the queue that a message goes to which was received MaxReceives times; "" for none
	MaxReceives int
	MaxBytes    int      // of the messages of one call; 1 MiB if zero
	Forbidden   []string // operations that the role may not call on it
}

// Config is a server's. Now tells the time; time.Now if nil. Who sets it calls [Server.Wake] when it has moved.
type Config struct {
	Queues []Queue
	Now    func() time.Time
}

// Fault is what befalls a call.
type Fault int

// Faults.
const (
	Throttled   Fault = iota + 1 // refused before anything was done
	Broken                       // answered with 500 before anything was done
	Lost                         // done, and the connection cut before the answer
	Unreachable                  // the connection is cut before anything was done
)

// Server is the service. It is safe for concurrent use.
type Server struct {
	http *httptest.Server
	now  func() time.Time
	real bool

	mu     sync.Mutex
	queues map[string]*queue
	serial int
	faults map[string][]Fault
	calls  map[string]int
	wake   chan struct{}            // closed when something may have come due
	ended  map[string]chan struct{} // by the id of a call of Client's, closed when it has been answered or dropped
}

// New starts a server that ends with the test.
func New(t testing.TB, c Config) *Server {
	s := &Server{now: c.Now, real: c.Now == nil, queues: map[string]*queue{}, faults: map[string][]Fault{}, calls: map[string]int{}, wake: make(chan struct{}), ended: map[string]chan struct{}{}}
	if s.now == nil {
		s.now = time.Now
	}
	for _, q := range c.Queues {
		if q.Visibility == 0 {
			q.Visibility = 30 * time.Second
		}
		s.queues[q.Name] = &queue{Queue: q}
	}
	s.http = httptest.NewServer(s)
	t.Cleanup(func() {
		s.http.CloseClientConnections()
		s.http.Close()
	})
	return s
}

// Endpoint is the server's address, and URL that of a queue without its name.
func (s *Server) Endpoint() string { return s.http.URL }
func (s *Server) URL() string      { return s.http.URL + "/" + Account + "/" }

// callHeader tells the server which of Client's calls it serves. SDKs send the header too.
const callHeader = "Amz-Sdk-Invocation-Id"

// Client returns an HTTP client for tests on a clock of their own. A call that its caller gives up returns when the server has noticed.
// Otherwise the server, when the clock is moved next, could hand a message to somebody who has gone: SQS does that too, and its messages
// come again when their visibility ends, but no clock that stands ends it.
func (s *Server) Client() *http.Client { return &http.Client{Transport: noticed{s}} }

type noticed struct{ s *Server }

func (n noticed) RoundTrip(r *http.Request) (*http.Response, error) {
	ended := make(chan struct{})
	n.s.mu.Lock()
	n.s.serial++
	id := strconv.Itoa(n.s.serial)
	n.s.ended[id] = ended
	n.s.mu.Unlock()
	r = r.Clone(r.Context())
	r.Header.Set(callHeader, id)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		select {
		case <-ended:
		case <-time.After(time.Second): // it never got there
		}
	}
	return res, err
}

// end closes what a call of Client's waits for.
func (s *Server) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ended, ok := s.ended[id]; ok {
		close(ended)
		delete(s.ended, id)
	}
}

// Fail lets the next calls of the operation, such as SendMessageBatch, meet the faults in turn.
func (s *Server) Fail(operation string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[operation] = append(s.faults[operation], faults...)
}

// Calls returns how often the operation was called.
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// Wake lets receivers look again: the clock was moved.
func (s *Server) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stir()
}

func (s *Server) stir() {
	close(s.wake)
	s.wake = make(chan struct{})
}

// refusal is an error of the protocol.
type refusal struct {
	status        int
	code, message string
}

func (s *Server) fault(operation string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[operation]++
	next := s.faults[operation]
	if len(next) == 0 {
		return 0
	}
	s.faults[operation] = next[1:]
	return next[0]
}

// signed is what version 4 of the signature looks like, of a request that has one of its headers signed at least.
var signed = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=[A-Z0-9a-z]+/\d{8}/` + Region + `/sqs/aws4_request, ?SignedHeaders=[a-z0-9;-]*host[a-z0-9;-]*, ?Signature=[0-9a-f]{64}$`)

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer s.end(r.Header.Get(callHeader))
	operation, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	var in request
	switch {
	case r.Method != http.MethodPost || !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.0":
		refuse(w, &refusal{http.StatusBadRequest, "UnknownOperationException", "no call of SQS"})
		return
	case !signed.MatchString(r.Header.Get("Authorization")) || r.Header.Get("X-Amz-Date") == "":
		refuse(w, &refusal{http.StatusForbidden, "IncompleteSignatureException", "the request is not signed"})
		return
	case json.NewDecoder(http.MaxBytesReader(w, r.Body, 8<<20)).Decode(&in) != nil:
		refuse(w, &refusal{http.StatusBadRequest, "SerializationException", "the body is no JSON"})
		return
	}
	fault := s.fault(operation)
	switch fault {
	case Throttled:
		refuse(w, &refusal{http.StatusBadRequest, "RequestThrottled", "slow down"})
		return
	case Broken:
		refuse(w, &refusal{http.StatusInternalServerError, "InternalFailure", "try again"})
		return
	case Unreachable:
		panic(http.ErrAbortHandler)
	}
	out, refused := s.do(r.Context(), operation, in)
	if fault == Lost {
		panic(http.ErrAbortHandler)
	}
	if refused != nil {
		refuse(w, refused)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	_ = json.NewEncoder(w).Encode(out) // who does not listen hears nothing
}

func refuse(w http.ResponseWriter, r *refusal) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(r.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + r.code, "message": r.message})
}
