package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// asked is one request of an open loop.
type asked struct {
	target   target
	took     time.Duration // from when it was to be sent until its answer was read
	accepted time.Time
	err      error
}

// pace asks for a reset of each target, so many a second in an open loop: a request is sent when its time has come, whatever
// became of the earlier ones, and its time counts from then. A slow answer therefore delays no measurement (no coordinated
// omission).
func (p *process) pace(ctx context.Context, targets []target, perSecond int) ([]asked, error) {
	done := make([]asked, len(targets))
	every := time.Second / time.Duration(perSecond)
	var all sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	for i, t := range targets {
		due := begin.Add(time.Duration(i) * every)
		sleepUntil(due)
		if ctx.Err() != nil {
			break
		}
		all.Go(func() {
			err := p.reset(ctx, t, fmt.Sprintf("bench-%s-%d", t.device, i))
			now := time.Now()
			done[i] = asked{t, now.Sub(due), now, err}
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for _, a := range done {
		if a.err != nil {
			return nil, a.err
		}
	}
	return done, nil
}

// reset asks for one reset and returns once it is accepted.
func (p *process) reset(ctx context.Context, t target, key string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/v1/tenants/"+t.tenant+"/devices/"+t.device+"/resets",
		bytes.NewReader([]byte(`{"reason":"user forgot it and stands at the desk","ticket":"INC-1234"}`)))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+p.token)
	r.Header.Set("Idempotency-Key", key)
	answer, err := p.client.Do(r)
	if err != nil {
		return err
	}
	said, err := io.ReadAll(answer.Body)
	_ = answer.Body.Close()
	if err == nil && answer.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("reset of %s answered %d: %s", t.device, answer.StatusCode, said)
	}
	return err
}

// warm signs in to each tenant, by a reset of its first device. A token lasts an hour or more, so what is measured after it is what nearly
// every request meets.
func (p *process) warm(ctx context.Context, c *cloud) error {
	targets, err := c.targets(fleetTenants, 0)
	if err != nil {
		return err
	}
	done, err := p.pace(ctx, targets, 20)
	if err != nil {
		return err
	}
	_, err = reached(ctx, c, done)
	return err
}

// reached waits until the cloud has taken every reset and returns how long after its acceptance it did.
func reached(ctx context.Context, c *cloud, done []asked) ([]time.Duration, error) {
	var took []time.Duration
	deadline := time.Now().Add(time.Minute)
	for _, a := range done {
		at, ok := c.arrived(a.target)
		for ; !ok; at, ok = c.arrived(a.target) {
			if time.Now().After(deadline) {
				return nil, fmt.Errorf("device %s of %s was not reset within a minute", a.target.name, a.target.domain)
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		took = append(took, max(0, at.Sub(a.accepted)))
	}
	return took, nil
}

func took(done []asked) []time.Duration {
	var list []time.Duration
	for _, a := range done {
		list = append(list, a.took)
	}
	return list
}

// running starts the cloud and pinreset on the data directory, does what it is given, and ends both.
func (b *bench) running(ctx context.Context, data string, c *cloud, line func([]byte), do func(*process) error) (err error) {
	p, err := b.launch(ctx, data, c, line)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.stop()) }()
	return do(p)
}
