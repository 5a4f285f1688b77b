package servicebustest

import (
	"strings"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// Point is where a fault strikes.
type Point int

const (
	Attach     Point = iota // a link is opened to an entity
	Send                    // a message or a batch arrives
	Settle                  // a delivery is settled, over its link or by lock token
	Management              // a request arrives at an entity's $management
)

// Error is what a client is told. The condition decides what it does about it: "com.microsoft:server-busy" has it try
// again, "amqp:link:detach-forced" open the link anew, "amqp:connection:forced" the connection.
type Error struct{ Condition, Description string }

func (e Error) amqp() *amqp.Error {
	return &amqp.Error{Condition: amqp.Symbol(e.Condition), Description: e.Description}
}

// fault is something that goes wrong a number of times.
type fault struct {
	point Point
	path  string // folded; "" is every entity
	left  int
	kind  faultKind
	err   Error
}

type faultKind int

const (
	refuse faultKind = iota + 1
	loseAnswer
	stall
)

// Fail makes the next n operations on an entity fail with err and without effect. A condition that begins with amqp:link:
// ends the link, one that begins with amqp:connection: the connection. The entity "" is any.
func (s *Server) Fail(p Point, entity string, n int, err Error) { s.plan(p, entity, n, refuse, err) }

// LoseAnswer makes the next n operations on an entity take effect and then cuts the connection instead of answering, so
// that the client can't know. The entity "" is any.
func (s *Server) LoseAnswer(p Point, entity string, n int) {
	s.plan(p, entity, n, loseAnswer, Error{})
}

// Stall makes the server ignore the next n operations on an entity: no effect, no answer, and the connection stays. The
// entity "" is any.
func (s *Server) Stall(p Point, entity string, n int) { s.plan(p, entity, n, stall, Error{}) }

func (s *Server) plan(p Point, path string, n int, kind faultKind, err Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if path != "" {
		s.must(path)
	}
	s.faults = append(s.faults, &fault{point: p, path: fold(path), left: n, kind: kind, err: err})
}

// strike uses up one of the faults planned for an operation and returns it; the zero fault is none.
func (s *Server) strike(p Point, path string) fault {
	for _, f := range s.faults {
		if f.point == p && f.left > 0 && (f.path == "" || f.path == fold(path)) {
			f.left--
			return *f
		}
	}
	return fault{}
}

// DropConnections cuts every connection, without a word. Locks live on.
func (s *Server) DropConnections() {
	s.mu.Lock()
	defer s.unlock()
	s.cutAll()
}

func (s *Server) cutAll() {
	for c := range s.connections {
		c.cut()
	}
}

// DetachLinks ends every link of senders and receivers to an entity with err and returns how many there were.
func (s *Server) DetachLinks(entity string, err Error) int {
	s.mu.Lock()
	defer s.unlock()
	path, n := fold(s.must(entity).path), 0
	for c := range s.connections {
		for _, ss := range c.sessions {
			for _, l := range ss.links {
				if fold(l.address) == path {
					l.detach(err.amqp())
					n++
				}
			}
		}
	}
	return n
}

func endsLink(e *amqp.Error) bool { return strings.HasPrefix(string(e.Condition), conditionLinkPrefix) }

func endsConnection(e *amqp.Error) bool {
	return strings.HasPrefix(string(e.Condition), conditionConnectionPrefix)
}
