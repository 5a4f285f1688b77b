package notice

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"pinreset/events"
)

// maxName bounds names of devices and platforms, in characters: whoever has a device names it.
const maxName = 64

// Name is a name that somebody else chose, fit for one line of text: without control characters, and not long.
func Name(text string) string {
	runes := []rune(strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " "))
	if len(runes) > maxName {
		return string(runes[:maxName-1]) + "…"
	}
	return string(runes)
}

// body is what a webhook is told, in the form that the specification "Standard Webhooks" proposes.
type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"` // when it happened
	Data      data      `json:"data"`
}

type data struct {
	Tenant     string `json:"tenant"`
	ResetID    string `json:"resetId"`
	DeviceID   string `json:"deviceId"`
	DeviceName string `json:"deviceName,omitempty"`
	Platform   string `json:"platform,omitempty"`
	Outcome    string `json:"outcome,omitempty"`
	Actor      string `json:"actor"`
	Contact    string `json:"contact,omitempty"` // whom to ask, if it was not you
}

// Body is the body of a signed webhook: the same bytes in every attempt.
func Body(tenant string, d Delivery) ([]byte, error) {
	return json.Marshal(body{Type: d.What, Timestamp: d.At, Data: data{
		Tenant: tenant, ResetID: d.ResetID, DeviceID: d.DeviceID, DeviceName: Name(d.DeviceName), Platform: Name(d.Platform),
		Outcome: d.Outcome, Actor: d.Actor, Contact: d.Contact,
	}})
}

// Subject is the one line that says what happened.
func Subject(d Delivery) string {
	device := "your device"
	if name := Name(d.DeviceName); name != "" {
		device = name
	}
	switch d.What {
	case events.NoticeResetStarted:
		return "A passcode reset of " + device + " was started"
	case events.NoticePasscodeRevealed:
		return "The new passcode of " + device + " was looked at"
	}
	switch d.Outcome {
	case events.NoticeIssued:
		return device + " has a new passcode"
	case events.NoticeRemoved:
		return "The passcode of " + device + " was removed"
	case events.NoticeObserved:
		return device + " got a new passcode by Intune's own portal"
	case events.NoticeFailed:
		return "A passcode reset of " + device + " failed"
	default:
		return "A passcode reset of " + device + " was given up"
	}
}

// Facts are what a person is told beside the subject, by name, in order.
func Facts(d Delivery) [][2]string {
	facts := [][2]string{}
	add := func(name, value string) {
		if value != "" {
			facts = append(facts, [2]string{name, value})
		}
	}
	add("Device", Name(d.DeviceName))
	add("Platform", Name(d.Platform))
	add("Device id", d.DeviceID)
	add("When", d.At.UTC().Format("2 January 2006, 15:04:05 UTC"))
	add("Asked for by", actors[d.Actor])
	add("Request", d.ResetID)
	return facts
}

var actors = map[string]string{
	events.NoticeByOperator: "an operator", events.NoticeByUser: "the device's user", events.NoticeBySystem: "a system",
}

// NotYou says what to do about it.
func NotYou(d Delivery) string {
	if d.Contact == "" {
		return "If you did not ask for this, tell your help desk at once, by a way that you know already."
	}
	return "If you did not ask for this, tell " + d.Contact + " at once."
}

// Text is the body of a mail: plain, without a link to follow.
func Text(d Delivery) string {
	var b strings.Builder
	b.WriteString(Subject(d) + ".\n\n")
	for _, f := range Facts(d) {
		b.WriteString(f[0] + ": " + f[1] + "\n")
	}
	b.WriteString("\n" + NotYou(d) + "\nThis message holds no code, and nobody will ask you for one because of it.\n")
	return b.String()
}

// Parts of an adaptive card. Texts are runs, which unlike text blocks know no markup: a device's name makes no link.
type (
	card struct {
		Schema  string  `json:"$schema"`
		Type    string  `json:"type"`
		Version string  `json:"version"`
		Body    []block `json:"body"`
	}
	block struct {
		Type    string `json:"type"`
		Inlines []run  `json:"inlines"`
	}
	run struct {
		Type   string `json:"type"`
		Text   string `json:"text"`
		Weight string `json:"weight,omitempty"`
	}
	attachment struct {
		ContentType string `json:"contentType"`
		Content     card   `json:"content"`
	}
	message struct {
		Type        string       `json:"type"`
		Attachments []attachment `json:"attachments"`
	}
)

// Card is what a workflow of Teams takes: Microsoft's page "Create incoming webhooks with Workflows for Microsoft Teams".
func Card(d Delivery) ([]byte, error) {
	line := func(runs ...run) block { return block{Type: "RichTextBlock", Inlines: runs} }
	body := []block{line(run{Type: "TextRun", Text: Subject(d), Weight: "Bolder"})}
	for _, f := range Facts(d) {
		body = append(body, line(run{Type: "TextRun", Text: f[0] + ": ", Weight: "Bolder"}, run{Type: "TextRun", Text: f[1]}))
	}
	body = append(body, line(run{Type: "TextRun", Text: NotYou(d)}))
	return json.Marshal(message{Type: "message", Attachments: []attachment{{
		ContentType: "application/vnd.microsoft.card.adaptive",
		Content:     card{Schema: "http://adaptivecards.io/schemas/adaptive-card.json", Type: "AdaptiveCard", Version: "1.4", Body: body},
	}}})
}
