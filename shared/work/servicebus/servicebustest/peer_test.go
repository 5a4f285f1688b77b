package servicebustest_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// peer is a client that says what it is told to, right or wrong.
type peer struct {
	*testing.T
	conn net.Conn
}

func dial(t *testing.T, s *servicebustest.Server) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &peer{t, conn}
}

// greet opens a connection, without SASL, and a session on channel 0 with room for as many transfers.
func (p *peer) greet(open amqp.Open, window uint32) {
	p.Helper()
	p.write(amqp.ProtocolHeader(amqp.ProtocolAMQP))
	if protocol, err := amqp.ReadProtocolHeader(p.conn); err != nil || protocol != amqp.ProtocolAMQP {
		p.Fatalf("protocol %d, %v", protocol, err)
	}
	p.send(open, nil)
	expect[amqp.Open](p)
	p.send(amqp.Begin{IncomingWindow: window, OutgoingWindow: 100}, nil)
	expect[amqp.Begin](p)
}

func (p *peer) write(b []byte) {
	p.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.Fatal(err)
	}
}

func (p *peer) send(performative amqp.Performative, payload []byte) {
	p.Helper()
	p.write(amqp.AppendFrame(nil, amqp.FrameAMQP, 0, performative, payload))
}

// next returns what the server says next; a sign of life is nil.
func (p *peer) next() (amqp.Performative, []byte) {
	p.Helper()
	f, err := amqp.ReadFrame(p.conn, 1<<20)
	if err != nil {
		p.Fatal(err)
	}
	if len(f.Body) == 0 {
		return nil, nil
	}
	performative, payload, err := amqp.DecodePerformative(f.Body)
	if err != nil {
		p.Fatal(err)
	}
	return performative, payload
}

// expect returns the next performative of type T; the others before it are of no interest.
func expect[T amqp.Performative](p *peer) T {
	p.Helper()
	performative, _ := expectPayload[T](p)
	return performative
}

func expectPayload[T amqp.Performative](p *peer) (T, []byte) {
	p.Helper()
	for {
		performative, payload := p.next()
		if t, ok := performative.(T); ok {
			return t, payload
		}
	}
}

// ended reads to the end of the connection and reports whether the server closed it with that error last.
func (p *peer) ended() *amqp.Error {
	p.Helper()
	rest, err := io.ReadAll(p.conn)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		p.Fatal("the server did not end the connection")
	}
	var last *amqp.Error
	r := bytes.NewReader(rest)
	for {
		f, err := amqp.ReadFrame(r, 1<<20)
		if err != nil {
			return last
		}
		if performative, _, err := amqp.DecodePerformative(f.Body); err == nil {
			if c, ok := performative.(amqp.Close); ok {
				last = c.Error
			}
		}
	}
}

const (
	sourceCode = uint64(0x28)
	targetCode = uint64(0x29)
)

// authorize puts a token for an entity, on links at the handles 100 and 101, and takes both away again.
func (p *peer) authorize(entity string) {
	p.Helper()
	cbs := amqp.List{"$cbs"}
	p.send(amqp.Attach{Name: "to-cbs", Handle: 100, Role: amqp.RoleSender, Source: amqp.Described{Descriptor: sourceCode, Value: amqp.List{"me"}},
		Target: amqp.Described{Descriptor: targetCode, Value: cbs}, InitialDeliveryCount: new(uint32)}, nil)
	expect[amqp.Attach](p)
	p.send(amqp.Attach{Name: "from-cbs", Handle: 101, Role: amqp.RoleReceiver, SenderSettleMode: uint8(amqp.SenderSettled),
		Source: amqp.Described{Descriptor: sourceCode, Value: cbs}, Target: amqp.Described{Descriptor: targetCode, Value: amqp.List{"answers"}}}, nil)
	expect[amqp.Attach](p)
	handle := uint32(101)
	p.send(amqp.Flow{IncomingWindow: 1000, OutgoingWindow: 100, Handle: &handle, LinkCredit: 10}, nil)
	request := amqp.Message{
		Properties:  amqp.Properties{MessageID: "1", ReplyTo: "answers"},
		Application: amqp.Map{"operation": "put-token", "type": "jwt", "name": "amqp://host/" + entity},
		Value:       "token",
	}
	p.send(amqp.Transfer{Handle: 100, DeliveryID: new(uint32), DeliveryTag: []byte{1}, Settled: true}, request.Append(nil))
	_, payload := expectPayload[amqp.Transfer](p)
	answer, err := amqp.DecodeMessage(payload)
	if err != nil || answer.Application["statusCode"] != int32(202) || answer.Properties.CorrelationID != "1" {
		p.Fatalf("answer %+v, %v", answer, err)
	}
	p.send(amqp.Detach{Handle: 100, Closed: true}, nil)
	p.send(amqp.Detach{Handle: 101, Closed: true}, nil)
	expect[amqp.Detach](p)
	expect[amqp.Detach](p)
}

// sendTo attaches a sender at handle 1, receiveFrom a receiver at handle 2.
func (p *peer) sendTo(entity string) amqp.Attach {
	p.Helper()
	p.send(amqp.Attach{Name: "s", Handle: 1, Role: amqp.RoleSender, Target: amqp.Described{Descriptor: targetCode, Value: amqp.List{entity}},
		Source: amqp.Described{Descriptor: sourceCode, Value: amqp.List{}}, InitialDeliveryCount: new(uint32)}, nil)
	return expect[amqp.Attach](p)
}

func (p *peer) receiveFrom(entity string) amqp.Attach {
	p.Helper()
	p.send(amqp.Attach{Name: "r", Handle: 2, Role: amqp.RoleReceiver, SenderSettleMode: uint8(amqp.SenderMixed), ReceiverSettleMode: uint8(1),
		Source: amqp.Described{Descriptor: sourceCode, Value: amqp.List{entity}}, Target: amqp.Described{Descriptor: targetCode, Value: amqp.List{}}}, nil)
	return expect[amqp.Attach](p)
}
