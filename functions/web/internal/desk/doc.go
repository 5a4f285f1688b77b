// Package desk is what a person or a program may do with pinreset through HTTP, without HTTP: the API and the pages both
// call it, so that a rule stands in one place.
//
// Everything about a tenant goes through a [Room]: a tenant together with who entered it. A room can only be had from
// [Desk.Enter], which answers for a tenant that the principal does not see as it does for one that does not exist. Every
// method of a room asks for its permission before it reads anything of the tenant.
//
// What changes something takes an idempotency key and leaves its answer in the same commit as its effect, so that a request
// that is repeated gets the first answer and does nothing twice. Two requests at the same moment are put in order by the
// store: the one that comes second reads again.
//
// Refusals are *problem.Refusal. Other errors come from the store, the vault or Graph as they are.
package desk
