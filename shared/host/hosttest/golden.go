package hosttest

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"pinreset/events"
	"pinreset/shared/work"
)

// Message is a golden one.
type Message struct {
	Name  string // of the example
	ID    string
	Queue work.Queue
	Body  []byte
}

// queues says where each example waits, by the longest beginning of its name.
var queues = map[string]work.Queue{
	"device.pin": work.Announcements, "device.reported": "device-report", "failure": work.Announcements, "housekeeping": "housekeeping-bulk", "notification": "notification",
	"passcode.bulk.due": "bulkreset-bulk", "passcode.bulk.ended": work.Announcements, "passcode.expired": work.Announcements,
	"passcode.expirydue": "passcode-reset-bulk", "passcode.reset.adopted": work.Announcements, "passcode.reset.cancelled": work.Announcements,
	"passcode.reset.crossed": work.Announcements, "passcode.reset.issued": work.Announcements, "passcode.reset": "passcode-reset",
	"policy.rollout.completed": work.Announcements, "policy": "policy", "portal": "portalaction-bulk", "tenant.audit.requested": "audit",
	"tenant.audit": work.Announcements, "tenant.drift": work.Announcements, "tenant.settings": work.Announcements,
	"tenant.consent.completed": work.Announcements, "tenant.subscriptions": "subscription-bulk", "tenant": "consent",
}

// second are queues of examples that come by two.
var second = map[string]work.Queue{"tenant.audit.requested.v1": "audit-bulk"}

// Golden makes a message of each example, in the order of their names, and another where its kind has a second queue.
func Golden(examples fs.FS) ([]Message, error) {
	files, err := fs.Glob(examples, "*.json")
	if err != nil {
		return nil, err
	}
	var all []Message
	for _, file := range files {
		body, err := fs.ReadFile(examples, file)
		if err != nil {
			return nil, err
		}
		e, err := events.Parse(body)
		if err != nil {
			return nil, fmt.Errorf("example %s: %w", file, err)
		}
		name := strings.TrimSuffix(file, path.Ext(file))
		queue, ok := queueOf(name)
		if !ok {
			return nil, fmt.Errorf("example %s has no queue", file)
		}
		all = append(all, Message{Name: name, ID: e.ID, Queue: queue, Body: body})
		if queue, ok := second[name]; ok {
			e.ID += "-2"
			if body, err = json.Marshal(e); err != nil {
				return nil, fmt.Errorf("example %s: %w", file, err)
			}
			all = append(all, Message{Name: name, ID: e.ID, Queue: queue, Body: body})
		}
	}
	return all, nil
}

func queueOf(name string) (work.Queue, bool) {
	for {
		if q, ok := queues[name]; ok {
			return q, true
		}
		cut := strings.LastIndex(name, ".")
		if cut < 0 {
			return "", false
		}
		name = name[:cut]
	}
}
