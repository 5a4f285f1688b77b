package servicebustest

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

const (
	maxFrameSize  = 64 << 10
	writeTimeout  = 10 * time.Second       // for a peer that does not read
	leastInterval = 100 * time.Millisecond // between signs of life, whatever the peer asks for
)

// connection is one client's. A goroutine reads it and acts on what it reads under the server's lock; another writes what
// was put in its outbox, so that nobody waits for a socket with the lock held.
type connection struct {
	server *Server
	tcp    net.Conn
	stream net.Conn // tcp, or TLS over it
	out    outbox
	ended  bool

	sessions map[uint16]*session // by channel, which the answers use too
	maxFrame uint32              // that the peer takes
	granted  map[string]bool     // folded paths that a token was put for
	replies  map[string]*link    // where answers to requests go, by the address that a requester gave
}

// serve runs one connection to its end.
func (s *Server) serve(tcp net.Conn) {
	c := &connection{server: s, tcp: tcp, stream: tcp, sessions: map[uint16]*session{}, maxFrame: amqp.MinFrameSize,
		granted: map[string]bool{}, replies: map[string]*link{}}
	c.out.wake.L = &c.out.mu
	if s.tls != nil {
		c.stream = tls.Server(tcp, s.tls)
	}
	s.mu.Lock()
	s.connections[c] = true
	s.stats.Connections++
	if s.closed {
		c.cut()
	}
	s.unlock()

	var writing sync.WaitGroup
	writing.Go(func() { c.out.write(c.stream) })
	opened, err := c.read()
	s.mu.Lock()
	if opened && errors.Is(err, amqp.ErrMalformed) {
		c.send(0, amqp.Close{Error: &amqp.Error{Condition: conditionDecode, Description: err.Error()}}, nil)
	}
	c.leave()
	delete(s.connections, c)
	s.unlock()
	c.out.finish()
	writing.Wait()
	_ = tcp.Close()
}

// read greets the peer and then follows its orders, until the connection ends. It reports whether frames of AMQP had begun.
func (c *connection) read() (opened bool, err error) {
	r := bufio.NewReaderSize(c.stream, maxFrameSize)
	if err := c.greet(r); err != nil {
		return false, err
	}
	for {
		f, err := amqp.ReadFrame(r, maxFrameSize)
		if err != nil {
			return true, err
		}
		if len(f.Body) == 0 {
			continue // a sign of life
		}
		p, payload, err := amqp.DecodePerformative(f.Body)
		if err != nil {
			return true, err
		}
		c.server.mu.Lock()
		if !c.ended {
			err = c.obey(f.Channel, p, payload)
		}
		ended := c.ended
		c.server.unlock()
		if err != nil || ended {
			return true, err
		}
	}
}

// greet exchanges protocol headers and lets the peer in as nobody in particular: tokens say later what it may do.
func (c *connection) greet(r *bufio.Reader) error {
	protocol, err := amqp.ReadProtocolHeader(r)
	if err != nil {
		return err
	}
	if protocol == amqp.ProtocolSASL {
		const anonymous = amqp.Symbol("ANONYMOUS")
		c.out.add(amqp.ProtocolHeader(amqp.ProtocolSASL))
		c.out.frame(amqp.FrameSASL, 0, amqp.SASLMechanisms{Mechanisms: []amqp.Symbol{anonymous}}, nil)
		f, err := amqp.ReadFrame(r, amqp.MinFrameSize)
		if err != nil {
			return err
		}
		p, _, err := amqp.DecodePerformative(f.Body)
		if err != nil {
			return err
		}
		if chosen, ok := p.(amqp.SASLInit); !ok || chosen.Mechanism != anonymous {
			c.out.frame(amqp.FrameSASL, 0, amqp.SASLOutcome{Code: 1}, nil)
			return fmt.Errorf("%w: %T %v in place of the mechanism %s", amqp.ErrMalformed, p, p, anonymous)
		}
		c.out.frame(amqp.FrameSASL, 0, amqp.SASLOutcome{}, nil)
		if protocol, err = amqp.ReadProtocolHeader(r); err != nil {
			return err
		}
	}
	c.out.add(amqp.ProtocolHeader(amqp.ProtocolAMQP))
	if protocol != amqp.ProtocolAMQP {
		return fmt.Errorf("%w: protocol %d", amqp.ErrMalformed, protocol)
	}
	return nil
}

