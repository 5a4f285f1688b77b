package servicebustest_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// TestMalformedInput: whatever a peer sends ends its own connection, and no other.
func TestMalformedInput(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a")
	one := uint32(1)
	frame := func(p amqp.Performative, payload []byte) []byte {
		return amqp.AppendFrame(nil, amqp.FrameAMQP, 0, p, payload)
	}
	for name, bad := range map[string][]byte{
		"no performative":             {0, 0, 0, 9, 2, 0, 0, 0, 0x40},
		"a frame that is too short":   {0, 0, 0, 7, 2, 0, 0, 0},
		"a body before its frame":     {0, 0, 0, 8, 1, 0, 0, 0},
		"a body behind its frame":     {0, 0, 0, 8, 9, 0, 0, 0},
		"a frame that is too large":   {0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0},
		"nested without end":          append([]byte{0, 0, 8, 8, 2, 0, 0, 0}, make([]byte, 2048)...),
		"a channel without a session": amqp.AppendFrame(nil, amqp.FrameAMQP, 7, amqp.Flow{}, nil),
		"a session begun twice":       frame(amqp.Begin{}, nil),
		"SASL after the greeting":     frame(amqp.SASLInit{Mechanism: "ANONYMOUS"}, nil),
		"a handle out of range":       frame(amqp.Attach{Name: "x", Handle: 5000}, nil),
		"a huge disposition":          frame(amqp.Disposition{Role: amqp.RoleReceiver, First: 1, Last: 1 << 31}, nil),
		"fields of the wrong type":    append([]byte{0, 0, 0, 8 + 10, 2, 0, 0, 0}, 0, 0x53, 0x14, 0xc0, 5, 2, 0x41, 0x41, 0x40, 0x40),
		"a list longer than itself":   append([]byte{0, 0, 0, 8 + 6, 2, 0, 0, 0}, 0, 0x53, 0x14, 0xc0, 1, 9),
		"a map with a list for a key": append([]byte{0, 0, 0, 8 + 11, 2, 0, 0, 0}, 0, 0x53, 0x12, 0xc0, 6, 1, 0xc1, 3, 2, 0x45, 0x40),
		"a transfer without delivery": append(frame(amqp.Attach{Name: "x", Handle: 1, Target: amqp.Described{Descriptor: targetCode, Value: amqp.List{"$cbs"}},
			InitialDeliveryCount: &one}, nil), frame(amqp.Transfer{Handle: 1}, []byte{1, 2, 3})...),
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, f.server)
			p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
			p.write(bad)
			if err := p.ended(); err == nil || err.Condition != "amqp:decode-error" {
				t.Errorf("closed with %+v", err)
			}
		})
	}
	for name, bad := range map[string][]byte{
		"not AMQP":           []byte("GET / HTTP/1.1\r\n\r\n"),
		"another version":    {'A', 'M', 'Q', 'P', 0, 9, 9, 1},
		"TLS inside of AMQP": amqp.ProtocolHeader(2),
		"another mechanism":  amqp.AppendFrame(amqp.ProtocolHeader(amqp.ProtocolSASL), amqp.FrameSASL, 0, amqp.SASLInit{Mechanism: "PLAIN"}, nil),
		"no mechanism":       amqp.AppendFrame(amqp.ProtocolHeader(amqp.ProtocolSASL), amqp.FrameSASL, 0, amqp.Open{ContainerID: "x"}, nil),
	} {
		t.Run(name, func(t *testing.T) {
			p := dial(t, f.server)
			p.write(bad)
			p.ended()
		})
	}
	f.complete(f.receiver, f.receiveOne(f.receiver))
	if n := f.server.Stats().Connections; n != 1+15+5 {
		t.Errorf("%d connections", n)
	}
}

