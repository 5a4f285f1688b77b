package events

// HousekeepingDue is pinreset's reminder to itself to tidy a tenant's partition: one round of it, or what is left of one.
type HousekeepingDue struct {
	RequestID string `json:"requestId"`      // names the round
	Task      string `json:"task"`           // where in the round to go on
	Page      string `json:"page,omitempty"` // where in the task's list of rows; "" is its beginning
}

func (HousekeepingDue) Kind() string      { return "housekeeping.due.v1" }
func (d HousekeepingDue) Request() string { return d.RequestID }
func (HousekeepingDue) subject() Subject  { return "" }

// Validate implements Data.
func (d HousekeepingDue) Validate() error {
	return check(id("requestId", d.RequestID), id("task", d.Task), CheckText("page", d.Page, maxPage, false))
}
