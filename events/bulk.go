package events

// BulkResetDue is pinreset's reminder to itself to go on with a bulk reset: to find its devices, to begin more of them, to
// count those that have ended.
type BulkResetDue struct {
	RequestID string `json:"requestId"` // the bulk reset
}

func (BulkResetDue) Kind() string      { return "passcode.bulk.due.v1" }
func (d BulkResetDue) Request() string { return d.RequestID }
func (BulkResetDue) subject() Subject  { return "" }

// Validate implements Data.
func (d BulkResetDue) Validate() error { return id("requestId", d.RequestID) }

// Outcomes of a bulk reset.
const (
	BulkPlanned   = "planned"   // its devices are counted; nothing was begun
	BulkDone      = "done"      // every device has ended, well or not
	BulkCancelled = "cancelled" // given up; devices that Intune had been told of still end
)

// BulkResetEnded tells that a bulk reset has come to its end. How many devices ended how is in the bulk reset itself.
type BulkResetEnded struct {
	RequestID string `json:"requestId"`
	Outcome   string `json:"outcome"`
}

func (BulkResetEnded) Kind() string      { return "passcode.bulk.ended.v1" }
func (d BulkResetEnded) Request() string { return d.RequestID }
func (BulkResetEnded) subject() Subject  { return "" }

// Validate implements Data.
func (d BulkResetEnded) Validate() error {
	return check(id("requestId", d.RequestID), oneOf("outcome", d.Outcome, BulkPlanned, BulkDone, BulkCancelled))
}
