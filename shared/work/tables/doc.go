// Package tables keeps rows in Azure Table storage: the rows driver of package outbox.
//
// A row is an entity. Its partition and its key are the entity's PartitionKey and RowKey as they are: package work allows
// no character that Table storage refuses. Its value is cut into binary properties v00, v01 … of 64 KiB each. Its ETag is the
// service's.
//
// The limits of the service are enforced here, so that what it would refuse is refused before it is asked, with an error
// that says which limit and by how much: one partition a transaction, 100 operations, 4 MiB of request, 1 MiB an entity, 252
// properties of 64 KiB, keys of 1 KiB (Microsoft's pages "Performing entity group transactions" and "Understanding the Table
// service data model").
//
// Three faults of the client, aztables v1.4.1, are worked round: it tells a refused transaction as status 202 without a code,
// it takes an answer that is cut short for success, and it doubles quotes in keys. So the answer to a transaction is read here
// (file answer.go), and no key has a quote.
//
// Every call ends within [Options].Timeout. Within that the client repeats what the service asks to be repeated; a transaction that was
// made though its answer was lost is therefore refused at the second try, which package outbox sees through.
//
// The package knows no kind of row and no message, and creates its table only when asked to.
package tables
