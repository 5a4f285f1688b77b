// Package approval is the second person: what a tenant wants two people for waits here until another one has decided.
//
// What is asked for is a row of the tenant's partition from the moment it is asked, with the id that the reset or the bulk reset will
// have. It is good for [Life] and for one use, and it is bound to the exact request: the tenant, what is to be done with what, the
// reason, the ticket and who asks make up its hash, and whoever decides names that hash. Whoever asks can't decide, nor can the person
// whose device it is. The decision, the use and the message that begins the work are one commit, so that of two who approve at once one
// does, and nothing is begun that was not approved.
//
// When a second person is needed, [Rule] says, from the tenant's settings and from what the directory tells of the device's user.
// "Could not be read" is an error, never "not needed".
//
// It does not say who may decide: identity.ApprovalDecide does, and its callers ask. It begins no work itself.
package approval
