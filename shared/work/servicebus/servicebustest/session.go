package servicebustest

import (
	"fmt"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

const (
	incomingWindow = 1 << 30 // transfers; links' credit is what bounds a sender
	maxHandle      = 1023
	maxRange       = 1 << 16 // of deliveries in one disposition
	transferSlack  = 128     // bytes of a frame that are not payload
)

// session is an AMQP session: a pair of numbered streams of transfers on a connection. (Sessions of Service Bus, which
// group messages, are not modelled.)
type session struct {
	connection *connection
	channel    uint16

	nextIncoming uint32 // transfer id
	nextOutgoing uint32
	room         uint32           // transfers that the peer still takes
	backlog      []backlogged     // transfers that found no room
	deliveries   uint32           // the next delivery id
	links        map[uint32]*link // by handle, which the answers use too
	unsettled    map[uint32]*lock // by delivery id
}

type backlogged struct {
	link    *link
	frame   amqp.Transfer
	payload []byte
}

func (c *connection) begin(channel uint16, p amqp.Begin) {
	ss := &session{connection: c, channel: channel, nextIncoming: p.NextOutgoingID, room: p.IncomingWindow,
		links: map[uint32]*link{}, unsettled: map[uint32]*lock{}}
	c.sessions[channel] = ss
	ss.send(amqp.Begin{RemoteChannel: &channel, IncomingWindow: incomingWindow, OutgoingWindow: incomingWindow, HandleMax: maxHandle}, nil)
}

func (ss *session) send(p amqp.Performative, payload []byte) {
	ss.connection.send(ss.channel, p, payload)
}

func (ss *session) leave() {
	for _, l := range ss.links {
		l.leave()
	}
	for _, held := range ss.unsettled {
		held.link = nil
	}
	clear(ss.unsettled)
}

// deliver sends one delivery on a link, in as many frames as it takes.
func (ss *session) deliver(l *link, payload, tag []byte) (delivery uint32) {
	delivery = ss.deliveries
	ss.deliveries++
	part := int(ss.connection.maxFrame) - transferSlack
	for first := true; first || len(payload) > 0; first = false {
		n := min(part, len(payload))
		t := amqp.Transfer{Handle: l.handle, Settled: l.presettled, More: n < len(payload)}
		if first {
			t.DeliveryID, t.DeliveryTag = &delivery, tag
		}
		ss.backlog = append(ss.backlog, backlogged{l, t, payload[:n]})
		payload = payload[n:]
	}
	ss.drainBacklog()
	return delivery
}

// drainBacklog sends transfers as long as the peer has room for them.
func (ss *session) drainBacklog() {
	for len(ss.backlog) > 0 && ss.room > 0 {
		next := ss.backlog[0]
		ss.backlog[0] = backlogged{}
		ss.backlog = ss.backlog[1:]
		if !next.link.attached() {
			continue // the link is gone, and with it whatever it carried
		}
		ss.room--
		ss.nextOutgoing++
		ss.send(next.frame, next.payload)
	}
	if len(ss.backlog) == 0 {
		ss.backlog = nil
	}
}

// flow takes note of how much the peer takes.
func (ss *session) flow(p amqp.Flow) {
	next, _ := p.NextIncomingID.(uint32) // null before the peer has seen our begin, whose first id is 0
	ss.room = next + p.IncomingWindow - ss.nextOutgoing
	ss.drainBacklog()
	if p.Handle == nil {
		for _, l := range ss.links {
			l.resume()
		}
		if p.Echo {
			ss.sendFlow(nil, false)
		}
		return
	}
	l := ss.links[*p.Handle]
	if l == nil {
		return // gone already, unknown to the peer
	}
	if l.sends {
		l.credit = p.DeliveryCount + p.LinkCredit - l.count
		l.resume()
		if p.Drain {
			l.count += l.credit
			l.credit = 0
		}
	}
	if p.Drain || p.Echo {
		ss.sendFlow(l, p.Drain)
	}
}

func (ss *session) sendFlow(l *link, drain bool) {
	f := amqp.Flow{NextIncomingID: ss.nextIncoming, IncomingWindow: incomingWindow, NextOutgoingID: ss.nextOutgoing, OutgoingWindow: incomingWindow, Drain: drain}
	if l != nil {
		f.Handle, f.DeliveryCount, f.LinkCredit = &l.handle, l.count, l.credit
	}
	ss.send(f, nil)
}

// transfer takes a delivery, or a part of one, from the peer.
func (ss *session) transfer(p amqp.Transfer, payload []byte) error {
	ss.nextIncoming++
	l := ss.links[p.Handle]
	if l == nil {
		return nil // sent before the peer learned that the link is gone
	}
	if l.sends {
		return fmt.Errorf("%w: a transfer on a link that the peer receives on", amqp.ErrMalformed)
	}
	return l.assemble(p, payload)
}

// dispose settles deliveries that the peer received. What a peer says about its own deliveries needs no answer.
func (ss *session) dispose(p amqp.Disposition) error {
	if p.Role == amqp.RoleSender {
		return nil
	}
	if p.Last-p.First >= maxRange {
		return fmt.Errorf("%w: a disposition of deliveries %d to %d", amqp.ErrMalformed, p.First, p.Last)
	}
	outcome := amqp.Outcome(p.State)
	for id := p.First; id != p.Last+1; id++ {
		if !ss.settle(id, outcome, p.Settled) {
			return nil
		}
	}
	return nil
}

// settle settles one delivery and reports whether the connection lives on.
func (ss *session) settle(id uint32, outcome any, silent bool) bool {
	c := ss.connection
	answer := outcome
	if _, rejected := outcome.(amqp.Rejected); rejected {
		answer = amqp.Rejected{} // one with an error would be taken for a refusal
	}
	held := ss.unsettled[id]
	if held == nil {
		answer = amqp.Rejected{Error: lockLost()}
	} else {
		f := c.server.strike(Settle, held.queue.path)
		err := f.err.amqp()
		switch f.kind {
		case stall:
			return true
		case refuse:
			switch {
			case endsConnection(err):
				c.end(err)
				return false
			case endsLink(err) && held.link.attached():
				held.link.detach(err)
				return true
			}
		default:
			err = held.queue.settle(held, outcome)
		}
		if f.kind == loseAnswer {
			c.cut()
			return false
		}
		if err != nil {
			answer = amqp.Rejected{Error: err}
		}
	}
	if !silent && answer != nil {
		ss.send(amqp.Disposition{Role: amqp.RoleSender, First: id, Last: id, Settled: true, State: amqp.State(answer)}, nil)
	}
	return true
}
