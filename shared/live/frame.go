package live

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Names of the events of a stream. Changes carries a JSON array of [Change]; All, which says to look at everything again, an empty one.
const (
	Changes = "changes"
	All     = "all"
)

// heartbeat is a comment: it shows a front end that the stream is in use, and gives the server the occasion to ask again who is looking.
var heartbeat = []byte(":\n\n")

const (
	mostChanges = 100 // of a frame
	mostAbove   = 24  // ids in a position
	tail        = 10  // characters of an id that tell it from others of the same few minutes: 50 random bits
)

// position says what has been told of a tenant: all up to the floor, and some above it.
type position struct {
	floor string // "" is the beginning
	above []string
}

// nowhere is the position of who has to look at everything again.
const nowhere = "all"

var positions = regexp.MustCompile(`^(0|[0-9A-Z]{26})((?:\.[0-9A-Z]{10})*)$`)

// parse reads a position. One that is not ours, however it came about, is as none.
func parse(text string) (p position, ok bool) {
	if len(text) > 27+mostAbove*(tail+1) {
		return position{}, false
	}
	m := positions.FindStringSubmatch(text)
	if m == nil {
		return position{}, false
	}
	if m[1] != "0" {
		p.floor = m[1]
	}
	p.above = strings.FieldsFunc(m[2], func(r rune) bool { return r == '.' })
	return p, true
}

func (p position) has(id string) bool { return slices.Contains(p.above, id[max(0, len(id)-tail):]) }

// position is that of who was told all that the topic has told.
func (t *topic) position() string {
	if len(t.told) > mostAbove || !t.again.IsZero() {
		return nowhere
	}
	text := t.floor
	if text == "" {
		text = "0"
	}
	for _, id := range slices.Sorted(maps.Keys(t.told)) {
		text += "." + id[max(0, len(id)-tail):]
	}
	return text
}

// frame is what a viewer gets: the changes, or that everything is to be looked at.
func (t *topic) frame(changes []Change, all bool) []byte {
	name := Changes
	if all || len(changes) > mostChanges {
		name, changes = All, nil
	}
	if changes == nil {
		changes = []Change{}
	}
	data, err := json.Marshal(changes)
	if err != nil {
		panic(err) // strings can always be written
	}
	return []byte("event: " + name + "\nid: " + t.position() + "\ndata: " + string(data) + "\n\n")
}
