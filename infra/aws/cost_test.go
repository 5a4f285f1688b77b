package aws

import (
	"bytes"
	"strings"
	"testing"

	"pinreset/infra/costtest"
	"pinreset/shared/work/sqs"
)

// What no call tells, assumed: a message is alone in its invocation; one that carries out work takes half a second, most of it waiting
// for other services, and one that only sends a message on, to wait for longer, a tenth; and the platform logs three lines of each.
const (
	runSeconds   = 0.5
	relaySeconds = 0.1
	platformLog  = 500 // bytes
	gigabytes    = 0.25
)

func costs(t *testing.T, s costtest.Spent) string {
	t.Helper()
	work, relays := s.Runs+s.Calls, s.Settled-s.Runs
	return costtest.Table(t, read(t, "prices.json"), []string{"https://aws.amazon.com/", "https://azure.microsoft.com/pricing/"}, []costtest.Line{
		{Meter: "sqsRequest", Name: "requests to SQS", Each: float64(s.Sent + s.Taken + s.Settled + s.Renewed), Format: "%.0f"},
		{Meter: "tableTransaction", Name: "requests to Table storage", Each: float64(s.Rows), Format: "%.0f"},
		{Meter: "lambdaRequest", Name: "invocations", Each: float64(work + relays), Format: "%.0f"},
		{Meter: "lambdaGigabyteSecond", Name: "gigabyte-seconds", Each: gigabytes * (float64(work)*runSeconds + float64(relays)*relaySeconds), Format: "%.1f"},
		{Meter: "logGigabyte", Name: "gigabytes of logs", Each: float64(s.Logged+(work+relays)*platformLog) / 1e9, Format: "%.7f"},
	})
}

// TestCost: the README's costs are those of the operations that the real handlers make today, by the price list, with the longest delay
// that SQS takes.
func TestCost(t *testing.T) {
	t.Parallel()
	s := costtest.Reset(t, sqs.MaxDelay)
	t.Logf("%+v", s)
	direct := costtest.Reset(t, 0)
	if s.Runs != direct.Runs || s.Settled <= direct.Settled+600 {
		t.Fatalf("%+v with delays of a quarter of an hour, %+v without: a week is 672 of them", s, direct)
	}
	table := costs(t, s)
	_, sum, _ := strings.Cut(costs(t, direct), "**$")
	sum, _, _ = strings.Cut(sum, "**")
	for _, says := range []string{table, "Were a queue to wait that long by itself, it would be $" + sum + "."} {
		if !bytes.Contains(read(t, "README.md"), []byte(says)) {
			t.Errorf("README.md must say:\n%s", says)
		}
	}
	s.Sent++
	if other := costs(t, s); other == table {
		t.Error("one request more costs nothing")
	}
}
