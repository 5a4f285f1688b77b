package azure

import (
	"bytes"
	"testing"

	"pinreset/infra/costtest"
)

// What no call tells, assumed: an execution is alone on its instance for the least time that is billed, a second; and the host
// logs a record of it of so many bytes.
const (
	leastSeconds = 1
	hostRecord   = 1500
)

// costs renders the README's table: what a million resets cost by the price list, on instances of so many gigabytes.
func costs(t *testing.T, s costtest.Spent, gigabytes float64) string {
	t.Helper()
	executions := s.Runs + s.Calls
	return costtest.Table(t, file(t, "prices.json"), []string{"https://azure.microsoft.com/pricing/"}, []costtest.Line{
		{Meter: "serviceBusOperation", Name: "Service Bus operations", Each: float64(s.Sent + s.Announced + s.Taken + s.Settled + s.Renewed), Format: "%.0f"},
		{Meter: "tableTransaction", Name: "requests to Table storage", Each: float64(s.Rows), Format: "%.0f"},
		{Meter: "execution", Name: "executions", Each: float64(executions), Format: "%.0f"},
		{Meter: "gigabyteSecond", Name: "gigabyte-seconds", Each: float64(executions) * leastSeconds * gigabytes, Format: "%.1f"},
		{Meter: "logGigabyte", Name: "gigabytes of logs", Each: float64(s.Logged+executions*hostRecord) / 1e9, Format: "%.7f"},
	})
}

// TestCost: the README's costs are those of the operations that the real handlers make today, by the price list.
func TestCost(t *testing.T) {
	t.Parallel()
	s := costtest.Reset(t, 0)
	t.Logf("%+v", s)
	if s.Rows < 10 || s.Sent < 5 || s.Runs < 5 || s.Announced == 0 {
		t.Fatalf("%+v: nothing was counted", s)
	}
	table := costs(t, s, 0.5)
	if !bytes.Contains(file(t, "README.md"), []byte(table)) {
		t.Errorf("README.md must say:\n%s", table)
	}
	s.Sent++
	if other := costs(t, s, 0.5); other == table {
		t.Error("one operation more costs nothing")
	}
}
