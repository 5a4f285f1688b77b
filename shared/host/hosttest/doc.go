// Package hosttest tells whether hosts are alike: it feeds the same golden events to the program under each, and compares what they leave.
//
// The golden set is one message of every queue and of every kind of event, requests by HTTP, and each timer. [Run] starts a host over a
// simulated cloud and a data directory of its own, feeds it, waits until nothing is under way, ends it, and reads its store: the
// rows, the events that were announced, and the messages that wait for their time. What differs from run to run by nature (ids, times,
// durations, addresses, sealed and random bytes) is replaced by a word for it, so that [Diff] of two hosts' states has nothing to say.
//
// A host is what implements [Host]; a test of the program's main has one for each. The store must be that of a data directory: it is
// where all hosts can be compared, and what hands later work out there is not the host. What a host does with Table storage and its own
// queues, the tests of its drivers show.
package hosttest