// TestMalformedMessage: a message that can't be read is refused, and the connection stays.
func TestMalformedMessage(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	p := dial(t, f.server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	p.authorize("q")
	p.sendTo("q")
	batch := amqp.Append(nil, amqp.Described{Descriptor: uint64(0x75), Value: []byte{9, 9}})
	for i, bad := range [][]byte{{0x40}, {0, 0x53, 0x99, 0x45}, {0, 0x53, 0x74, 0x45}, batch} {
		id := uint32(i)
		format := uint32(0)
		if bytes.Equal(bad, batch) {
			format = amqp.FormatBatch
		}
		p.send(amqp.Transfer{Handle: 1, DeliveryID: &id, DeliveryTag: []byte{1}, MessageFormat: format}, bad)
		d := expect[amqp.Disposition](p)
		if o, ok := amqp.Outcome(d.State).(amqp.Rejected); !ok || o.Error.Condition != "amqp:decode-error" || d.First != id || !d.Settled {
			t.Errorf("message %d: %+v", i, d)
		}
	}
	f.has("q", servicebustest.Counts{})
}

func TestNoLinkWithoutToken(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}, {Name: "other"}}})
	p := dial(t, server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	p.authorize("other")
	if a := p.sendTo("q"); a.Target != nil || a.Source != nil {
		t.Errorf("attach %+v", a)
	}
	if d := expect[amqp.Detach](p); !d.Closed || d.Error == nil || d.Error.Condition != "amqp:unauthorized-access" {
		t.Errorf("detach %+v", d)
	}
	p.authorize("q")
	if a := p.sendTo("q"); a.Target == nil || a.MaxMessageSize != servicebustest.StandardMessageSize {
		t.Errorf("attach %+v", a)
	}
}

func TestSenderIsHeldToItsLimits(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}, MaxMessageSize: 1000})
	message := func(size int) []byte {
		return amqp.Append(nil, amqp.Described{Descriptor: uint64(0x75), Value: make([]byte, size)})
	}
	p := dial(t, server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	p.authorize("q")
	p.sendTo("q")
	p.send(amqp.Transfer{Handle: 1, DeliveryID: new(uint32), DeliveryTag: []byte{1}, More: true}, message(900))
	p.send(amqp.Transfer{Handle: 1}, message(900))
	if d := expect[amqp.Detach](p); d.Error == nil || d.Error.Condition != "amqp:link:message-size-exceeded" {
		t.Errorf("too large: %+v", d.Error)
	}
	p.sendTo("q")
	credit := expect[amqp.Flow](p).LinkCredit
	for i := range credit { // a delivery that is given up takes credit too, so this takes more than was given at first
		p.send(amqp.Transfer{Handle: 1, DeliveryID: &i, DeliveryTag: []byte{1}, Aborted: true}, nil)
	}
	p.send(amqp.Transfer{Handle: 1, DeliveryID: new(uint32), DeliveryTag: []byte{1}, Settled: true}, message(1))
	p.send(amqp.Detach{Handle: 1, Closed: true}, nil)
	expect[amqp.Detach](p)
	if got := server.Counts("q"); got.Active != 1 {
		t.Errorf("%+v", got)
	}
	p.sendTo("q")
	server.Stall(servicebustest.Send, "q", int(credit)+1) // what is ignored earns no new credit
	for i := range credit + 1 {
		p.send(amqp.Transfer{Handle: 1, DeliveryID: &i, DeliveryTag: []byte{1}}, message(1))
	}
	if d := expect[amqp.Detach](p); d.Error == nil || d.Error.Condition != "amqp:link:transfer-limit-exceeded" {
		t.Errorf("without credit: %+v", d.Error)
	}
}

