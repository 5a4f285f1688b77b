package servicebus

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"pinreset/shared/work"
	"pinreset/shared/work/outbox"
)

const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestParcelComesAsItWasSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i, body := range [][]byte{[]byte(`{"a":"ü"}`), bytes.Repeat([]byte("b"), work.MaxBodyBytes), {0, 1, 2}} {
		p := parcel(fmt.Sprintf("id-%d", i))
		p.Body = body
		p.Attributes[outbox.AttributeMessage] = strings.Repeat("k", work.MaxKeyBytes)
		p.Attributes[outbox.AttributePartition] = strings.Repeat("k", work.MaxKeyBytes)
		r.send(t, p)
		got := r.take(t)
		if got.Queue != queue || !bytes.Equal(got.Body, body) || !maps.Equal(got.Attributes, p.Attributes) {
			t.Errorf("came %d bytes on %s with %v, want %d bytes with %v", len(got.Body), got.Queue, got.Attributes, len(body), p.Attributes)
		}
		if got.Deliveries != 1 || got.Token == "" || !got.LockedUntil.Equal(r.clock.Now().Add(lock)) || got.LockedUntil.Location() != time.UTC {
			t.Errorf("delivery %d under %q until %s", got.Deliveries, got.Token, got.LockedUntil)
		}
		r.complete(t, got)
	}
	r.wantLeft(t, string(queue), 0, 0, 0)
}

func TestClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.open(t)
	r.send(t, parcel("m"))
	got, err := b.Receive(r.ctx, queue, 1)
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := b.Receive(r.ctx, other, 1)
		waiting <- err
	}()
	<-started
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Errorf("Receive: %v, want ErrClosed", err)
	}
	_, receive := b.Receive(r.ctx, queue, 1)
	_, renew := b.Renew(r.ctx, queue, got[0].Token)
	for name, err := range map[string]error{
		"Receive": receive, "Renew": renew, "Send": b.Send(r.ctx, []outbox.Parcel{parcel("n")}), "Check": b.Check(r.ctx, []work.Queue{queue}),
		"Complete": b.Complete(r.ctx, queue, got[0].Token), "DeadLetter": b.DeadLetter(r.ctx, queue, got[0].Token, "", ""),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("second Close: %v", err)
	}
	r.wantLeft(t, string(queue), 0, 1, 0)
}

// TestCloseSendsWhatWaits: callers that are sending when Close begins get their answer.
func TestCloseSendsWhatWaits(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	b := r.open(t)
	const callers = 32
	results := make(chan error, callers)
	for i := range callers {
		go func() { results <- b.Send(r.ctx, []outbox.Parcel{parcel(fmt.Sprintf("id-%d", i))}) }()
	}
	if err := b.Close(r.ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
	sent := 0
	for range callers {
		switch err := <-results; {
		case err == nil:
			sent++
		case !errors.Is(err, ErrClosed):
			t.Errorf("Send: %v", err)
		}
	}
	r.wantLeft(t, string(queue), sent, 0, 0)
}
