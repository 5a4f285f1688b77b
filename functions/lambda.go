package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pinreset/shared/host/lambda"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
	"pinreset/shared/work/sqs"
)

// functionVariable names the function that a Lambda is: one of those that serve a queue (see triggers), a timer, or HTTP. Without it one Lambda
// is all of them.
const functionVariable = "PINRESET_FUNCTION"

// runLambda works for AWS Lambda, which started this process, and returns the exit code.
func runLambda(ctx context.Context, getenv func(string) string, stdout, stderr io.Writer) int {
	if err := serveLambda(ctx, getenv, stdout); err != nil {
		fmt.Fprintln(stderr, "pinreset:", err)
		return exitError
	}
	return 0 // told to end; the platform starts another process when there is work
}

func serveLambda(ctx context.Context, getenv func(string) string, stdout io.Writer) error {
	c, err := lambdaConfig(getenv)
	if err != nil {
		return err
	}
	level, err := c.level()
	if err != nil {
		return err
	}
	if err := forbidDumps(); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
	logger := logTo(stdout, level)
	tracer, err := newTracer(ctx, c, logger)
	if err != nil {
		return err
	}
	defer closeTracer(tracer, logger)

	var prog *program
	running, stop := context.WithCancel(ctx)
	var background sync.WaitGroup
	defer func() {
		stop()
		background.Wait() // its runs give their messages back at once
		if prog != nil {
			prog.close()
		}
	}()
	// What is made at the first event outlives it, so its end is not theirs.
	build := func(context.Context) (lambda.Functions, error) {
		t, err := azureCloud(c)
		if err != nil {
			return lambda.Functions{}, err
		}
		made, err := wire(running, c, t, startOptions{pace: c.pace(), logger: logger, tracer: tracer})
		if err != nil {
			return lambda.Functions{}, err
		}
		functions, err := made.lambdaFunctions(c, getenv(functionVariable))
		if err == nil && made.sqs != nil {
			// Its role may look at what it takes from, and at no other queue.
			if err = made.sqs.Look(running, slices.Collect(maps.Values(functions.Queues))); err != nil {
				err = fmt.Errorf("queues of SQS: %w", err)
			}
		}
		if err != nil {
			made.close()
			return lambda.Functions{}, err
		}
		prog = made
		prog.audits.Since = time.Time{} // as on Azure Functions: what is due is begun whenever it is found
		if prog.local != nil {
			background.Go(func() { prog.host.Run(running) }) // what that store keeps for later, it hands out itself while the process is not frozen
		}
		return functions, nil
	}
	lambda.New(ctx, lambda.Options{Flush: tracer.Flush, Logger: logger}, build).Serve()
	return nil
}

// lambdaFunctions are the function that is named, or with "" all of them. No process runs anything in the background, in which it may be
// frozen: the timers do it.
func (p *program) lambdaFunctions(c config, only string) (lambda.Functions, error) {
	wanted := func(name string) bool { return only == "" || only == name }
	f := lambda.Functions{Queues: map[string]work.Queue{}, Schedules: map[string]func(context.Context) error{},
		Intake: lambda.Parcels{Store: p.shared}, Processor: p.dispatcher}
	if p.local != nil {
		f.Intake = pushedRecords{p.local}
	}
	if p.shared != nil && p.graph != nil {
		// A frozen process can't shrink its share of Graph's limits, and the next one would wait for its end.
		f.Rest = func(ctx context.Context) error { return errors.Join(p.graph.Release(ctx), p.rest(ctx)) }
	}
	if p.sqs != nil {
		f.Intake = lambda.Parcels{Store: p.shared, Decode: sqs.Decode, Hold: p.sqs.Hold}
		f.Return = p.sqs.Return
	}
	for name, queue := range p.triggers {
		if wanted(name) {
			f.Queues[c.queuePrefix()+string(queue)] = queue
		}
	}
	if wanted(housekeepingTimer) {
		f.Schedules[housekeepingTimer] = p.housekeep()
	}
	if wanted(auditTimer) {
		f.Schedules[auditTimer] = p.audits.Tick
	}
	if wanted(httpFunction) {
		// Made when somebody asks: it is most of the start.
		f.HTTP = onlyHosts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.web().ServeHTTP(w, r) }), c.PublicURL, c.PublicURL)
	}
	if len(f.Queues)+len(f.Schedules) == 0 && f.HTTP == nil {
		return f, fmt.Errorf("%s is %q, which is no function of this program", functionVariable, only)
	}
	return f, nil
}

// housekeep looks for what is due, and once an hour tidies the keys too. Ticks do not overlap.
func (p *program) housekeep() func(context.Context) error {
	var (
		mu   sync.Mutex
		last time.Time
	)
	return func(ctx context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if now := time.Now(); p.chain != nil && now.Sub(last) > tidyEvery {
			last = now
			p.tidy(ctx)
		}
		return p.timer.Look(ctx)
	}
}

// lambdaConfig is the configuration with what the platform asks for, and without what only a machine of one's own can do.
func lambdaConfig(getenv func(string) string) (config, error) {
	c, err := loadConfig(getenv)
	if err != nil {
		return c, err
	}
	var problems []error
	switch {
	case c.sharedStores():
		if getenv(envData) == "" {
			c.Data = "" // no process makes the administrator's token: it would go with the process's disk
		}
	case getenv(envData) == "":
		problems = append(problems, errors.New("PINRESET_TABLES_URL is missing: the disk of a Lambda goes when it does"))
	case getenv(functionVariable) != "":
		problems = append(problems, fmt.Errorf("%s can't be set with PINRESET_DATA, which one process has for itself: one Lambda must be all functions, with a concurrency of 1", functionVariable))
	}
	if c.simulated() && c.SimAt == "" {
		problems = append(problems, errors.New("PINRESET_CLIENT_ID is missing: no simulated cloud is started on AWS Lambda"))
	}
	if c.sharedStores() && c.SQSURL == "" {
		problems = append(problems, errors.New("PINRESET_SQS_URL is missing: nothing brings messages of Service Bus to a Lambda"))
	}
	if c.PublicURL == "" {
		problems = append(problems, errNoPublicURL)
	}
	c.QueuesLater = c.SQSURL != ""
	return c, errors.Join(problems...)
}

// pushedRecords takes records into the store of a data directory, as pushed does with what Azure's host hands over.
type pushedRecords struct{ store *sqlitework.Store }

// Take makes the record a delivery of the store.
func (p pushedRecords) Take(ctx context.Context, queue work.Queue, m lambda.Message) (work.Delivery, bool, error) {
	return takePushed(ctx, p.store, queue, m.ID, m.Body)
}
