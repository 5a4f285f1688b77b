package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"pinreset/infra/costtest"
	"pinreset/shared/nodetest"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/tables"
	"pinreset/shared/work/tables/tablestest"
)

// services measures the units of the part "units" over stand-ins for Azure's services: messages through the real client to a model of
// Service Bus in this process, and rows in memory, or through the real client to Azurite, where Node.js runs it. The figures are for
// orientation: the real services are a network away and answer in milliseconds. What they tell is the program's own share, and how many
// operations a unit and a reset ask for.
func (b *bench) services(ctx context.Context) error {
	if err := b.overServices(ctx, b.scaled(20_000), &outboxtest.Rows{}, "rows in memory"); err != nil {
		return err
	}
	switch connection, stop, err := tablestest.Start(ctx); {
	case errors.Is(err, nodetest.ErrMissing):
		b.table.add(row{figure: "whole units, model of Service Bus, Azurite", value: "-", note: err.Error()})
	case err != nil:
		return err
	default:
		err := b.overAzurite(ctx, connection)
		if err := errors.Join(err, stop()); err != nil {
			return err
		}
	}
	return b.operations()
}

func (b *bench) overAzurite(ctx context.Context, connection string) error {
	rows, err := tables.NewFromConnectionString(connection, tables.Options{Name: "bench"})
	if err != nil {
		return err
	}
	if err := rows.Create(ctx); err != nil {
		return err
	}
	return b.overServices(ctx, b.scaled(2_000), rows, "Azurite")
}

func (b *bench) overServices(ctx context.Context, n int, rows outbox.Rows, what string) (err error) {
	var queues []servicebustest.Queue
	for _, name := range []string{"in", "out"} {
		queues = append(queues, servicebustest.Queue{Name: name, DuplicateWindow: 10 * time.Minute})
	}
	server, err := servicebustest.Start(servicebustest.Config{Queues: queues})
	if err != nil {
		return err
	}
	defer server.Close()
	bus, err := servicebus.Open(servicebus.Options{
		ConnectionString: server.ConnectionString(), Receivers: map[work.Queue]int{"in": 4},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bus.Close(context.WithoutCancel(ctx))) }()
	var last atomic.Int64
	store := outbox.New(rows, bus, outbox.Options{
		NewID: func() string { return strconv.FormatInt(last.Add(1), 10) }, Logger: slog.New(slog.DiscardHandler),
	})
	if err := fill(ctx, store, n); err != nil {
		return err
	}
	before := server.Stats()
	c, err := timed(n, unitOf(ctx, store))
	if err != nil {
		return err
	}
	after := server.Stats()
	messages, transfers := after.Messages-before.Messages, after.Transfers-before.Transfers
	operations := messages + after.Delivered - before.Delivered + after.Settled - before.Settled + after.Requests - before.Requests
	b.table.add(row{figure: "whole units, model of Service Bus, " + what + ": orientation", value: fmt.Sprintf("%.0f/s", c.rate()), note: fmt.Sprintf(
		"%d in flight, %d units, %.0f CPU-µs a unit, the model of Service Bus included", inFlight, c.units, float64(c.cpu.Microseconds())/float64(c.units))})
	b.table.add(row{figure: "unit p99, the same", value: ms(c.p99), note: fmt.Sprintf(
		"%.2f queue operations a unit (send, delivery, settlement), %.1f messages in a transfer",
		float64(operations)/float64(n), float64(messages)/float64(max(transfers, 1)))})
	return nil
}

// operations carries out one reset with the real handlers over services that count, as the tests of the operators' pages do.
func (b *bench) operations() error {
	var spent costtest.Spent
	if r := testing.Benchmark(func(t *testing.B) { spent = costtest.Reset(t, 0) }); r.N == 0 || spent.Rows == 0 {
		return errors.New("the reset whose operations are counted could not be carried out")
	}
	b.table.add(row{figure: "operations of one reset: orientation", value: strconv.Itoa(spent.Rows + spent.Sent + spent.Taken + spent.Settled), note: fmt.Sprintf(
		"%d of rows; messages: %d sent, %d taken, %d settled; from the request to the end of its code, with one look at it", spent.Rows, spent.Sent, spent.Taken, spent.Settled)})
	return nil
}