// TestTransfersWaitForRoom: a message in many frames goes out as the peer's window lets it, and nothing else comes between.
func TestTransfersWaitForRoom(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	body := bytes.Repeat([]byte("0123456789"), 200)
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: body}, nil))
	f.check(f.sender.SendMessage(t.Context(), &azservicebus.Message{Body: []byte("next")}, nil))
	p := dial(t, f.server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1}, 1000) // taken for the least size that is allowed, 512
	p.authorize("q")
	p.receiveFrom("q")
	// One answer to a token came before, as transfer 0.
	handle, next, transfers := uint32(2), uint32(1), 0
	var payload []byte
	for room := uint32(1); ; room++ {
		p.send(amqp.Flow{NextIncomingID: next, IncomingWindow: room, OutgoingWindow: 100, Handle: &handle, LinkCredit: 1}, nil)
		more := true
		for range room {
			tr, part := expectPayload[amqp.Transfer](p)
			next++
			transfers++
			payload = append(payload, part...)
			if more = tr.More; !more {
				break
			}
		}
		if !more {
			break
		}
		f.has("q", servicebustest.Counts{Active: 1, Locked: 1})
	}
	m, err := amqp.DecodeMessage(payload)
	if err != nil || len(m.Data) != 1 || !bytes.Equal(m.Data[0], body) || transfers < 5 {
		t.Fatalf("%d bytes in %d transfers, %v", len(payload), transfers, err)
	}
}

func TestDrainAndEcho(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "q"}}})
	p := dial(t, server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	p.authorize("q")
	if a := p.receiveFrom("q"); a.SenderSettleMode != uint8(amqp.SenderMixed) || a.ReceiverSettleMode != uint8(1) {
		t.Errorf("settle modes are not echoed: %+v", a)
	}
	handle := uint32(2)
	p.send(amqp.Flow{NextIncomingID: uint32(1), IncomingWindow: 100, OutgoingWindow: 100, Handle: &handle, LinkCredit: 5, Drain: true}, nil)
	if got := expect[amqp.Flow](p); got.DeliveryCount != 5 || got.LinkCredit != 0 || !got.Drain {
		t.Errorf("after drain: %+v", got)
	}
	p.send(amqp.Flow{NextIncomingID: uint32(1), IncomingWindow: 100, OutgoingWindow: 100, Echo: true}, nil)
	if got := expect[amqp.Flow](p); got.Handle != nil || got.NextOutgoingID != 1 {
		t.Errorf("echo: %+v", got)
	}
}

func TestRangeIsSettledAtOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t, servicebustest.Queue{})
	f.send("a", "b", "c")
	p := dial(t, f.server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	p.authorize("q")
	p.receiveFrom("q")
	handle := uint32(2)
	p.send(amqp.Flow{NextIncomingID: uint32(1), IncomingWindow: 100, OutgoingWindow: 100, Handle: &handle, LinkCredit: 3}, nil)
	var first uint32
	for i := range 3 {
		tr := expect[amqp.Transfer](p)
		if i == 0 {
			first = *tr.DeliveryID
		}
	}
	p.send(amqp.Disposition{Role: amqp.RoleReceiver, First: first, Last: first + 3, State: amqp.State(amqp.Accepted{})}, nil)
	for i := range uint32(4) {
		d := expect[amqp.Disposition](p)
		_, accepted := amqp.Outcome(d.State).(amqp.Accepted)
		if d.First != first+i || !d.Settled || accepted != (i < 3) { // the fourth was never delivered
			t.Errorf("disposition %d: %+v", i, d)
		}
	}
	f.has("q", servicebustest.Counts{})
}

// TestSignsOfLife: a peer that asks to hear something hears it, though nothing happens.
func TestSignsOfLife(t *testing.T) {
	t.Parallel()
	server := servicebustest.New(t, servicebustest.Config{})
	p := dial(t, server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16, IdleTimeout: 1}, 1000)
	before := time.Now()
	for range 2 {
		if performative, _ := p.next(); performative != nil {
			t.Fatalf("%T in place of a sign of life", performative)
		}
	}
	if took := time.Since(before); took < 100*time.Millisecond {
		t.Errorf("two signs of life within %v: more than were asked for", took)
	}
	p.send(amqp.Close{}, nil)
	if err := p.ended(); err != nil {
		t.Errorf("closed with %+v", err)
	}
}

func TestCloseEndsConnections(t *testing.T) {
	t.Parallel()
	server, err := servicebustest.Start(servicebustest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	p := dial(t, server)
	p.greet(amqp.Open{ContainerID: "p", MaxFrameSize: 1 << 16}, 1000)
	server.Close()
	p.ended()
}
