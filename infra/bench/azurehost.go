package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"pinreset/events"
)

// nodeHandler is the contender: a custom handler of the same shape.
//
//go:embed azurehost.js
var nodeHandler []byte

// Of the measurement.
const (
	azureStarts   = 40
	azureInFlight = 16 // what host.json lets one function have
)

// azurehost measures the program as the custom handler of Azure Functions: how soon after its start it has answered an invocation, what it
// holds, and what an invocation costs. The invocations come from this process, as a model of the host's: what the host itself
// adds is not in the figures. Rows are in the store of this machine.
func (b *bench) azurehost(ctx context.Context) (err error) {
	file, err := b.build(ctx)
	if err != nil {
		return err
	}
	data, c, err := b.seeded(ctx, "azurehost", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	ours := customHandler{command: []string{file}, dir: b.dir,
		environment: append(c.environment(), "PINRESET_DATA="+data, "PINRESET_PUBLIC_URL=https://pinreset.example")}
	got, err := ours.measure(ctx, b.scaled(20_000))
	if err != nil {
		return err
	}
	b.table.atMost("functions: start → first invocation answered, p95", quantile(got.starts, 0.95), 25*time.Millisecond,
		fmt.Sprintf("%d starts; median %s, worst %s; the answer is on stable storage", len(got.starts), ms(quantile(got.starts, 0.5)), ms(quantile(got.starts, 1))))
	b.table.within("functions: resident memory, idle", got.idle, 30*megabyte, fmt.Sprintf("%s after a start and one invocation", settled))
	b.table.add(row{figure: "functions: invocations/s", value: fmt.Sprintf("%.0f", got.perSecond), note: fmt.Sprintf("%d in flight, one row each, fsynced", azureInFlight)})
	b.table.add(row{figure: "functions: CPU each", value: fmt.Sprintf("%.0f µs", got.cpu), note: "user and system"})

	node, err := exec.LookPath("node")
	if err != nil {
		b.table.add(row{figure: "functions: Node.js handler", value: "not measured", note: "node is not installed"})
		return nil
	}
	script := filepath.Join(b.dir, "azurehost.js")
	if err := os.WriteFile(script, nodeHandler, 0o600); err != nil {
		return err
	}
	theirs := customHandler{command: []string{node, script}, dir: b.dir, environment: []string{"KEEP=" + filepath.Join(b.dir, "azurehost.kept")}}
	if got, err = theirs.measure(ctx, b.scaled(20_000)); err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, node, "--version").Output()
	if err != nil {
		return err
	}
	name := "functions: Node.js " + string(bytes.TrimSpace(version))
	b.table.add(row{figure: name + ", start → first invocation, p95", value: ms(quantile(got.starts, 0.95)), note: fmt.Sprintf("median %s; a bare handler that appends the event to a file", ms(quantile(got.starts, 0.5)))})
	b.table.add(row{figure: name + ", resident memory, idle", value: mb(got.idle)})
	b.table.add(row{figure: name + ", invocations/s", value: fmt.Sprintf("%.0f", got.perSecond), note: "fdatasync each, as pinreset has it"})
	b.table.add(row{figure: name + ", CPU each", value: fmt.Sprintf("%.0f µs", got.cpu)})
	return nil
}

// customHandler is a program that the Functions host would start.
type customHandler struct {
	command     []string
	dir         string
	environment []string
	serial      atomic.Int64
}

type handled struct {
	starts    []time.Duration // from a start to the answer of its first invocation
	idle      int64
	perSecond float64
	cpu       float64 // µs an invocation
}

func (h *customHandler) measure(ctx context.Context, n int) (got handled, err error) {
	if got.perSecond, got.cpu, err = h.rate(ctx, n); err != nil {
		return got, err
	}
	for turn := range azureStarts {
		took, idle, err := h.start(ctx, turn == azureStarts-1)
		if err != nil {
			return got, err
		}
		got.starts = append(got.starts, took)
		got.idle = idle
	}
	return got, nil
}

