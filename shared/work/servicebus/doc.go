// Package servicebus carries messages of package work on Azure Service Bus: the queue driver of package outbox.
//
// What a queue must be is said by [Entities], from which the templates are checked: peek-lock, duplicate detection, a
// delivery limit far above dispatch's own. The driver itself creates and changes nothing in the namespace; it needs
// the roles Azure Service Bus Data Sender and Azure Service Bus Data Receiver and no more.
//
// The client library, azservicebus, is used as it is, with what its users have learnt about it:
//
//   - Every call has a deadline, because a stalled attempt of the library ends with its context and not before.
//   - A message is settled on the link that it came by. When that link is gone the library would try the dead link until
//     its patience ends, so the driver gives it one second and then settles by lock token, which works over any link.
//   - A settlement whose answer was lost may have happened. Asking again then says that the lock is lost, and that is taken for
//     done: either it was, or the message comes again and the inbox of package outbox knows it.
//   - A receiver that got nothing for ten minutes is made anew, because receivers have been seen to go deaf.
//   - A message whose properties the library does not expect makes it panic; that is an error of one receive.
//   - The library's lock renewal, batching and tracing are none; the first is asked for by the host through Renew, the second
//     is done here for everything that waits at a queue, and for the third a message carries its trace as
//     traceparent and as Diagnostic-Id, which older readers look for.
//
// A process has one [Bus], which has one client and one connection.
//
// No test of the project has run against the real service yet. They run against a server that speaks its dialect, and against a
// namespace when the environment names one.
package servicebus
