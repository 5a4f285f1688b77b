package portal

import (
	"fmt"
	"strings"
	"time"

	"pinreset/shared/diag"
)

// supportText is a failure as text, to be pasted into a ticket or a mail to Microsoft's support. Like the page it holds no secret.
func supportText(p diag.Page) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-14s %s\n", name+":", value)
		}
	}
	line("Failure", p.Title)
	line("Code", string(p.Code))
	line("Diagnostics id", p.ID)
	line("When", p.At.UTC().Format(time.RFC3339))
	line("Tenant", p.Tenant)
	line("Device", p.DeviceID)
	line("Request", p.RequestID)
	line("Cause", p.Cause)
	line("Detail", p.Detail)
	if len(p.Timeline) > 0 {
		b.WriteString("\nTimeline (UTC)\n")
	}
	for _, a := range p.Timeline {
		fmt.Fprintf(&b, "%s  %s %s, delivery %d, %s, %.0f ms%s\n", clock(a.StartedAt), a.Function, a.Kind, a.Delivery, a.Verdict, a.Milliseconds, after(", ", a.Code))
		if a.Detail != "" {
			fmt.Fprintf(&b, "    %s\n", a.Detail)
		}
		for _, s := range a.Steps {
			fmt.Fprintf(&b, "    %s  %s", clock(s.At), s.Text)
			if s.Status != 0 {
				fmt.Fprintf(&b, ", status %d", s.Status)
			}
			if s.Milliseconds != 0 {
				fmt.Fprintf(&b, ", %.0f ms", s.Milliseconds)
			}
			b.WriteString(after(", ", s.ErrorCode) + after(", request-id ", s.RequestID) + after(", client-request-id ", s.ClientRequestID) + after(", Date ", s.ServerDate) + after(", Retry-After ", s.RetryAfter) + after(", ", s.Throttle) + "\n")
		}
		if a.Dropped > 0 {
			fmt.Fprintf(&b, "    and %d more steps\n", a.Dropped)
		}
	}
	if p.Truncated {
		b.WriteString("Only the first and the last attempts are here.\n")
	}
	return b.String()
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

// after is the text behind its label, or nothing.
func after(label, text string) string {
	if text == "" {
		return ""
	}
	return label + text
}
