// Package servicebustest is a model of an Azure Service Bus namespace for tests, as net/http/httptest is of a web server. It
// listens on a loopback address, keeps everything in memory and speaks the service's dialect of AMQP 1.0, so that the
// unmodified client of the Azure SDK, azservicebus, works with it over a real socket. It needs the standard library alone.
//
//	server := servicebustest.New(t, servicebustest.Config{Queues: []servicebustest.Queue{{Name: "orders"}}})
//	client, err := azservicebus.NewClientFromConnectionString(server.ConnectionString(), nil)
//
// It is a model. It was written from Microsoft's pages, the standard and the client's source, and tested with azservicebus
// v1.11.0. Nobody has compared it with the real service or with the vendor's emulator.
//
// # What is modelled
//
// Queues, topics with subscriptions, and the dead-letter queue of each. Peek-lock with lock tokens, renewal, expiry and
// delivery counts; receive-and-delete; complete, abandon, defer, dead-letter and release, over a link or by lock token;
// dead-lettering after too many deliveries. Locks outlive links and connections. Sending one message or a batch, which is
// taken or refused as a whole; schedules and their cancelling; times to live; duplicate detection; peeking; bounds on the
// size of a message and of an entity. Tokens: a link needs one that was put on its connection before, and
// [Config.Authorize] judges it. TCP and TLS.
//
// # What is not
//
// Sessions of messages, transactions, filters and rules of subscriptions, forwarding, partitions, entities that are created,
// changed or disabled at run time, the administration API, AMQP over WebSockets, and a token's end. Everything is gone when
// the server closes. Where neither Microsoft's pages nor the client's source say how the service behaves, the model chose:
// a released message does not count as delivered; a dead letter keeps its sequence number and delivery count, and can't be
// dead lettered again; a duplicate takes no sequence number; subscriptions and dead-letter queues refuse senders; the texts
// of errors. DeadLetterSource is not set, as Microsoft describes it for messages forwarded out of a dead-letter queue only.
//
// # Time and trouble
//
// A [ManualClock] stands still until a test advances it, and whatever becomes due on the way has happened when Advance
// returns. [Server.Fail], [Server.LoseAnswer] and [Server.Stall] make operations go wrong, [Server.DropConnections] and
// [Server.DetachLinks] cut clients off. [Server.Counts] and [Server.Await] show what is stored, so that a test need not
// sleep.
package servicebustest
