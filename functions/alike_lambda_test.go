package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/host/hosttest"
	"pinreset/shared/host/lambda/lambdahost"
	"pinreset/shared/work"
	"pinreset/shared/work/servicebus"
	"pinreset/shared/work/servicebus/servicebustest"
	"pinreset/shared/work/sqs"
	"pinreset/shared/work/sqs/sqstest"
	"pinreset/shared/work/tables/tablestest"
)

// lambdaHost is the program as Lambdas: one for each function, each with processes of its own under the model of AWS Lambda. Their rows are
// in Azurite and their messages on the model of SQS, from whose queues the model of the platform feeds them.
type lambdaHost struct {
	functions map[string]*lambdahost.Function
	queues    *sqstest.Server
	bus       *servicebustest.Server // for the topic that gets a copy of what is announced
	stores    stores                 // as another process of the program has them
	url       string
	end       func() error
}

func startLambda(t *testing.T, w hosttest.Wiring) hosttest.Host {
	t.Helper()
	t.Log(lambdahost.Model)
	var c sqstest.Config
	for _, q := range queueNames() {
		dead := string(q) + sqs.DeadSuffix
		c.Queues = append(c.Queues, sqstest.Queue{Name: string(q), DeadLetter: dead, MaxReceives: 10}, sqstest.Queue{Name: dead})
	}
	h := &lambdaHost{functions: map[string]*lambdahost.Function{}, queues: sqstest.New(t, c)}
	front := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { h.functions[httpFunction].ServeHTTP(rw, r) }))
	h.url = front.URL
	dir := t.TempDir()
	connection := filepath.Join(dir, "connection")
	if err := os.WriteFile(connection, []byte(tablestest.Emulator(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	h.bus = servicebustest.New(t, servicebustest.Config{Topics: []servicebustest.Topic{{Name: servicebus.AnnouncementTopic, Subscriptions: []servicebustest.Subscription{{Name: "all"}}}}})
	toBus := filepath.Join(dir, "bus")
	if err := os.WriteFile(toBus, []byte(h.bus.ConnectionString()), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{
		"PINRESET_SERVICEBUS_CONNECTION_FILE": toBus, "PINRESET_SERVICEBUS_TOPIC": servicebus.AnnouncementTopic,
		"PINRESET_TABLES_CONNECTION_FILE": connection, "PINRESET_ROOT_KEY_FILE": filepath.Join(dir, "root-key"), "PINRESET_SQS_URL": h.queues.URL(),
		"PINRESET_SIM_AT": w.Sim, "PINRESET_PUBLIC_URL": front.URL, "AWS_REGION": sqstest.Region, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret",
	}
	read, err := loadConfig(func(name string) string { return settings[name] })
	if err != nil {
		t.Fatal(err)
	}
	read.Data = ""
	if h.stores, err = openStores(t.Context(), read, nil, time.Now, newIDs(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var polls sync.WaitGroup
	from := lambdahost.SQS{Account: read.AWS, Endpoint: h.queues.Endpoint() + "/", URL: h.queues.URL()}
	add := func(name string, more map[string]string) *lambdahost.Function {
		own := maps.Clone(settings)
		own[functionVariable] = name
		maps.Copy(own, more)
		f := lambdahost.New(lambdahost.Options{Name: "pinreset-" + name, Program: binary, Settings: own})
		h.functions[name] = f
		return f
	}
	add(httpFunction, map[string]string{envData: w.Data}) // which makes the administrator's token
	for _, timer := range hosttest.Timers {
		add(timer, nil)
	}
	for name, queue := range triggers(routes(needs{pace: defaultPace, metrics: newMetrics(nil, nil)})) {
		f := add(name, nil)
		polls.Go(func() { f.Poll(ctx, from, lambdahost.Mapping{Queue: string(queue)}) })
	}
	h.end = sync.OnceValue(func() (err error) {
		front.Close()
		cancel()
		polls.Wait()
		for _, name := range slices.Sorted(maps.Keys(h.functions)) {
			f := h.functions[name]
			f.Stop()
			for _, p := range f.Problems() {
				err = errors.Join(err, fmt.Errorf("%s: %s", name, p))
			}
			if f.Starts() == 0 {
				err = errors.Join(err, fmt.Errorf("%s was never started", name))
			}
		}
		for queue, n := range h.queues.Counts() {
			if strings.HasSuffix(queue, sqs.DeadSuffix) && n.Visible > 0 {
				err = errors.Join(err, fmt.Errorf("%d messages of %s are dead letters", n.Visible, queue))
			}
		}
		if n := h.bus.Counts(servicebus.AnnouncementTopic + "/Subscriptions/all").Active; n < 15 {
			err = errors.Join(err, fmt.Errorf("%d events on the topic of Service Bus: that is not what was announced", n))
		}
		return errors.Join(err, h.sendAll(read))
	})
	t.Cleanup(func() {
		_ = h.end()
		if err := h.stores.close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func (h *lambdaHost) URL() string { return h.url }

func (h *lambdaHost) Send(ctx context.Context, m hosttest.Message) error {
	message, err := m.Work()
	if err != nil {
		return err
	}
	return h.stores.rows.Commit(ctx, work.Batch{Partition: message.Partition, Messages: []work.Message{message}})
}

func (h *lambdaHost) Tick(ctx context.Context, function string) error {
	r, err := h.functions[function].Tick(ctx, function)
	if err == nil && r.Failed {
		err = fmt.Errorf("timer %s: %s", function, r.Reason)
	}
	return err
}

// Idle implements hosttest.Services. What is put off for a moment is waited for: a process may have to wait for its share of
// Graph's limits.
func (h *lambdaHost) Idle() bool {
	soon := time.Now().Add(10 * time.Second)
	for queue, n := range h.queues.Counts() {
		if !strings.HasSuffix(queue, sqs.DeadSuffix) && n.Visible+n.InHands > 0 || !n.Next.IsZero() && n.Next.Before(soon) {
			return false
		}
	}
	return true
}

// sendAll has the queues hold what waits in rows because SQS can't wait that long: a process whose clock is a month ahead sends it.
func (h *lambdaHost) sendAll(c config) error {
	ctx := context.Background()
	ahead, err := openStores(ctx, c, nil, func() time.Time { return time.Now().AddDate(0, 1, 0) }, newIDs(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	return errors.Join(ahead.shared.Sweep(ctx), ahead.close())
}

// Left implements hosttest.Services.
func (h *lambdaHost) Left() (hosttest.Rows, map[work.Queue]int) {
	waiting := map[work.Queue]int{}
	for queue, n := range h.queues.Counts() {
		if later := n.Visible + n.Delayed; later > 0 {
			waiting[work.Queue(queue)] = later
		}
	}
	return h.stores.rows, waiting
}

func (h *lambdaHost) End() error { return h.end() }
