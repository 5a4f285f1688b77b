package events

// FailureRaised tells that a request has ended without its result. Each failed request raises one.
type FailureRaised struct {
	RequestID   string   `json:"requestId"`
	Function    string   `json:"function"`           // which handler gave up: "consent", "passcodereset"
	DeviceID    string   `json:"deviceId,omitempty"` // where the request was about a device
	Code        string   `json:"code"`               // stable; see package fault
	Title       string   `json:"title"`
	Cause       string   `json:"cause"`
	Fix         []string `json:"fix"` // what to do, in order
	LearnMore   []string `json:"learnMore,omitempty"`
	Diagnostics string   `json:"diagnostics"` // where the whole story is, as a page and as JSON
}

func (FailureRaised) Kind() string      { return "failure.raised.v1" }
func (d FailureRaised) Request() string { return d.RequestID }
func (d FailureRaised) subject() Subject {
	if d.DeviceID == "" {
		return ""
	}
	return device(d.DeviceID)
}

// Validate implements Data.
func (d FailureRaised) Validate() error {
	if d.DeviceID != "" {
		if err := guid("deviceId", d.DeviceID); err != nil {
			return err
		}
	}
	fix := func(field, value string) error { return CheckText(field, value, maxFix, true) }
	link := func(field, value string) error { return match(field, value, linkPattern(), "must be an https link") }
	return check(id("requestId", d.RequestID), id("function", d.Function), id("code", d.Code),
		CheckText("title", d.Title, 200, true), CheckText("cause", d.Cause, 1000, true),
		list("fix", d.Fix, 1, maxList, fix), list("learnMore", d.LearnMore, 0, maxList, link),
		match("diagnostics", d.Diagnostics, pagePattern(), "must be a link"))
}
