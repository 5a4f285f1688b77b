// Package outbox makes a work.Store and a work.Source of two services: one that keeps rows ([Rows]) and one that carries
// messages ([Queue]). No transaction spans the two, so a commit goes in steps, and each step can be finished by somebody
// else:
//
//	rows → messages → settle → clear
//
// In front of all, one transaction writes the rows, one row for each new message, the row of the delivery that is being
// settled, and a mark that says which messages are still to be sent. It decides: before it nothing has happened, after it the commit
// holds. Then the messages are sent, the delivery is completed, and the mark is cleared. What a crash leaves is sent by
// [Store.Sweep].
//
// # The message's row
//
// A message has one row in its partition from the commit that sends it until [Options].Inbox after it was done. The row is at
// once:
//
//   - the outbox: it has the body until the message is done, so a sweep can send it again;
//   - the dedup key: the row is written only if absent, so an id that was sent before is dropped, whatever its queue;
//   - the inbox: a redelivered message whose row says done is completed without running;
//   - the count: deliveries of earlier parcels are in the row, those of this one are counted by the queue;
//   - the fence: see below.
//
// A message that is put off (Retry, Postpone) is sent as a new parcel, due later, under the number of its next attempt.
// The parcel of an earlier attempt is completed wherever it turns up. So a queue needs no delayed abandon.
//
// # What is due later than the queue can wait
//
// A queue may delay for so long only ([Options].MaxDelay). A message that is due later is not sent: it stays in its row, as durable as
// the commit that wrote it, and the commit's mark stays with it, under a key that begins with the time at which it is due. A sweep
// reads the marks up to MaxDelay from now, one range of keys, and sends their messages with the delay that is left. So each message
// is sent once however long it waits, and is late only where no sweep has run for MaxDelay.
//
// A mark that also names messages which are due sooner is finished for these first, and written anew for the others. A message for
// another partition is brought there at once and waits there, so that it is erased with its partition.
//
// # Who holds a delivery
//
// A lock of the queue can't guard a write to the table, so the fence is the version of the message's row. A receiver reads it, and
// every settlement replaces the row on condition of that version. Of all the receivers that a message ever had at one attempt,
// exactly one can settle it; the others are told work.ErrLeaseLost and nothing of theirs is applied. That rests on
// the table alone, on no clock and on no queue.
//
// That a holder is refused as soon as its time is over, even if nobody has settled since, is the queue's word: near the end of
// the lock or after it, Settle renews the lock first, and a queue that has given the parcel to somebody else says so. A holder
// whose lock a queue took away before its time, and who settles before the new one does, is the one that wins.
//
// The alternative, a claim written into the row at every delivery, costs one more transaction for each; this costs one
// read, which the inbox needs anyhow.
//
// # Operations
//
// A unit of work that sends messages costs one Get, two transactions (the second one clears the mark) and three calls of the queue (receive,
// send, complete), of which receiving and sending are shared by many. Without messages it is one Get and one transaction.
//
// A commit whose messages all wait is one transaction and sends nothing; the sweep that sends them costs one Get for each, one call
// of the queue and one transaction.
//
// A sweep that finds nothing costs one List for each partition, and once a day one more for each thousand messages that it still knows.
//
// The package runs no goroutine of its own, and with one delivery asked for at a time it starts none: a simulation can run it
// step by step.
package outbox
