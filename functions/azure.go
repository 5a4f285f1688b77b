package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"pinreset/events"
	"pinreset/shared/dispatch"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/host/azure"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// Functions of Azure Functions that no queue starts. Both timers tick every minute and do next to nothing then: what is due they tell
// by the store, so that a tick that comes late, early or twice is no harm.
const (
	httpFunction      = "web"
	housekeepingTimer = "housekeeping-timer"
	auditTimer        = "tenantaudit-timer"
)

// triggers names the function of each queue: the handler's, and for its second queue, the bulk one, the handler's with "-bulk".
func triggers(table []dispatch.Route) map[string]work.Queue {
	named := map[string]work.Queue{}
	for _, q := range queues {
		i := slices.IndexFunc(table, func(r dispatch.Route) bool { return r.Queue == q.Name || r.Queue.Bulk() == q.Name })
		if i < 0 {
			panic("queue " + string(q.Name) + " has no function")
		}
		name := table[i].Function
		if _, second := named[name]; second {
			name += "-bulk"
		}
		named[name] = q.Name
	}
	return named
}

// runAzure works for the Azure Functions host that started this process, and returns the exit code. The host calls back on the port.
func runAzure(ctx context.Context, port string, getenv func(string) string, stdout, stderr io.Writer) int {
	err := serveAzure(ctx, port, getenv, stdout)
	switch {
	case err != nil:
		fmt.Fprintln(stderr, "pinreset:", err) // the host quotes it where it tells that the process has ended
		return exitError
	case ctx.Err() != nil:
		return azure.ExitRestart // told to end by somebody else than the host, who just kills: the host shall start it again
	default:
		return exitError
	}
}

func serveAzure(ctx context.Context, port string, getenv func(string) string, stdout io.Writer) error {
	listener, err := azure.Listen(ctx, port) // before anything else: the host asks from now on
	if err != nil {
		return err
	}
	defer listener.Close()
	c, err := azureConfig(getenv)
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
	logger := logTo(stdout, level) // each line on standard error would be an error to the host
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
		ended := make(chan struct{})
		go func() { background.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(shutdown):
			logger.Warn("runs did not end in time; their messages come back at the next start")
		}
		if prog != nil {
			prog.close()
		}
	}()
	build := func(ctx context.Context) (azure.Functions, error) {
		t, err := azureCloud(c)
		if err != nil {
			return azure.Functions{}, err
		}
		if prog, err = wire(ctx, c, t, startOptions{pace: c.pace(), logger: logger, tracer: tracer}); err != nil {
			return azure.Functions{}, err
		}
		// An instance may have started after the time that is due, and be gone before the next one. So what is due is begun whenever it is
		// found, also the first time.
		prog.audits.Since = time.Time{}
		background.Go(func() { prog.audits.Woken(running) })
		background.Go(func() { prog.tidyKeys(running) })
		functions := azure.Functions{
			Queues: prog.triggers,
			Timers: map[string]func(context.Context) error{housekeepingTimer: prog.timer.Look, auditTimer: prog.audits.Tick},
			// Made when somebody asks: it is most of the start, and most instances only serve queues.
			HTTP:   onlyHosts(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { prog.web().ServeHTTP(w, r) }), "http://"+listener.Addr().String(), c.PublicURL),
			Intake: azure.Parcels{Store: prog.shared}, Processor: prog.dispatcher,
		}
		if prog.local != nil {
			functions.Intake = pushed{prog.local}
			background.Go(func() { prog.host.Run(running) }) // what that store keeps for later, it hands out itself
		}
		return functions, nil
	}
	return azure.Serve(ctx, listener, azure.Options{Flush: tracer.Flush, Logger: logger}, build)
}

// azureConfig is the configuration with what the platform says, and without what only a machine of one's own can do.
func azureConfig(getenv func(string) string) (config, error) {
	c, err := loadConfig(getenv)
	if err != nil {
		return c, err
	}
	if name := getenv("WEBSITE_HOSTNAME"); c.PublicURL == "" && name != "" {
		c.PublicURL = "https://" + name // App Service sets it
	}
	var problems []error
	switch {
	case getenv(envData) != "":
	case c.sharedStores():
		c.Data = "" // no instance makes the administrator's token: it would go with the instance's disk
	default:
		problems = append(problems, errors.New("PINRESET_DATA must name a directory that outlives this instance, whose own disk goes when it does; PINRESET_TABLES_URL and PINRESET_SERVICEBUS need none"))
	}
	if c.simulated() && c.SimAt == "" {
		problems = append(problems, errors.New("PINRESET_CLIENT_ID is missing: no simulated cloud is started under the Functions host"))
	}
	if c.SQSURL != "" {
		problems = append(problems, errors.New("PINRESET_SQS_URL can't be set here: the Functions host brings messages of Service Bus"))
	}
	if c.PublicURL == "" {
		problems = append(problems, errNoPublicURL)
	}
	return c, errors.Join(problems...)
}

// azureCloud is the tenant side: as configured, or a simulated cloud that runs already.
func azureCloud(c config) (cloud, error) {
	if !c.simulated() {
		return realCloud(c)
	}
	at, err := graphsim.Find(c.SimAt)
	if err != nil {
		return cloud{}, err
	}
	return simulated(at), nil
}

// pushed takes what the host hands over into the store of a data directory, which then keeps it: the host completes a message once the
// store has it, and what is put off comes from the store again.
type pushed struct{ store *sqlitework.Store }

// Take makes the message a delivery of the store.
func (p pushed) Take(ctx context.Context, queue work.Queue, m azure.Message) (work.Delivery, bool, error) {
	return takePushed(ctx, p.store, queue, m.ID, m.Body)
}

// takePushed makes a message that a host hands over a delivery of the store. The tenant in the body says whose it is; a message that names
// none is set aside by dispatch, like any other that can't be read.
func takePushed(ctx context.Context, store *sqlitework.Store, queue work.Queue, id string, body []byte) (work.Delivery, bool, error) {
	partition := dispatch.SystemPartition
	if e, err := events.Parse(body); err == nil {
		partition = e.Tenant
	}
	return store.Take(ctx, work.Message{ID: id, Queue: queue, Partition: partition, Body: body})
}
