// Package outboxtest has a rows driver and a queue driver in memory, for tests of package outbox and of what stands on it,
// and for simulations.
//
// They are models of the contracts in package outbox and of nothing else: no service's limits, delays or faults beyond those
// that [Calls] makes. They decide nothing by chance and ask no clock but the one they are given.
package outboxtest
