package servicebustest

import (
	"fmt"
	"strings"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

const creditWindow = 1000 // messages that a sender may have under way

// link is the server's end of a link.
type link struct {
	session *session
	handle  uint32
	address string
	offer   amqp.Attach // what the peer attached with
	sends   bool        // the server sends on it
	credit  uint32      // deliveries that the receiving end still takes
	count   uint32      // deliveries so far

	// Of one that the server sends on.
	presettled bool
	queue      *queue   // that it serves; nil for answers to requests
	replyTo    string   // the peer's name for its end, to which answers are addressed
	pending    [][]byte // answers that were there before the first credit

	// Of one that the server receives on.
	handler func(format uint32, payload []byte) (answered bool, err *amqp.Error)
	partial *partial
}

// partial is a delivery whose last frame has not come yet.
type partial struct {
	id      uint32
	format  uint32
	settled bool
	payload []byte
}

// attach opens a link, or refuses to.
func (ss *session) attach(p amqp.Attach) error {
	if p.Handle > maxHandle || ss.links[p.Handle] != nil {
		return fmt.Errorf("%w: a link at handle %d, which is taken or too large", amqp.ErrMalformed, p.Handle)
	}
	l := &link{session: ss, handle: p.Handle, offer: p, sends: p.Role == amqp.RoleReceiver}
	l.address = strings.TrimPrefix(amqp.Address(p.Target), "/")
	if l.sends {
		l.address, l.replyTo = strings.TrimPrefix(amqp.Address(p.Source), "/"), amqp.Address(p.Target)
		l.presettled = p.SenderSettleMode == uint8(amqp.SenderSettled)
	}
	ss.links[p.Handle] = l
	err, silent := l.open()
	switch {
	case silent:
	case err != nil && endsConnection(err):
		ss.connection.end(err)
	case err != nil:
		l.answer(nil, nil) // without source and target: a refusal, which the detach explains
		l.detach(err)
	default:
		l.answer(p.Source, p.Target)
		if !l.sends {
			l.grant()
		} else if l.queue != nil {
			l.queue.subscribe(l)
		}
	}
	return nil
}

// open finds out what a link is for. A fault may leave it without any answer.
func (l *link) open() (err *amqp.Error, silent bool) {
	c := l.session.connection
	if l.address == tokenAddress {
		return l.openRequests(c.putToken), false
	}
	if !c.mayUse(l.address) {
		return &amqp.Error{Condition: conditionUnauthorized,
			Description: "Unauthorized access. No token was put for '" + l.address + "' on this connection."}, false
	}
	if path, ok := managedPath(l.address); ok {
		e, found := c.server.find(path)
		if !found {
			return notFound(path), false
		}
		return l.openRequests(func(r *amqp.Message) reply { return c.manage(e, r) }), false
	}
	e, found := c.server.find(l.address)
	if !found {
		return notFound(l.address), false
	}
	switch f := c.server.strike(Attach, e.path); f.kind {
	case refuse:
		return f.err.amqp(), false
	case loseAnswer:
		c.cut()
		return nil, true
	case stall:
		return nil, true
	}
	c.server.stats.Links++
	switch {
	case l.sends && e.queue == nil, !l.sends && e.intake == nil:
		return &amqp.Error{Condition: conditionNotAllowed, Description: "'" + e.path + "' can't be used in this direction."}, false
	case l.sends:
		l.queue = e.queue
	default:
		l.handler = func(format uint32, payload []byte) (bool, *amqp.Error) { return l.accept(e.intake, format, payload) }
	}
	return nil, false
}

// managedPath returns the entity that a $management address belongs to.
func managedPath(address string) (string, bool) {
	n := len(address) - len(managementPart)
	if n < 0 || !strings.EqualFold(address[n:], managementPart) {
		return address, false
	}
	return address[:n], true
}

// answer completes the attach. Both settle modes are echoed: a client refuses a link whose modes are others.
func (l *link) answer(source, target any) {
	p := amqp.Attach{Name: l.offer.Name, Handle: l.handle, Role: !l.offer.Role, Source: source, Target: target,
		SenderSettleMode: l.offer.SenderSettleMode, ReceiverSettleMode: l.offer.ReceiverSettleMode}
	if l.sends {
		p.InitialDeliveryCount = new(uint32)
	} else {
		p.MaxMessageSize = uint64(l.session.connection.server.config.MaxMessageSize)
	}
	l.session.send(p, nil)
}

// attached reports whether neither side has ended the link.
func (l *link) attached() bool { return l.session.links[l.handle] == l }

// detach ends the link from this side.
func (l *link) detach(e *amqp.Error) {
	l.leave()
	l.session.send(amqp.Detach{Handle: l.handle, Closed: true, Error: e}, nil)
}

// leave forgets the link. Locks that were taken over it live on, and can still be settled over its session.
func (l *link) leave() {
	delete(l.session.links, l.handle)
	if replies := l.session.connection.replies; replies[l.replyTo] == l {
		delete(replies, l.replyTo)
	}
	if l.queue != nil {
		l.queue.unsubscribe(l)
	}
}

// ready reports whether a delivery can go out now.
func (l *link) ready() bool {
	return l.credit > 0 && l.session.room > 0 && len(l.session.backlog) == 0
}

// deliver sends a message, with the lock under which it goes out, if any.
func (l *link) deliver(payload []byte, token amqp.UUID, held *lock) {
	l.credit--
	l.count++
	id := l.session.deliver(l, payload, token.GUID())
	if held != nil {
		held.link, held.delivery = l, id
		l.session.unsettled[id] = held
	}
}

// resume sends what can go out now.
func (l *link) resume() {
	for len(l.pending) > 0 && l.ready() {
		next := l.pending[0]
		l.pending = l.pending[1:]
		l.deliver(next, amqp.NewUUID(), nil)
	}
	if l.queue != nil {
		l.queue.dispatch()
	}
}

// grant gives the peer its full credit again.
func (l *link) grant() {
	l.credit = creditWindow
	l.session.sendFlow(l, false)
}

// assemble takes a frame of a delivery, and the delivery once it is whole.
func (l *link) assemble(p amqp.Transfer, payload []byte) error {
	if l.partial == nil {
		if p.DeliveryID == nil {
			return fmt.Errorf("%w: a first transfer without a delivery id", amqp.ErrMalformed)
		}
		if l.credit == 0 {
			l.detach(&amqp.Error{Condition: conditionTransferLimit, Description: "A message was sent without credit for it."})
			return nil
		}
		l.partial = &partial{id: *p.DeliveryID, format: p.MessageFormat}
		l.credit--
		l.count++
	}
	d := l.partial
	d.settled = d.settled || p.Settled
	if p.Aborted { // the peer has thought better of it
		l.partial = nil
		l.received()
		return nil
	}
	if limit := l.session.connection.server.config.MaxMessageSize; len(d.payload)+len(payload) > limit {
		l.detach(&amqp.Error{Condition: conditionSize,
			Description: fmt.Sprintf("The received message (delivery-id:%d) exceeds the limit (%d bytes) currently allowed on the link.", d.id, limit)})
		return nil
	}
	if d.payload == nil {
		d.payload = payload
	} else {
		d.payload = append(d.payload, payload...)
	}
	if p.More {
		return nil
	}
	if answered := l.finish(d); !answered {
		l.received()
	}
	return nil
}

// received gives new credit once half of it is used.
func (l *link) received() {
	if l.credit < creditWindow/2 {
		l.grant()
	}
}

// finish handles a whole delivery and answers it, unless a fault has seen to the answer.
func (l *link) finish(d *partial) (answered bool) {
	l.partial = nil
	answered, err := l.handler(d.format, d.payload)
	if answered {
		return true
	}
	outcome := any(amqp.Accepted{})
	if err != nil {
		outcome = amqp.Rejected{Error: err}
	}
	if !d.settled {
		l.session.send(amqp.Disposition{Role: amqp.RoleReceiver, First: d.id, Last: d.id, Settled: true, State: amqp.State(outcome)}, nil)
	}
	return false
}

// accept takes a message or a batch for an entity. It reports whether that was all the answer there is to be.
func (l *link) accept(in *intake, format uint32, payload []byte) (answered bool, err *amqp.Error) {
	c := l.session.connection
	f := c.server.strike(Send, in.path)
	switch f.kind {
	case stall:
		return true, nil
	case refuse:
		err := f.err.amqp()
		switch {
		case endsConnection(err):
			c.end(err)
			return true, nil
		case endsLink(err):
			l.detach(err)
			return true, nil
		}
		return false, err
	}
	messages, sizes, wrong := unpack(format, payload)
	if wrong != nil {
		return false, &amqp.Error{Condition: conditionDecode, Description: wrong.Error()}
	}
	c.server.stats.Transfers++
	c.server.stats.Messages += len(messages)
	_, err = in.accept(messages, sizes)
	if f.kind == loseAnswer {
		c.cut()
		return true, nil
	}
	return false, err
}

// unpack decodes a message, or those of a batch.
func unpack(format uint32, payload []byte) (messages []*amqp.Message, sizes []int, err error) {
	m, err := amqp.DecodeMessage(payload)
	if err != nil {
		return nil, nil, err
	}
	if format != amqp.FormatBatch {
		return []*amqp.Message{m}, []int{len(payload)}, nil
	}
	for _, one := range m.Data {
		inner, err := amqp.DecodeMessage(one)
		if err != nil {
			return nil, nil, err
		}
		messages, sizes = append(messages, inner), append(sizes, len(one))
	}
	return messages, sizes, nil
}
