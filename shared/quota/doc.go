// Package quota divides a limit that holds for all processes together among those that run.
//
// Microsoft counts calls per application and tenant, not per process. Were each process to keep the whole limit, two of them
// would break it. So each leases a part of it for a short time, in one row a tenant and application. The row is read and
// written once in a quarter of a lease's life, and only for tenants that are being called; no call costs a store operation.
//
// The contract:
//
//   - The parts in a row never sum to more than [Whole], and a process never has more calls in a window than its part in the row
//     allows. So all processes together stay within the limit, at every moment and also while parts change hands.
//   - A process that has to give something up stops using it at once, and gives it up in the row once its calls have left the
//     window.
//   - A process that is alone holds all but a twentieth. That is kept for one that comes along, which so can begin at once. Those
//     that have to wait for room share evenly; those that don't keep a twentieth.
//   - A process with a call that needs more than the even share gets as much as the call needs, one process at a time, the one that
//     has waited longest first. The others share the rest meanwhile. So every call that is within the limit is made in the end.
//   - A process that ends in order hands its part back at once, but for what its last calls take up until they have left the window.
//   - What a process held that ended without a word is free again when its lease has ended, the longest window that it could
//     have called in has passed, and a quarter of a life more, because clocks differ.
//   - Clocks of processes may differ by a quarter of a lease's life. A greater difference can let calls go over the limit for a
//     while after a process died; it never stops anybody for longer than a life.
//
// It is not a rate limiter: it says how much, and the caller keeps the windows. It is not a lock: nobody waits in it.
package quota
