// Package sqlitework keeps rows and messages of package work in one SQLite database: the backend of one machine.
//
// Rows, messages and the acknowledgement of a delivery commit in one transaction, so nothing has to be repaired after a
// crash: what was acknowledged is there, what was not is not. A commit returns when it is on stable storage (WAL with
// synchronous=FULL, and fullfsync on macOS).
//
// One goroutine owns the only connection that commits; another one copies what it has committed from the log to the database
// (file checkpoint.go). The first takes everything that waits, runs it as one transaction and
// answers everybody after one fsync. While the disk works the next group gathers, so there is no artificial delay: one caller alone
// pays one fsync, and a hundred callers pay one together. Members of a group don't disturb each other: what can be refused
// (a condition, a lease) is checked before its first write. A storage error fails the whole group.
//
// A message is a row of one table from the moment it is sent until its id may be forgotten ([Options].Inbox after it was
// done). The table's unique index is therefore both the queue's dedup and the inbox, and one statement sends a message or
// drops it. The due time of a message in somebody's hands is the end of the lease, which makes an expired lease nothing special: the message is
// simply due.
//
// The data directory belongs to one process at a time, which an operating system lock enforces, and must be on a local
// disk: SQLite's locks and shared memory do not work over a network file system.
package sqlitework
