package costtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Line is one line of the table: how much of what a meter counts one reset takes.
type Line struct {
	Meter  string // its name in the price list
	Name   string // its name in the table
	Each   float64
	Format string // of Each
}

// Table renders what a million resets cost by the price list, which is JSON, as Markdown. Every price of the list must be used, and
// come from one of the vendors' pages, which are named by what their addresses begin with.
func Table(t *testing.T, prices []byte, pages []string, lines []Line) string {
	t.Helper()
	var list struct {
		LookedUp string `json:"lookedUp"`
		Currency string `json:"currency"`
		Region   string `json:"region"`
		Note     string `json:"note"`
		Meters   map[string]struct {
			PerMillion float64 `json:"perMillion"`
			What       string  `json:"what"`
			Source     string  `json:"source"`
		} `json:"meters"`
	}
	dec := json.NewDecoder(bytes.NewReader(prices))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		t.Fatal(err)
	}
	if _, err := time.Parse(time.DateOnly, list.LookedUp); err != nil || list.Currency != "USD" || list.Note == "" {
		t.Fatalf("price list of %q in %q: %v", list.LookedUp, list.Currency, err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "| billed, prices of %s | each reset | a million resets |\n|---|---|---|\n", list.LookedUp)
	sum := 0.0
	for _, line := range lines {
		m, ok := list.Meters[line.Meter]
		known := false
		for _, page := range pages {
			known = known || strings.HasPrefix(m.Source, page)
		}
		if !ok || m.PerMillion <= 0 || m.What == "" || !known {
			t.Fatalf("the price of %s is %+v", line.Meter, m)
		}
		sum += line.Each * m.PerMillion
		fmt.Fprintf(&text, "| %s | "+line.Format+" | $%.2f |\n", line.Name, line.Each, line.Each*m.PerMillion)
	}
	if len(lines) != len(list.Meters) {
		t.Errorf("%d of %d prices are used", len(lines), len(list.Meters))
	}
	fmt.Fprintf(&text, "| **together** | | **$%.2f** |\n", sum)
	return text.String()
}
