package servicebustest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// Server is a running model of a Service Bus namespace. Its methods may be called from several goroutines.
type Server struct {
	config   Config
	listener net.Listener
	tls      *tls.Config
	roots    *x509.CertPool
	running  sync.WaitGroup
	entities map[string]entity // by folded path; the same from start to end

	mu          sync.Mutex // guards everything below, and whatever is reached from it and from an entity
	agenda      agenda
	connections map[*connection]bool
	faults      []*fault
	stats       Stats
	closed      bool
	watchers    int
	changed     chan struct{} // closed after a change while somebody watches
}

// entity is what an address stands for: something to send to, to receive from, or both.
type entity struct {
	path   string
	intake *intake // nil for a subscription and for a dead-letter queue
	queue  *queue  // nil for a topic
}

// Start starts a server on a loopback address. It fails when config is not sound or the port is taken.
func Start(config Config) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("servicebustest: %w", err)
	}
	if config.Clock == nil {
		config.Clock = realClock{}
	}
	if config.MaxMessageSize == 0 {
		config.MaxMessageSize = StandardMessageSize
	}
	s := &Server{config: config, entities: map[string]entity{}, connections: map[*connection]bool{}, changed: make(chan struct{})}
	s.agenda = agenda{clock: config.Clock, wake: s.wake}
	for _, q := range config.Queues {
		s.addQueue(q)
	}
	for _, t := range config.Topics {
		s.addTopic(t)
	}
	if config.TLS {
		if err := s.certify(); err != nil {
			return nil, fmt.Errorf("servicebustest: make certificate: %w", err)
		}
	}
	var err error
	if s.listener, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(config.Port))); err != nil {
		return nil, fmt.Errorf("servicebustest: listen: %w", err)
	}
	s.running.Go(s.listen)
	return s, nil
}

