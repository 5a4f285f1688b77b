// Package work is the unit of work: everything a handler leaves behind, committed in one step.
//
// A handler reads rows, stages writes and messages on a [Unit], and returns. Dispatch then commits the rows, the messages
// and "this delivery is done" together. Nothing is visible before, nothing is lost after: a commit that returned nil is on
// stable storage.
//
// The contract is what Azure Table storage plus Service Bus can give, and no more:
//
//   - All rows of one commit live in ONE partition, at most [MaxOperations] writes and messages, at most [MaxBatchBytes].
//   - A partition is a tenant (its id), so that a tenant's lists, its devices, its audit records and its failures change
//     together and no read can reach another tenant. Table storage serves about 2,000 entities a second from a partition and a
//     reset costs about 30 in its whole life; Graph allows 10 device writes a second and tenant, so a tenant's partition is
//     never the bound.
//   - A write is conditional: on an ETag, on absence, or not at all. A condition that fails, fails the whole commit with
//     [ErrConflict].
//   - A delivery is leased. Its holder renews the lease, and a holder whose lease has passed to somebody else is refused with
//     [ErrLeaseLost]: nothing of its commit is applied.
//   - The number of deliveries is durable, so a message that kills the process is counted too.
//   - A message id is a dedup key: a message sent twice, or delivered again after its unit was committed, changes nothing.
//   - Messages are delivered at least once and in no promised order, now or at a time.
//
// Backends: sqlitework (one machine, one transaction) and outbox (rows in one service and messages in another, over drivers such
// as tables and servicebus). Package worktest states the contract as a test suite; every backend passes it. The package does no
// retries and knows no kind of event; see package dispatch for both.
package work
