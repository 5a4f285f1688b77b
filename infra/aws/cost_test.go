package aws

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pinreset/infra/costtest"
	"pinreset/shared/work/sqs"
)

// What no call tells, assumed: a message is alone in its invocation, which takes half a second, most of it waiting for other services;
// and the platform logs three lines of each.
const (
	runSeconds  = 0.5
	platformLog = 500 // bytes
	gigabytes   = 0.25
)

func costs(t *testing.T, s costtest.Spent) string {
	t.Helper()
	invocations := s.Settled + s.Calls
	return costtest.Table(t, read(t, "prices.json"), []string{"https://aws.amazon.com/", "https://azure.microsoft.com/pricing/"}, []costtest.Line{
		{Meter: "sqsRequest", Name: "requests to SQS", Each: float64(s.Sent + s.Taken + s.Settled + s.Renewed), Format: "%.0f"},
		{Meter: "tableTransaction", Name: "requests to Table storage", Each: float64(s.Rows), Format: "%.0f"},
		{Meter: "lambdaRequest", Name: "invocations", Each: float64(invocations), Format: "%.0f"},
		{Meter: "lambdaGigabyteSecond", Name: "gigabyte-seconds", Each: gigabytes * float64(invocations) * runSeconds, Format: "%.1f"},
		{Meter: "logGigabyte", Name: "gigabytes of logs", Each: float64(s.Logged+invocations*platformLog) / 1e9, Format: "%.7f"},
	})
}

// sum is the price of a million resets that the table ends with.
func sum(t *testing.T, table string) float64 {
	t.Helper()
	_, text, _ := strings.Cut(table, "**$")
	text, _, _ = strings.Cut(text, "**")
	all, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCost: the README's costs are those of the operations that the real handlers make today, by the price list, with the longest delay
// that SQS takes.
func TestCost(t *testing.T) {
	t.Parallel()
	s := costtest.Reset(t, sqs.MaxDelay)
	t.Logf("%+v", s)
	direct := costtest.Reset(t, 0)
	if s.Sent != direct.Sent || s.Settled != direct.Settled || s.Runs != direct.Runs || s.Rows <= direct.Rows {
		t.Fatalf("%+v with delays of a quarter of an hour, %+v without: a week must cost no message more, and some requests for rows", s, direct)
	}
	table := costs(t, s)
	for _, says := range []string{table, fmt.Sprintf("**Waiting for a week** is $%.2f of it:", sum(t, table)-sum(t, costs(t, direct)))} {
		if !bytes.Contains(read(t, "README.md"), []byte(says)) {
			t.Errorf("README.md must say:\n%s", says)
		}
	}
	s.Sent++
	if other := costs(t, s); other == table {
		t.Error("one request more costs nothing")
	}
}
