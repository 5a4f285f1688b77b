package callback

// Result is what became of a call of a device or of Graph.
type Result struct {
	From    string // Device or Graph
	Outcome string
}

// Who calls.
const (
	Device = "device"
	Graph  = "graph"
)

// Outcomes.
const (
	Accepted  = "accepted"
	Repeated  = "repeated"    // by its id: answered as the first time, without an effect
	TooLarge  = "too_large"   // bigger than it may be
	BadKey    = "unknown_key" // no valid key at the address
	BadHeader = "bad_header"
	BadTime   = "bad_time"
	Forged    = "bad_signature"
	Reused    = "id_reused"    // the id of another body
	Late      = "out_of_order" // the sequence is not above the device's last one
	Malformed = "malformed"
	Unstored  = "not_stored" // the store did not take it; the sender tries again

	Unknown    = "unknown_subscription"
	BadSecret  = "bad_client_state"
	Validation = "validation" // Graph asks whether the address is there
)

// Results returns every result there is, so that each can be counted from zero.
func Results() []Result {
	var all []Result
	for _, outcome := range []string{Accepted, Repeated, TooLarge, BadKey, BadHeader, BadTime, Forged, Reused, Late, Malformed, Unstored} {
		all = append(all, Result{Device, outcome})
	}
	for _, outcome := range []string{Accepted, TooLarge, Malformed, Unstored, Unknown, BadSecret, Validation} {
		all = append(all, Result{Graph, outcome})
	}
	return all
}
