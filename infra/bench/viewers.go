package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"pinreset/shared/live"
)

// Of those who look on.
const (
	viewerCount  = 2_000
	viewerMemory = 100 * megabyte
	updateCount  = 200
	updateRate   = 10 // a second
	updateWait   = 250 * time.Millisecond
)

// told is when somebody who looks on got the frame with a reset's request.
type told struct {
	reset string
	at    time.Time
}

// audience are event streams, each over a connection of its own, as browsers have them.
type audience struct {
	client *http.Client
	end    context.CancelFunc
	gone   sync.WaitGroup

	mu     sync.Mutex
	told   []told
	errors []error
}

// viewers measures what a process holds for many who look on, and how soon they are told of a change. They look at all tenants in turn.
func (b *bench) viewers(ctx context.Context, p *process, c *cloud, person *http.Client) (err error) {
	if err := sleep(ctx, settled); err != nil {
		return err
	}
	before, err := p.resident()
	if err != nil {
		return err
	}
	n := b.scaled(viewerCount)
	streaming, end := context.WithCancel(ctx)
	a := &audience{end: end, client: &http.Client{Jar: person.Jar, Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}}
	defer func() { err = errors.Join(err, a.leave()) }()
	for i := range n {
		if err := a.join(streaming, p.url+"/tenants/"+c.Tenants[i%len(c.Tenants)].ID+"/events"); err != nil {
			return fmt.Errorf("viewer %d: %w", i+1, err)
		}
	}
	// Each gets a frame without a change meanwhile, at which it is asked again who looks.
	most := before
	look := func(d time.Duration) error {
		for until := time.Now().Add(d); time.Now().Before(until); {
			now, err := p.resident()
			if err != nil {
				return err
			}
			most = max(most, now)
			if err := sleep(ctx, time.Second); err != nil {
				return err
			}
		}
		return nil
	}
	if err := look(17 * time.Second); err != nil {
		return err
	}
	b.table.within(fmt.Sprintf("resident memory more with %d who look on", n), most-before, viewerMemory,
		fmt.Sprintf("event streams over %d tenants; %s before, %s at the most, a beat of each included", len(c.Tenants), mb(before), mb(most)))

	targets, err := c.targets(b.scaled(updateCount), 2)
	if err != nil {
		return err
	}
	used, started := p.cpu(), time.Now()
	asked, err := p.updates(ctx, targets)
	if err != nil {
		return err
	}
	busy := float64(p.cpu()-used) / float64(time.Since(started))
	if err := sleep(ctx, 2*time.Second); err != nil { // what is told later than this counts as never told
		return err
	}
	each := map[string]int{}
	for i := range n {
		each[c.Tenants[i%len(c.Tenants)].ID]++
	}
	want := 0
	for _, t := range targets {
		want += each[t.tenant]
	}
	list, err := a.since(asked)
	if err != nil {
		return err
	}
	figure := row{figure: "reset asked for → event at who looks on, p99", value: ms(quantile(list, 0.99)), target: "≤ " + ms(updateWait)}
	figure.missed = quantile(list, 0.99) > updateWait || len(list) != want
	figure.note = fmt.Sprintf("%d resets at %d/s, %d of %d events came; from the request's sending, its commit included; %d look on; median %s, worst %s; %.0f%% of a core", len(targets), updateRate,
		len(list), want, n, ms(quantile(list, 0.5)), ms(quantile(list, 1)), 100*busy)
	b.table.add(figure)
	return nil
}

// join opens a stream, and returns when its first frame is there.
func (a *audience) join(ctx context.Context, address string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "text/event-stream")
	answer, err := a.client.Do(r)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/event-stream" {
		_ = answer.Body.Close()
		return fmt.Errorf("stream answered %s", answer.Status)
	}
	lines := bufio.NewReaderSize(answer.Body, 1024)
	if _, err := lines.ReadSlice('\n'); err != nil {
		_ = answer.Body.Close()
		return err
	}
	a.gone.Go(func() {
		defer func() { _ = answer.Body.Close() }()
		if err := a.listen(lines); err != nil && ctx.Err() == nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.errors = append(a.errors, err)
		}
	})
	return nil
}

// listen notes the resets that are told of as requested, until the stream ends.
func (a *audience) listen(lines *bufio.Reader) error {
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("stream ended: %w", err)
		}
		now := time.Now()
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		var changes []live.Change
		if err := json.Unmarshal(data, &changes); err != nil {
			return err
		}
		a.mu.Lock()
		for _, c := range changes {
			if c.Kind == "reset" && c.State == "requested" {
				a.told = append(a.told, told{c.ID, now})
			}
		}
		a.mu.Unlock()
	}
}

// since returns how long after each reset was asked for somebody was told of it, for each who was.
func (a *audience) since(asked map[string]time.Time) ([]time.Duration, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []time.Duration
	for _, t := range a.told {
		if at, ours := asked[t.reset]; ours {
			list = append(list, t.at.Sub(at))
		}
	}
	return list, errors.Join(a.errors...)
}

func (a *audience) leave() error {
	a.end()
	a.gone.Wait()
	a.client.CloseIdleConnections()
	a.mu.Lock()
	defer a.mu.Unlock()
	return errors.Join(a.errors...)
}

// updates asks for a reset of each target and returns when each was to be sent, by the reset's id.
func (p *process) updates(ctx context.Context, targets []target) (map[string]time.Time, error) {
	sent := map[string]time.Time{}
	var mu sync.Mutex
	var errs []error
	var all sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	for i, t := range targets {
		due := begin.Add(time.Duration(i) * time.Second / updateRate)
		sleepUntil(due)
		all.Go(func() {
			id, err := p.resetID(ctx, t)
			mu.Lock()
			defer mu.Unlock()
			sent[id] = due
			errs = append(errs, err)
		})
	}
	all.Wait()
	return sent, errors.Join(append(errs, ctx.Err())...)
}

// resetID asks for a reset and returns its id.
func (p *process) resetID(ctx context.Context, t target) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/tenants/"+t.tenant+"/devices/"+t.device+"/resets",
		bytes.NewReader([]byte(`{"reason":"somebody looks on"}`)))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Idempotency-Key", "look-"+t.device)
	answer, err := p.client.Do(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	var reset struct{ ID string }
	if err := json.Unmarshal(said, &reset); err != nil || reset.ID == "" || answer.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("reset of %s answered %d: %s", t.device, answer.StatusCode, said)
	}
	return reset.ID, nil
}
