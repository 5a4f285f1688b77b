package servicebustest

import (
	"strings"
	"time"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// manage answers a request to an entity's $management, by Microsoft's page "AMQP 1.0 in Azure Service Bus:
// request-response-based operations".
func (c *connection) manage(e entity, request *amqp.Message) reply {
	s := c.server
	s.stats.Requests++
	f := s.strike(Management, e.path)
	switch f.kind {
	case refuse:
		return failed(f.err.amqp())
	case stall:
		return reply{fault: stall}
	}
	name, _ := request.Application["operation"].(string)
	body, _ := request.Value.(amqp.Map)
	r := e.operate(s, strings.TrimPrefix(name, "com.microsoft:"), body)
	if f.kind == loseAnswer {
		r.fault = loseAnswer
	}
	return r
}

func (e entity) operate(s *Server, operation string, body amqp.Map) reply {
	switch {
	case e.intake != nil && operation == "schedule-message":
		return e.intake.schedule(s, body)
	case e.intake != nil && operation == "cancel-scheduled-message":
		return e.intake.cancel(body)
	case e.queue != nil && operation == "renew-lock":
		return e.queue.renewLocks(body)
	case e.queue != nil && operation == "peek-message":
		return e.queue.peek(body)
	case e.queue != nil && operation == "receive-by-sequence-number":
		return e.queue.receiveDeferred(body)
	case e.queue != nil && operation == "update-disposition":
		return e.queue.updateDisposition(body)
	}
	return failed(&amqp.Error{Condition: conditionNotImplemented, Description: "'" + e.path + "' has no operation '" + operation + "'."})
}

func (in *intake) schedule(s *Server, body amqp.Map) reply {
	list, _ := body["messages"].(amqp.List)
	var messages []*amqp.Message
	var sizes []int
	for _, entry := range list {
		fields, _ := entry.(amqp.Map)
		encoded, _ := fields["message"].([]byte)
		m, err := amqp.DecodeMessage(encoded)
		if err != nil {
			return failed(&amqp.Error{Condition: conditionDecode, Description: err.Error()})
		}
		messages, sizes = append(messages, m), append(sizes, len(encoded))
	}
	if len(messages) == 0 {
		return failed(invalid("messages"))
	}
	s.stats.Messages += len(messages)
	numbers, err := in.accept(messages, sizes)
	if err != nil {
		return failed(err)
	}
	return reply{status: 200, body: amqp.Map{"sequence-numbers": numbers}}
}

func (in *intake) cancel(body amqp.Map) reply {
	numbers, _ := body["sequence-numbers"].([]int64)
	for _, n := range numbers {
		if in.scheduled[n] == nil {
			return failed(&amqp.Error{Condition: conditionMessageNotFound, Description: "The scheduled message could not be found."})
		}
	}
	for _, n := range numbers {
		in.unschedule(n)
	}
	return reply{status: 200}
}

// heldAll returns the locks of all the tokens in a request, or the reason why not.
func (q *queue) heldAll(body amqp.Map) ([]*lock, *amqp.Error) {
	tokens, _ := body["lock-tokens"].([]amqp.UUID)
	if len(tokens) == 0 {
		return nil, invalid("lock-tokens")
	}
	var locks []*lock
	for _, token := range tokens {
		l := q.held(token)
		if l == nil {
			return nil, lockLost()
		}
		locks = append(locks, l)
	}
	return locks, nil
}

func (q *queue) renewLocks(body amqp.Map) reply {
	locks, err := q.heldAll(body)
	if err != nil {
		return failed(err)
	}
	var until []time.Time
	for _, l := range locks {
		q.renew(l)
		until = append(until, l.until)
	}
	return reply{status: 200, body: amqp.Map{"expirations": until}}
}

func (q *queue) peek(body amqp.Map) reply {
	from, _ := body["from-sequence-number"].(int64)
	n, _ := body["message-count"].(int32)
	found := amqp.List{}
	for _, m := range q.browse(from, int(n)) {
		found = append(found, amqp.Map{"message": m.encode(nil)})
	}
	if len(found) == 0 {
		return reply{status: 204}
	}
	return reply{status: 200, body: amqp.Map{"messages": found}}
}

func (q *queue) receiveDeferred(body amqp.Map) reply {
	numbers, _ := body["sequence-numbers"].([]int64)
	mode, _ := body["receiver-settle-mode"].(uint32)
	for _, n := range numbers {
		if m := q.deferred[n]; m != nil && q.expired(m) {
			delete(q.deferred, n)
			q.outlive(m)
		}
		if q.deferred[n] == nil {
			return failed(&amqp.Error{Condition: conditionMessageNotFound, Description: "Failed to lock one or more specified messages. The message does not exist."})
		}
	}
	found := amqp.List{}
	for _, n := range numbers {
		m := q.deferred[n]
		if m == nil {
			continue // asked for twice
		}
		delete(q.deferred, n)
		if mode == 0 { // receive and delete
			found = append(found, amqp.Map{"message": q.handOver(m)})
			continue
		}
		l, content := q.lend(m)
		found = append(found, amqp.Map{"message": content, "lock-token": l.token})
	}
	return reply{status: 200, body: amqp.Map{"messages": found}}
}

// updateDisposition settles by lock token, for a receiver whose link is gone.
func (q *queue) updateDisposition(body amqp.Map) reply {
	f := q.server.strike(Settle, q.path)
	switch f.kind {
	case refuse:
		return failed(f.err.amqp())
	case stall:
		return reply{fault: stall}
	}
	locks, err := q.heldAll(body)
	if err != nil {
		return failed(err)
	}
	changes, _ := body["properties-to-modify"].(amqp.Map)
	var outcome any
	switch body["disposition-status"] {
	case "completed":
		outcome = amqp.Accepted{}
	case "abandoned":
		outcome = amqp.Modified{Annotations: changes}
	case "defered": // so spelled
		outcome = amqp.Modified{UndeliverableHere: true, Annotations: changes}
	case "suspended":
		info := amqp.Map{}
		for k, v := range changes {
			info[k] = v
		}
		for field, property := range map[string]string{"deadletter-reason": propertyReason, "deadletter-description": propertyDescription} {
			if text, ok := body[field].(string); ok {
				info[property] = text
			}
		}
		outcome = amqp.Rejected{Error: &amqp.Error{Info: info}}
	default:
		return failed(invalid("disposition-status"))
	}
	for _, l := range locks {
		if err := q.settle(l, outcome); err != nil {
			return failed(err)
		}
	}
	r := reply{status: 200}
	if f.kind == loseAnswer {
		r.fault = loseAnswer
	}
	return r
}

func invalid(field string) *amqp.Error {
	return &amqp.Error{Condition: conditionInvalidField, Description: "The field '" + field + "' is missing or not as it should be."}
}
