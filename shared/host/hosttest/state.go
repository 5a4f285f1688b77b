package hosttest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"pinreset/shared/diag"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/quota"
	"pinreset/shared/tenant"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// State is what a host has left, each line without what differs by nature, in the order of its text.
type State struct {
	Rows    []string // those that announce nothing
	Events  []string // what was announced
	Waiting []string // how many messages of a queue wait for their time
}

// exampleTenant is whose the examples are.
const exampleTenant = "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f"

// Rows is a store, to read its rows.
type Rows interface {
	List(ctx context.Context, query work.Query) (work.Page, error)
}

// open reads the data directory of a program that has ended.
func open(ctx context.Context, data string) (s State, err error) {
	store, err := sqlitework.Open(filepath.Join(data, "work"), sqlitework.Options{Now: time.Now})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	stats, err := store.Stats(ctx)
	if err != nil {
		return s, err
	}
	for _, q := range stats.Queues {
		s.Waiting = append(s.Waiting, line(q.Queue, q.Due, q.Later, q.Leased))
	}
	return s, s.read(ctx, store)
}

func line(queue work.Queue, due, later, held int) string {
	return fmt.Sprintf("%s: %d due, %d later, %d held", queue, due, later, held)
}

// waitedForPermit is in an attempt that was put off for other processes' use of Graph's limits. A host with one process has none.
const waitedForPermit = `"code":"` + string(fault.WaitingForPermit) + `"`

// read takes the rows, and puts all lines into their order. How processes divide the limits of Graph is left out: it is theirs alone.
func (s *State) read(ctx context.Context, store Rows) error {
	for _, partition := range []string{graphsim.Contoso, exampleTenant, dispatch.SystemPartition, tenant.Partition} {
		for q := (work.Query{Partition: partition}); ; {
			page, err := store.List(ctx, q)
			if err != nil {
				return fmt.Errorf("list rows of %s: %w", partition, err)
			}
			for _, row := range page.Rows {
				if strings.HasPrefix(row.Key.Row, quota.Prefix) {
					continue
				}
				line, err := neutral(row)
				if err != nil {
					return fmt.Errorf("row %s of %s: %w", row.Key.Row, partition, err)
				}
				switch {
				case strings.HasPrefix(row.Key.Row, diag.EventPrefix):
					s.Events = append(s.Events, line)
				case strings.HasPrefix(row.Key.Row, diag.AttemptPrefix) && strings.Contains(line, waitedForPermit):
				default:
					s.Rows = append(s.Rows, line)
				}
			}
			if q.Page = page.Next; q.Page == "" {
				break
			}
		}
	}
	for _, lines := range [][]string{s.Rows, s.Events, s.Waiting} {
		slices.Sort(lines)
	}
	return nil
}

// neutral is a row as a line of text.
func neutral(row work.Row) (string, error) {
	d := json.NewDecoder(bytes.NewReader(row.Value))
	d.UseNumber()
	var value any
	if err := d.Decode(&value); err != nil {
		return "", err
	}
	text := &strings.Builder{}
	e := json.NewEncoder(text)
	e.SetEscapeHTML(false)
	err := e.Encode(without(value, ""))
	return neutralText(row.Key.Partition) + " " + neutralText(row.Key.Row) + " " + strings.TrimSpace(text.String()), err
}

// Members whose value differs by nature, whatever its form.
var (
	measured = []string{"milliseconds"} // how long something took
	random   = []string{"nonce", "sealed", "publicKey"}
)

// signsIn are calls by which a process signs in: each does so once, so it depends on how many there are in whose run that is.
var signsIn = regexp.MustCompile(`^(GET|POST) /[^/]+/(v2\.0/\.well-known/openid-configuration|oauth2/v2\.0/token)$`)

// signIn reports whether the value is the step of a run that is such a call.
func signIn(value any) bool {
	step, _ := value.(map[string]any)
	text, _ := step["text"].(string)
	return signsIn.MatchString(text)
}

func without(value any, name string) any {
	switch v := value.(type) {
	case map[string]any:
		for _, key := range slices.Collect(maps.Keys(v)) {
			inner := v[key]
			delete(v, key)
			inner = without(inner, key)
			if steps, ok := inner.([]any); !ok || key != "steps" || len(steps) > 0 { // none is not written
				v[neutralText(key)] = inner
			}
		}
		return v
	case []any:
		v = slices.DeleteFunc(v, signIn)
		for i := range v {
			v[i] = without(v[i], name)
		}
		return v
	case string:
		if slices.Contains(random, name) {
			return "‹bytes›"
		}
		return neutralText(v)
	case json.Number:
		if slices.Contains(measured, name) {
			return "‹measured›"
		}
	}
	return value
}

// differs are what differs from run to run, in the order in which it is looked for.
var differs = []struct {
	form *regexp.Regexp
	word string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)`), "‹time›"},
	{regexp.MustCompile(`[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT`), "‹time›"},
	{regexp.MustCompile(`https?://127\.0\.0\.1:\d+`), "‹address›"},
	{regexp.MustCompile(`(?i)\b[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}\b`), "‹guid›"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "‹trace›"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "‹span›"},
	{regexp.MustCompile(`\b[0-9A-Z]{26}\b`), "‹id›"},
	{regexp.MustCompile(`\b[0-9A-HJKMNP-TV-Z]{8}\b`), "‹page›"},
	{regexp.MustCompile(`[0-9A-Za-z+/_-]{32,}=*`), "‹bytes›"},
}

// mixed reports whether the text has capitals and small letters as bytes in base64 have them, and words hardly do.
func mixed(text string) bool {
	capital, small := 0, 0
	for _, c := range text {
		switch {
		case c >= 'A' && c <= 'Z':
			capital++
		case c >= 'a' && c <= 'z':
			small++
		}
	}
	return capital >= 4 && small >= 4
}

// same are ids that are the same in every run: they stay.
var same = []string{graphsim.Contoso, exampleTenant, "4bf92f3577b34da6a3ce929d0e0e4736"} // the last is the examples' trace

func neutralText(text string) string {
	for _, d := range differs {
		text = d.form.ReplaceAllStringFunc(text, func(found string) string {
			if slices.Contains(same, found) || d.word == "‹bytes›" && !mixed(found) {
				return found
			}
			return d.word
		})
	}
	return text
}

// Diff tells what one of two states has and the other has not; nothing where they are alike.
func Diff(a, b State) []string {
	var lines []string
	for _, part := range []struct {
		name string
		a, b []string
	}{{"row", a.Rows, b.Rows}, {"event", a.Events, b.Events}, {"waiting", a.Waiting, b.Waiting}} {
		count := map[string]int{}
		for _, line := range part.a {
			count[line]++
		}
		for _, line := range part.b {
			count[line]--
		}
		for _, line := range slices.Sorted(maps.Keys(count)) {
			switch n := count[line]; {
			case n > 0:
				lines = append(lines, fmt.Sprintf("%s, %d times more in the first: %s", part.name, n, line))
			case n < 0:
				lines = append(lines, fmt.Sprintf("%s, %d times more in the second: %s", part.name, -n, line))
			}
		}
	}
	return lines
}
