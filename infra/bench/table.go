package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// row is one figure. target is "" where it is there to be compared with.
type row struct {
	figure, value, target string
	missed                bool
	note                  string
}

type table []row

func (t *table) add(r row) { *t = append(*t, r) }

// ok reports whether no target was missed.
func (t table) ok() bool { return !slices.ContainsFunc(t, func(r row) bool { return r.missed }) }

func (t table) print(w io.Writer) {
	tabs := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprint(tabs, "| figure\t| measured\t| target\t|\t| note\t|\n|---\t|---\t|---\t|---\t|---\t|\n")
	for _, r := range t {
		verdict := ""
		switch {
		case r.missed:
			verdict = "MISSED"
		case r.target != "":
			verdict = "ok"
		}
		fmt.Fprintf(tabs, "| %s\t| %s\t| %s\t| %s\t| %s\t|\n", r.figure, r.value, r.target, verdict, r.note)
	}
	_ = tabs.Flush()
}

// atMost adds a duration with the most that it may be.
func (t *table) atMost(figure string, value, most time.Duration, note string) {
	t.add(row{figure, ms(value), "≤ " + ms(most), value > most, note})
}

// within adds a size in bytes with the most that it may be.
func (t *table) within(figure string, value, most int64, note string) {
	t.add(row{figure, mb(value), "≤ " + mb(most), value > most, note})
}

const megabyte = 1_000_000

func mb(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/megabyte) }

func ms(d time.Duration) string {
	switch v := float64(d.Microseconds()) / 1000; {
	case v < 1:
		return fmt.Sprintf("%.2f ms", v)
	case v < 100:
		return fmt.Sprintf("%.1f ms", v)
	default:
		return fmt.Sprintf("%.0f ms", v)
	}
}

// quantile sorts the durations and returns the value that a share q of them do not exceed.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}
