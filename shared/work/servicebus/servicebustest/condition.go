package servicebustest

import "pinreset/shared/work/servicebus/servicebustest/internal/amqp"

// Error conditions by which a client decides what to do.
const (
	conditionNotFound         = "amqp:not-found"
	conditionNotAllowed       = "amqp:not-allowed"
	conditionNotImplemented   = "amqp:not-implemented"
	conditionUnauthorized     = "amqp:unauthorized-access"
	conditionDecode           = "amqp:decode-error"
	conditionInvalidField     = "amqp:invalid-field"
	conditionResourceLimit    = "amqp:resource-limit-exceeded"
	conditionSize             = "amqp:link:message-size-exceeded"
	conditionTransferLimit    = "amqp:link:transfer-limit-exceeded"
	conditionLockLost         = "com.microsoft:message-lock-lost"
	conditionMessageNotFound  = "com.microsoft:message-not-found"
	conditionServerBusy       = "com.microsoft:server-busy"
	conditionTimeout          = "com.microsoft:timeout"
	conditionLinkPrefix       = "amqp:link:"
	conditionConnectionPrefix = "amqp:connection:"
)

func lockLost() *amqp.Error {
	return &amqp.Error{Condition: conditionLockLost,
		Description: "The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue."}
}

func notFound(path string) *amqp.Error {
	return &amqp.Error{Condition: conditionNotFound, Description: "The messaging entity '" + path + "' could not be found."}
}

// status returns the code with which a request is answered that failed in this way.
func status(e *amqp.Error) int32 {
	switch e.Condition {
	case conditionNotFound, conditionMessageNotFound:
		return 404
	case conditionLockLost:
		return 410
	case conditionUnauthorized:
		return 401
	case conditionNotAllowed, conditionResourceLimit:
		return 403
	case conditionDecode, conditionInvalidField:
		return 400
	case conditionNotImplemented:
		return 501
	case conditionServerBusy:
		return 503
	case conditionTimeout:
		return 408
	}
	return 500
}
