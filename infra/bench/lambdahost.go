package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"pinreset/events"
)

// Of the measurement.
const (
	lambdaStarts  = 40
	lambdaRecords = 1000
	lambdaBatch   = 10
)

// lambdahost measures the program as AWS Lambda starts it: how soon after its start it has answered a batch of one record, and what it holds
// after a thousand. The events come from this process, as a model of the Runtime API; the platform's own share of a cold start, which is most of
// it, is not in the figures. Rows are in the store of this machine.
func (b *bench) lambdahost(ctx context.Context) (err error) {
	file, err := b.build(ctx)
	if err != nil {
		return err
	}
	data, c, err := b.seeded(ctx, "lambdahost", nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	l := lambdaProgram{file: file, dir: b.dir, environment: append(c.environment(), "PINRESET_DATA="+data, "PINRESET_PUBLIC_URL=https://pinreset.example")}
	var starts []time.Duration
	for range lambdaStarts {
		took, _, err := l.run(ctx, 1, 1)
		if err != nil {
			return err
		}
		starts = append(starts, took)
	}
	_, resident, err := l.run(ctx, lambdaBatch, lambdaRecords)
	if err != nil {
		return err
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	b.table.atMost("lambda: start → first answer, p95", quantile(starts, 0.95), 25*time.Millisecond,
		fmt.Sprintf("%d starts; median %s, worst %s; the answer is on stable storage", len(starts), ms(quantile(starts, 0.5)), ms(quantile(starts, 1))))
	b.table.within("lambda: binary", info.Size(), 30*megabyte, filepath.Base(file)+", as it is shipped")
	b.table.within(fmt.Sprintf("lambda: resident memory after %d records", lambdaRecords), resident, 64*megabyte, fmt.Sprintf("batches of %d", lambdaBatch))
	return nil
}

// lambdaProgram is the program that the platform would start.
type lambdaProgram struct {
	file, dir   string
	environment []string
	serial      atomic.Int64
}

// run starts a process, has it answer batches of so many records until there were as many as are asked for, and kills it. It returns how long
// the first answer took from the start, and the memory that is held after the last.
func (l *lambdaProgram) run(ctx context.Context, batch, records int) (first time.Duration, resident int64, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, 0, err
	}
	sent, answers, done := make(chan []byte), make(chan string, 1), make(chan struct{})
	defer close(done)
	server := &http.Server{Handler: runtimeAPI(sent, answers, done), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(listener) }() // until it is closed
	defer func() { err = errors.Join(err, server.Close()) }()

	p := &process{log: &tail{}, client: http.DefaultClient, cmd: exec.Command(l.file)} //nolint:gosec // ours
	p.cmd.Dir = l.dir
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "AWS_LAMBDA_RUNTIME_API=" + listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=bench"}, l.environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	began := time.Now()
	if err := p.cmd.Start(); err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.end()) }()
	limit := time.After(time.Minute)
	for n := 0; n < records; n += batch {
		event, err := l.event(batch)
		if err != nil {
			return 0, 0, err
		}
		select {
		case sent <- event:
		case <-limit:
			return 0, 0, fmt.Errorf("it asks for no event: %s", p.log)
		}
		select {
		case answer := <-answers:
			if answer != `{"batchItemFailures":[]}` {
				return 0, 0, fmt.Errorf("answered %s; %s", answer, p.log)
			}
		case <-limit:
			return 0, 0, fmt.Errorf("no answer: %s", p.log)
		}
		if n == 0 {
			first = time.Since(began)
		}
	}
	resident, err = p.resident()
	return first, resident, err
}

// runtimeAPI hands out what is sent, and what comes back as answers.
func runtimeAPI(sent <-chan []byte, answers chan<- string, done <-chan struct{}) http.Handler {
	var serial atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case event := <-sent:
			w.Header().Set("Lambda-Runtime-Aws-Request-Id", strconv.FormatInt(serial.Add(1), 10))
			w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(3*time.Minute).UnixMilli(), 10))
			_, _ = w.Write(event)
		case <-r.Context().Done():
		case <-done:
		}
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/{how}", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is cut short is no answer that counts
		w.WriteHeader(http.StatusAccepted)
		select {
		case answers <- string(body):
		case <-done:
		}
	})
	mux.HandleFunc("POST /2020-01-01/extension/register", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Lambda-Extension-Identifier", "bench")
	})
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-done:
		}
	})
	return mux
}

// event is a batch of the announcements' queue: events that were not there before.
func (l *lambdaProgram) event(batch int) ([]byte, error) {
	var records []string
	for range batch {
		at := time.Now().UTC()
		id := fmt.Sprintf("bench-%d-%d", at.UnixNano(), l.serial.Add(1))
		body, err := json.Marshal(events.Event{ID: id, Tenant: "8f1e0c52-7d7a-4c0e-9a53-1f5b1c1d2e3f", Time: at, Data: events.PasscodeResetCancelled{RequestID: id,
			DeviceID: "3b7c2a90-5e14-4f6b-8d21-c09a4e7f6b13", Reason: "measured", By: events.Pinreset()}})
		if err != nil {
			return nil, err
		}
		record, err := json.Marshal(map[string]any{"messageId": id, "receiptHandle": id, "body": string(body), "eventSource": "aws:sqs",
			"eventSourceARN": "arn:aws:sqs:eu-central-1:123456789012:announcement", "attributes": map[string]string{"ApproximateReceiveCount": "1"}})
		if err != nil {
			return nil, err
		}
		records = append(records, string(record))
	}
	return []byte(`{"Records":[` + strings.Join(records, ",") + `]}`), nil
}
