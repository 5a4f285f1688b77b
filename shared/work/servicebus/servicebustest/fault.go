package servicebustest

import (
	"slices"
	"strings"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// Point is where a fault strikes.
type Point int

// The points.
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
//
// A settlement that is refused with any other condition is one that azservicebus v1.11.0 tries a second time after four
// seconds, whatever its options, and then takes for done, although it is not.
func (s *Server) Fail(p Point, entity string, n int, err Error) { s.plan(p, entity, n, refuse, err) }

// LoseAnswer makes the next n operations on an entity take effect and then cuts the connection instead of answering, so
// that the client can't know. The entity "" is any.
func (s *Server) LoseAnswer(p Point, entity string, n int) {
	s.plan(p, entity, n, loseAnswer, Error{})
}

// Stall makes the server ignore the next n operations on an entity: no effect, no answer, and the connection stays. The
// entity "" is any.
func (s *Server) Stall(p Point, entity string, n int) { s.plan(p, entity, n, stall, Error{}) }

// Heal takes back all faults that have not struck yet.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) plan(p Point, path string, n int, kind faultKind, err Error) {
	if path != "" {
		s.must(path)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{point: p, path: fold(path), left: n, kind: kind, err: err})
}

// strike uses up one of the faults planned for an operation and returns it; the zero fault is none.
func (s *Server) strike(p Point, path string) fault {
	i := slices.IndexFunc(s.faults, func(f *fault) bool {
		return f.point == p && f.left > 0 && (f.path == "" || f.path == fold(path))
	})
	if i < 0 {
		return fault{}
	}
	f := s.faults[i]
	if f.left--; f.left == 0 {
		s.faults = slices.Delete(s.faults, i, i+1)
	}
	return *f
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
	path, n := fold(s.must(entity).path), 0
	s.mu.Lock()
	defer s.unlock()
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
