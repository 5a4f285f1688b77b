package sqs_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pinreset/shared/awsapi"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
	"pinreset/shared/work/worktest"
)

func TestMain(m *testing.M) { os.Exit(tablestest.Run(m)) }

// TestConformance: rows in memory and messages on the model of SQS keep the contract, a commit cut at any step included.
func TestConformance(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend { return compose(t, &outboxtest.Rows{}) })
}

// TestConformanceOverTables: the same with the rows in Table storage, as in production.
func TestConformanceOverTables(t *testing.T) {
	t.Parallel()
	worktest.Run(t, func(t *testing.T) worktest.Backend { return compose(t, tablestest.Open(t, tables.Options{})) })
}

// compose puts the rows and a server of their own together, on a clock that stands until it is moved.
func compose(t *testing.T, rows outbox.Rows) worktest.Backend {
	clock, crasher := worktest.NewClock(), &worktest.Crasher{}
	var n atomic.Int64
	newID := func() string { return fmt.Sprintf("01%024d", n.Add(1)) }
	server := serve(t, clock.Now, worktest.Queues...)
	open := func() *outbox.Store {
		return outbox.New(rows, connect(t, server, clock.Now), outbox.Options{
			NewID: newID, Now: clock.Now, MaxDelay: sqs.MaxDelay, Logger: slog.New(slog.DiscardHandler), Before: crasher.Before,
		})
	}
	s := open()
	return worktest.Backend{
		Store: s, Source: s, Forgetful: true, Lease: time.Minute, Now: clock.Now,
		Advance: func(d time.Duration) { clock.Advance(d); server.Wake() },
		Reopen: func(*testing.T) worktest.Backend {
			s := open()
			return worktest.Backend{Store: s, Source: s}
		},
		Steps: []string{outbox.StepRows, outbox.StepMessages, outbox.StepSettle, outbox.StepClear},
		Crash: crasher.Crash, Sweep: s.Sweep,
	}
}

func serve(t testing.TB, now func() time.Time, names ...work.Queue) *sqstest.Server {
	c := sqstest.Config{Now: now}
	for _, q := range names {
		dead := string(q) + sqs.DeadSuffix
		c.Queues = append(c.Queues, sqstest.Queue{Name: string(q), DeadLetter: dead, MaxReceives: 1000}, sqstest.Queue{Name: dead})
	}
	return sqstest.New(t, c)
}

func account() *awsapi.Account {
	return awsapi.Open(awsapi.Account{Region: sqstest.Region, Credentials: func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}, nil
	}})
}

func connect(t testing.TB, server *sqstest.Server, now func() time.Time) *sqs.Queues {
	t.Helper()
	q, err := sqs.Open(sqs.Options{URL: server.URL(), Account: account(), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return q
}
