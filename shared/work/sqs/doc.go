// Package sqs carries messages of package work on Amazon SQS: the queue driver of package outbox, over standard queues.
//
// What SQS has not, this is instead:
//
//   - Duplicate detection: none on standard queues. A parcel that is sent again is there twice; the message's row in package outbox lets
//     one of its holders settle, and the other is completed without running.
//   - Delays beyond 15 minutes: package outbox, if its MaxDelay is [MaxDelay], keeps what is due later in rows until it has come that near.
//   - A reason with a dead letter: none. DeadLetter sends a copy to the queue's own dead-letter queue, with the reason in its
//     attributes, and then deletes the parcel. A crash between the two leaves the parcel, which comes again and is set aside again.
//   - Bytes: bodies and attributes are text that XML allows ("Amazon SQS message quotas"). Any other body goes as base64, and
//     an attribute says so; attributes without text, which SQS refuses, are named in one of the driver's own.
//
// A receive that its caller gives up may have been answered by then. What the answer brings is made visible again; where the answer
// is lost, the messages come again at the end of their visibility, with one more delivery counted.
//
// SQS calls a message by the receipt handle of its latest delivery. What it does with an older one while somebody else holds the
// message is not documented for certain; package outbox does not rest on it.
//
// The driver makes and changes no queue. It needs sqs:SendMessage on the queues that it sends to and on the dead-letter queues of those that
// it takes from; sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on those that it takes from; sqs:GetQueueAttributes on those
// that it looks at; and sns:Publish where there is a topic. It has run against models of SQS and SNS (package sqstest) and not against the services.
package sqs
