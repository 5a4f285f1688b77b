package servicebustest

import (
	"strings"

	"pinreset/shared/work/servicebus/servicebustest/internal/amqp"
)

// tokenAddress is where tokens are put ("claims-based security").
const tokenAddress = "$cbs"

// reply is the answer to a request, by the working draft "AMQP Management" as the service reads it.
type reply struct {
	status int32
	err    *amqp.Error // where status is none of 2xx
	body   any
	fault  faultKind // loseAnswer or stall: nothing is said
}

func failed(e *amqp.Error) reply { return reply{status: status(e), err: e} }

// openRequests makes l one half of a pair for requests: the peer sends them on one link and receives the answers, which
// name the request by its message id, on another, whose address at the peer each request gives.
func (l *link) openRequests(handle func(request *amqp.Message) reply) *amqp.Error {
	c := l.session.connection
	if l.sends {
		if l.replyTo == "" {
			return &amqp.Error{Condition: conditionInvalidField, Description: "A link for answers without an address at the receiver."}
		}
		l.presettled = true
		c.replies[l.replyTo] = l
		return nil
	}
	l.handler = func(_ uint32, payload []byte) (bool, *amqp.Error) {
		request, err := amqp.DecodeMessage(payload)
		if err != nil {
			return false, &amqp.Error{Condition: conditionDecode, Description: err.Error()}
		}
		to := c.replies[request.Properties.ReplyTo]
		if to == nil {
			return false, &amqp.Error{Condition: conditionNotFound, Description: "No link takes answers to '" + request.Properties.ReplyTo + "'."}
		}
		r := handle(request)
		switch {
		case r.fault == loseAnswer:
			c.cut()
			return true, nil
		case r.fault == stall:
			return false, nil // the request has arrived; that is all the client learns
		case r.err != nil && endsConnection(r.err):
			c.end(r.err)
			return true, nil
		case r.err != nil && endsLink(r.err):
			l.detach(r.err)
			return true, nil
		}
		to.pending = append(to.pending, r.message(request).Append(nil))
		to.resume()
		return false, nil
	}
	return nil
}

func (r reply) message(request *amqp.Message) *amqp.Message {
	properties := amqp.Map{"statusCode": r.status, "statusDescription": "OK"}
	if r.err != nil {
		properties["statusDescription"] = r.err.Description
		properties["errorCondition"] = r.err.Condition
	}
	return &amqp.Message{
		Properties:  amqp.Properties{CorrelationID: request.Properties.MessageID},
		Application: properties,
		Value:       r.body,
	}
}

// putToken takes a token for an entity. Links to it can be opened afterwards.
func (c *connection) putToken(request *amqp.Message) reply {
	text := func(name string) string { s, _ := request.Application[name].(string); return s }
	if text("operation") != "put-token" {
		return failed(&amqp.Error{Condition: conditionNotImplemented, Description: "No operation '" + text("operation") + "'."})
	}
	c.server.stats.Tokens++
	token := Token{Audience: text("name"), Type: text("type")}
	token.Value, _ = request.Value.(string)
	if c.server.config.Authorize != nil {
		if err := c.server.config.Authorize(token); err != nil {
			return failed(&amqp.Error{Condition: conditionUnauthorized, Description: err.Error()})
		}
	}
	address := audiencePath(token.Audience)
	path, _ := managedPath(address)
	if _, found := c.server.find(path); !found && path != "" {
		return failed(notFound(path))
	}
	c.granted[fold(address)] = true
	return reply{status: 202}
}

// audiencePath returns the entity that a token is for, "" for all of the namespace.
func audiencePath(audience string) string {
	if _, rest, ok := strings.Cut(audience, "://"); ok {
		_, audience, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(audience, "/")
}
