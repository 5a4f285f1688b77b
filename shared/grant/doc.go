// Package grant keeps which people may do what on which tenant, and until when.
//
// A [Grant] names one person by tenant and object id, one tenant of ours, actions on it, and an end within [MaxDays]. There is none for
// a group, and none for every tenant. Grants are for whom the app roles of the tenant's own people do not reach: a service provider's
// help desk, and guests.
//
// A grant is two rows. The one in the tenant's partition is the tenant's: it is listed and revoked there, its audit entry is in the
// same commit, and it goes with the tenant. The one in [PeoplePartition] is found by the person at each request. A grant holds while
// both are there, so it is given in that order and revoked in the other, and whatever a crash leaves opens nothing.
//
// What an action means is not known here; see package identity.
package grant
