package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
	"pinreset/shared/work/outbox/outboxtest"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
)

// services measures the units of the part "units" over stand-ins for Azure's services: rows in memory, and messages through the
// real client to a model of Service Bus in this process. The figures are for orientation: the real services are a network away
// and answer in milliseconds. What they tell is the program's own share, and how many operations a unit asks for.
func (b *bench) services(ctx context.Context) (err error) {
	n := b.scaled(20_000)
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
	store := outbox.New(&outboxtest.Rows{}, bus, outbox.Options{
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
	const model = "model of Service Bus, rows in memory: orientation"
	b.table.add(row{figure: "whole units, " + model, value: fmt.Sprintf("%.0f/s", c.rate()), note: fmt.Sprintf(
		"%d in flight, %d units, %.0f CPU-µs a unit, the model's included", inFlight, c.units, float64(c.cpu.Microseconds())/float64(c.units))})
	b.table.add(row{figure: "unit p99, the same", value: ms(c.p99), note: fmt.Sprintf(
		"%.2f queue operations a unit (send, delivery, settlement), %.1f messages in a transfer",
		float64(operations)/float64(n), float64(messages)/float64(max(transfers, 1)))})
	return nil
}
