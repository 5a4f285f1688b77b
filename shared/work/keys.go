package work

import "strings"

// crockford is the alphabet of ULIDs, in order.
const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// Descending turns an id whose text order is the order of creation (a ULID) into a key whose order is newest first, because
// tables list in ascending key order only. It is its own inverse. Characters outside the ULID alphabet stay as they are.
func Descending(id string) string {
	out := []byte(id)
	for i, c := range out {
		if j := strings.IndexByte(crockford, c); j >= 0 {
			out[i] = crockford[len(crockford)-1-j]
		}
	}
	return string(out)
}