// TB is what [New] needs of a test or benchmark.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// New starts a server that is closed when the test is over.
func New(t TB, config Config) *Server {
	t.Helper()
	s, err := Start(config)
	if err != nil {
		t.Fatalf("start the Service Bus server: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Server) addQueue(c Queue) {
	in := s.newIntake(c.Name, c.DuplicateWindow, c.MaxBytes)
	s.addStore(in, in, c.Name, c.Delivery)
}

func (s *Server) addTopic(c Topic) {
	in := s.newIntake(c.Name, c.DuplicateWindow, c.MaxBytes)
	s.entities[fold(c.Name)] = entity{path: c.Name, intake: in}
	for _, sub := range c.Subscriptions {
		s.addStore(in, nil, c.Name+subscriptionsPart+sub.Name, sub.Delivery)
	}
}

func (s *Server) newIntake(path string, window time.Duration, maxBytes int) *intake {
	return &intake{server: s, path: path, scheduled: map[int64]*message{}, window: window, seen: map[string]time.Time{}, maxBytes: maxBytes}
}

// addStore adds the queue that in fills and its dead-letter queues. Senders may address it where sendable is not nil. The
// transfer dead-letter queue is for messages that could not be forwarded; as nothing is forwarded here, it stays empty.
func (s *Server) addStore(in, sendable *intake, path string, d Delivery) {
	add := func(path string, deadLetters *queue) *queue {
		q := &queue{server: s, intake: in, path: path, settings: d.withDefaults(), deadLetters: deadLetters,
			deferred: map[int64]*message{}, locks: map[amqp.UUID]*lock{}}
		s.entities[fold(path)] = entity{path: path, queue: q}
		return q
	}
	add(path+transferPart+deadLetterPart, nil)
	q := add(path, add(path+deadLetterPart, nil))
	s.entities[fold(path)] = entity{path: path, intake: sendable, queue: q}
	in.queues = append(in.queues, q)
}

func (s *Server) listen() {
	for {
		tcp, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.running.Go(func() { s.serve(tcp) })
	}
}

// Close cuts every connection and ends the server. What it stored is gone.
func (s *Server) Close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	s.cutAll()
	s.agenda.stop()
	s.unlock()
	s.running.Wait()
}

// Addr is the server's address, host and port.
func (s *Server) Addr() string { return s.listener.Addr().String() }

// ConnectionString is what a client connects with. Over TLS the client has to trust [Server.RootCAs] too.
func (s *Server) ConnectionString() string {
	text := "Endpoint=sb://" + s.Addr() + ";SharedAccessKeyName=test;SharedAccessKey=dGVzdA=="
	if s.tls == nil {
		text += ";UseDevelopmentEmulator=true" // has the client speak plain TCP
	}
	return text
}

func (s *Server) now() time.Time { return s.config.Clock.Now() }

// wake keeps what is due; the clock calls it.
func (s *Server) wake() {
	s.mu.Lock()
	defer s.unlock()
	if !s.closed {
		s.agenda.run()
	}
}

// unlock ends a change: it lets go of the lock and tells those who watch.
func (s *Server) unlock() {
	if s.watchers > 0 {
		close(s.changed)
		s.changed = make(chan struct{})
	}
	s.mu.Unlock()
}

// find returns the entity at a path.
func (s *Server) find(path string) (entity, bool) {
	e, ok := s.entities[fold(path)]
	return e, ok
}

// must returns the entity at a path that a test names.
func (s *Server) must(path string) entity {
	e, ok := s.find(path)
	if !ok {
		panic(fmt.Sprintf("servicebustest: the server has no entity %q", path))
	}
	return e
}

// Counts says how many messages of an entity are in which state.
type Counts struct {
	Active       int // waiting for a receiver
	Locked       int // with a receiver
	Scheduled    int // waiting for their time; those of a topic count there, not at its subscriptions
	Deferred     int // put aside, to be received by number
	DeadLettered int // in its dead-letter queue, in whatever state
	Bytes        int // stored, over all states; the same for a topic and each of its subscriptions
}

// Empty reports whether nothing is stored but dead letters.
func (c Counts) Empty() bool { return c.Active+c.Locked+c.Scheduled+c.Deferred == 0 }

// Counts counts the messages of a queue, a topic, a subscription (topic/Subscriptions/name) or a dead-letter queue
// (…/$DeadLetterQueue). It panics when the server has no such entity, as a count of nothing would prove nothing.
func (s *Server) Counts(path string) Counts {
	e := s.must(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.counts()
}

func (e entity) counts() Counts {
	var c Counts
	if e.intake != nil {
		c.Scheduled, c.Bytes = len(e.intake.scheduled), e.intake.bytes
	}
	if q := e.queue; q != nil {
		c.Active, c.Locked, c.Deferred, c.Bytes = len(q.active), len(q.locks), len(q.deferred), q.intake.bytes
		if q.deadLetters != nil {
			c.DeadLettered = len(q.deadLetters.active) + len(q.deadLetters.locks) + len(q.deadLetters.deferred)
		}
	}
	return c
}

// Await returns once the counts of an entity are as wanted, or with the error of ctx.
func (s *Server) Await(ctx context.Context, path string, wanted func(Counts) bool) error {
	e := s.must(path)
	s.mu.Lock()
	s.watchers++
	defer func() {
		s.mu.Lock()
		s.watchers--
		s.mu.Unlock()
	}()
	for {
		counts, changed := e.counts(), s.changed
		s.mu.Unlock()
		if wanted(counts) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("await %s, last %+v: %w", path, counts, ctx.Err())
		}
		s.mu.Lock()
	}
}

// Stats counts what clients have asked of a server since it started.
type Stats struct {
	Connections int // accepted
	Links       int // opened to entities
	Tokens      int // put
	Transfers   int // sent to entities; a batch is one
	Messages    int // in them
	Delivered   int // deliveries to receivers, repeated ones too
	Settled     int // deliveries settled, with whatever outcome
	Requests    int // to $management
}

// Stats returns the counts of now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}
