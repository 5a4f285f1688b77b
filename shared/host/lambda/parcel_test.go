package lambda_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pinreset/shared/host/lambda"
	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

// driver notes what it is asked for.
type driver struct {
	outbox.Queue
	calls []string
}

func (d *driver) Complete(_ context.Context, _ work.Queue, token string) error {
	d.calls = append(d.calls, "complete "+token)
	return nil
}

func (d *driver) DeadLetter(_ context.Context, _ work.Queue, token, reason, _ string) error {
	d.calls = append(d.calls, "dead "+token+" "+reason)
	return nil
}

func (d *driver) Renew(_ context.Context, _ work.Queue, token string) (time.Time, error) {
	d.calls = append(d.calls, "renew "+token)
	return time.Time{}, nil
}

// noRows has no row.
type noRows struct{ outbox.Rows }

func (noRows) Get(context.Context, work.Key) (work.Row, error) { return work.Row{}, work.ErrNotFound }

// TestParcels: what the platform holds, it deletes itself; what is no message of ours is set aside under its receipt handle, which the driver
// was told of before; and bodies are given back as the driver sent them.
func TestParcels(t *testing.T) {
	t.Parallel()
	d := &driver{}
	var told []outbox.Received
	p := lambda.Parcels{
		Store:  outbox.New(noRows{}, lambda.Queue{Queue: d}, outbox.Options{NewID: func() string { return "id" }}),
		Decode: func(text string, _ map[string]string) ([]byte, bool) { return []byte("decoded " + text), true },
		Hold:   func(r outbox.Received) { told = append(told, r) },
	}
	ours := lambda.Message{ID: "1", Handle: "h-1", Deliveries: 2, Body: []byte("text"), Attributes: map[string]string{
		outbox.AttributePartition: "p", outbox.AttributeMessage: "m", outbox.AttributeAttempt: "1"}}
	for _, m := range []lambda.Message{ours, {ID: "2", Handle: "h-2", Deliveries: 1}} {
		if _, ok, err := p.Take(t.Context(), "audit", m); ok || err != nil { // done long ago, and none of ours
			t.Errorf("%s: %t, %v", m.ID, ok, err)
		}
	}
	if !slices.Equal(d.calls, []string{"dead h-2 not_a_message"}) {
		t.Errorf("the driver was asked to %v", d.calls)
	}
	if len(told) != 2 || told[0].Token != "h-1" || string(told[0].Body) != "decoded text" || told[0].Deliveries != 2 {
		t.Errorf("the driver was told of %+v", told)
	}
	q := lambda.Queue{Queue: d}
	if err := q.Complete(t.Context(), "audit", "its own"); err != nil {
		t.Error(err)
	}
	if _, err := q.Renew(t.Context(), "audit", "its own"); err != nil {
		t.Error(err)
	}
	if want := []string{"dead h-2 not_a_message", "complete its own", "renew its own"}; !slices.Equal(d.calls, want) {
		t.Errorf("the driver was asked to %v", d.calls)
	}
}