// launch starts the program as the host does.
func (h *customHandler) launch() (*process, time.Time, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, time.Time{}, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, time.Time{}, err
	}
	p := &process{url: "http://" + address, log: &tail{}, cmd: exec.Command(h.command[0], h.command[1:]...)} //nolint:gosec // ours, or node
	p.client = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: azureInFlight, DisableCompression: true}}
	p.cmd.Dir = h.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "FUNCTIONS_CUSTOMHANDLER_PORT=" + port}, h.environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	began := time.Now()
	return p, began, p.cmd.Start()
}

// end kills it, as the host does.
func (p *process) end() error {
	p.client.CloseIdleConnections()
	err := p.cmd.Process.Kill()
	_ = p.cmd.Wait() // it was killed
	return err
}

// start measures one start.
func (h *customHandler) start(ctx context.Context, idle bool) (took time.Duration, resident int64, err error) {
	p, began, err := h.launch()
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	body, err := h.invocation()
	if err != nil {
		return 0, 0, err
	}
	for err = p.invoke(ctx, body); err != nil; err = p.invoke(ctx, body) {
		if time.Since(began) > 10*time.Second || ctx.Err() != nil {
			return 0, 0, fmt.Errorf("no answer: %w; %s", err, p.log)
		}
		time.Sleep(500 * time.Microsecond) // it does not listen yet
	}
	took = time.Since(began)
	if idle {
		if err := sleep(ctx, settled); err != nil {
			return 0, 0, err
		}
		resident, err = p.resident()
	}
	return took, resident, err
}

// rate measures n invocations, so many at once.
func (h *customHandler) rate(ctx context.Context, n int) (perSecond, cpu float64, err error) {
	p, began, err := h.launch()
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	for answered := false; !answered; time.Sleep(time.Millisecond) {
		res, err := p.client.Get(p.url)
		if answered = err == nil; answered {
			_ = res.Body.Close()
		} else if time.Since(began) > 10*time.Second {
			return 0, 0, fmt.Errorf("it does not listen: %w; %s", err, p.log)
		}
	}
	if err := h.burst(ctx, p, n/4); err != nil { // warms it up
		return 0, 0, err
	}
	used, started := p.cpu(), time.Now()
	if err := h.burst(ctx, p, n); err != nil {
		return 0, 0, err
	}
	return float64(n) / time.Since(started).Seconds(), float64((p.cpu() - used).Microseconds()) / float64(n), nil
}

func (h *customHandler) burst(ctx context.Context, p *process, n int) error {
	var left atomic.Int64
	left.Store(int64(n))
	failed := make(chan error, azureInFlight)
	var workers sync.WaitGroup
	for range azureInFlight {
		workers.Go(func() {
			for left.Add(-1) >= 0 {
				body, err := h.invocation()
				if err == nil {
					err = p.invoke(ctx, body)
				}
				if err != nil {
					failed <- fmt.Errorf("%w; %s", err, p.log)
					return
				}
			}
		})
	}
	workers.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// invocation is what the host would post for a message of the announcements' queue: an event that was not there before.
func (h *customHandler) invocation() ([]byte, error) {
	at := time.Now().UTC()
	id := fmt.Sprintf("bench-%d-%d", at.UnixNano(), h.serial.Add(1))
	e := events.Event{ID: id, Tenant: "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f", Time: at, Data: events.PasscodeResetCancelled{RequestID: id,
		DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "measured", By: events.Pinreset()}}
	body, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return json.Marshal(map[string]any{
		"Data": map[string]string{"message": base64.StdEncoding.EncodeToString(body)},
		"Metadata": map[string]any{"MessageId": `"` + id + `"`, "DeliveryCount": "1", "SequenceNumber": "1", "EnqueuedTime": at.Format("2006-01-02T15:04:05") + "+00:00",
			"ApplicationProperties": map[string]any{}, "sys": map[string]any{"MethodName": "announcement"}},
	})
}

func (p *process) invoke(ctx context.Context, body []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/announcement", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	r.Header.Set("X-Azure-Functions-InvocationId", "bench")
	res, err := p.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || len(answer) == 0 {
		return fmt.Errorf("answered %s %s", res.Status, answer)
	}
	return nil
}