// obey acts on one performative. Its errors are breaches of the protocol and end the connection.
func (c *connection) obey(channel uint16, p amqp.Performative, payload []byte) error {
	ss := c.sessions[channel]
	switch p := p.(type) {
	case amqp.Open:
		c.maxFrame = max(amqp.MinFrameSize, min(p.MaxFrameSize, maxFrameSize))
		if p.IdleTimeout > 0 {
			interval := max(leastInterval, time.Duration(p.IdleTimeout)*time.Millisecond/3)
			c.out.keepAlive(interval)
		}
		c.send(0, amqp.Open{ContainerID: "servicebustest", MaxFrameSize: maxFrameSize, ChannelMax: 1<<16 - 1}, nil)
		return nil
	case amqp.Begin:
		if ss != nil {
			return fmt.Errorf("%w: channel %d begun twice", amqp.ErrMalformed, channel)
		}
		c.begin(channel, p)
		return nil
	case amqp.Close:
		c.end(nil)
		return nil
	}
	if ss == nil {
		return fmt.Errorf("%w: %T on channel %d, which no session has", amqp.ErrMalformed, p, channel)
	}
	switch p := p.(type) {
	case amqp.Attach:
		return ss.attach(p)
	case amqp.Flow:
		ss.flow(p)
	case amqp.Transfer:
		return ss.transfer(p, payload)
	case amqp.Disposition:
		return ss.dispose(p)
	case amqp.Detach:
		if l := ss.links[p.Handle]; l != nil {
			l.leave()
			ss.send(amqp.Detach{Handle: p.Handle, Closed: true}, nil)
		}
	case amqp.End:
		ss.leave()
		delete(c.sessions, channel)
		ss.send(amqp.End{}, nil)
	default:
		return fmt.Errorf("%w: %T after the greeting", amqp.ErrMalformed, p)
	}
	return nil
}

func (c *connection) send(channel uint16, p amqp.Performative, payload []byte) {
	if !c.ended {
		c.out.frame(amqp.FrameAMQP, channel, p, payload)
	}
}

// end closes the connection with an error, or without one when the peer has asked for it.
func (c *connection) end(e *amqp.Error) {
	c.send(0, amqp.Close{Error: e}, nil)
	c.leave()
	c.out.finish()
}

// cut ends the connection without a word.
func (c *connection) cut() {
	c.leave()
	_ = c.tcp.Close()
}

// leave takes the connection's links from their queues. The locks that it took live on.
func (c *connection) leave() {
	c.ended = true
	for _, ss := range c.sessions {
		ss.leave()
	}
}

// mayUse reports whether a token was put for the entity at path, or for something that contains it.
func (c *connection) mayUse(path string) bool {
	for path = fold(path); ; {
		if c.granted[path] {
			return true
		}
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return c.granted[""]
		}
		path = path[:cut]
	}
}

// outbox is what is to be written to a connection.
type outbox struct {
	mu       sync.Mutex
	wake     sync.Cond
	bytes    []byte
	finished bool
	beat     *time.Timer
}

func (o *outbox) add(b []byte) {
	o.mu.Lock()
	o.bytes = append(o.bytes, b...)
	o.mu.Unlock()
	o.wake.Signal()
}

func (o *outbox) frame(kind byte, channel uint16, p amqp.Performative, payload []byte) {
	o.mu.Lock()
	o.bytes = amqp.AppendFrame(o.bytes, kind, channel, p, payload)
	o.mu.Unlock()
	o.wake.Signal()
}

// keepAlive has an empty frame written at least once in an interval.
func (o *outbox) keepAlive(interval time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.beat != nil || o.finished {
		return
	}
	o.beat = time.AfterFunc(interval, func() {
		o.frame(amqp.FrameAMQP, 0, nil, nil)
		o.mu.Lock()
		defer o.mu.Unlock()
		if !o.finished {
			o.beat.Reset(interval)
		}
	})
}

// finish has the writer end once it has written what is there.
func (o *outbox) finish() {
	o.mu.Lock()
	o.finished = true
	if o.beat != nil {
		o.beat.Stop()
	}
	o.mu.Unlock()
	o.wake.Signal()
}

// write writes until the outbox is finished or the stream fails, and then closes the stream.
func (o *outbox) write(stream net.Conn) {
	defer stream.Close()
	var spare []byte
	for {
		o.mu.Lock()
		for len(o.bytes) == 0 && !o.finished {
			o.wake.Wait()
		}
		b := o.bytes
		o.bytes = spare[:0]
		o.mu.Unlock()
		if len(b) == 0 {
			return
		}
		_ = stream.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := stream.Write(b); err != nil {
			return
		}
		spare = b
	}
}
