package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"pinreset/events"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/identity"
	"pinreset/shared/onboarding"
	"pinreset/shared/tenant"
	"pinreset/shared/tracing"
	"pinreset/shared/work"
)

// runUp starts everything in this process and serves until ctx ends. stdout gets what a person needs to begin; the log goes
// to stderr.
func runUp(ctx context.Context, c config, stdout, stderr io.Writer) error {
	level, err := c.level()
	if err != nil {
		return err
	}
	if err := forbidDumps(); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	logger := logTo(stderr, level)
	var watched func(viewers int)
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
		watched = raised(debug.SetMemoryLimit)
	}
	tracer, err := newTracer(ctx, c, logger)
	if err != nil {
		return err
	}
	defer closeTracer(tracer, logger)
	s, err := start(ctx, c, startOptions{pace: c.pace(), logger: logger, tracer: tracer, watched: watched})
	if err != nil {
		return err
	}
	banner(stdout, s)
	tidy := time.AfterFunc(afterStart, func() {
		debug.FreeOSMemory()
		if err := dropProgramPages(); err != nil {
			logger.Debug("pages that the start needed stay in memory", "cause", err.Error())
		}
		if os.Getenv("GOGC") == "" {
			debug.SetGCPercent(garbage)
		}
	})
	defer tidy.Stop()
	select {
	case <-ctx.Done():
		fmt.Fprintln(stderr, "stopping; everything accepted is kept")
	case err = <-s.served:
		err = fmt.Errorf("serve on %s: %w", s.url, err)
	}
	return errors.Join(err, s.stop())
}

// afterStart is when what the start needed and nothing else does goes back to the system. By itself the collector would come to it much
// later in a server that has nothing to do.
const afterStart = 5 * time.Second

// softMemory is the heap, in bytes, from which on garbage is collected more often: an audit of ten thousand tenants makes a lot of it and
// keeps next to nothing. It is no bound; whoever needs another sets GOMEMLIMIT.
const softMemory = 93 << 20

// streamMemory is what one who watches holds of the heap and of stacks, in bytes: a connection with its buffers, and what serves it.
const streamMemory = 24 << 10

// raised returns what has the limit follow the number of those who watch. What they hold is no garbage: without more room the collector would
// run all the time, and find nothing. Each setting stops the program for a moment, so it is done for many at a time.
func raised(set func(limit int64) int64) func(viewers int) {
	const together = 64
	steps := 0
	return func(viewers int) {
		if now := (viewers + together - 1) / together; now != steps {
			steps = now
			set(softMemory + int64(now)*together*streamMemory)
		}
	}
}

// garbage is how much may pile up before it is collected, in per cent of what is in use. What is in use is small here, and
// people wait while it is collected.
const garbage = 300

// startOptions are what the demo and the tests change.
type startOptions struct {
	pace   pace
	timing graphsim.Timing
	limits *graph.Limits // kept by the client
	sim    graphsim.Limits
	logger *slog.Logger
	tracer *tracing.Tracer // nil for none; whoever made it closes it

	// streams says that an answer may go on while its page is open. In Azure Functions and in AWS Lambda it may not: there an answer is
	// passed on when it is whole, and a run that waits for what may come is paid for as long as it waits.
	streams bool
	watched func(viewers int) // told how many streams there are; may be nil
}

// server is a running pinreset.
type server struct {
	*program
	config config
	sim    *graphsim.Cloud // nil unless this process runs the simulated cloud
	// simulator is the address of the simulated cloud's pages, "" with a real tenant.
	simulator string
	url       string
	http      *http.Server
	cancel    context.CancelFunc
	ended     chan struct{} // closed when the host has returned
	served    chan error    // why serving ended, unless it was told to
}

// start opens the stores, starts the simulated cloud where no tenant is configured, and serves. On an error nothing is left
// running.
func start(ctx context.Context, c config, o startOptions) (_ *server, err error) {
	if err := checkExposure(c.Listen, c.PublicURL); err != nil {
		return nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return nil, wrapListen(err, c.Listen)
	}
	s := &server{url: "http://" + listener.Addr().String(), ended: make(chan struct{}), served: make(chan error, 1)}
	defer func() {
		if err != nil {
			_ = listener.Close()
			if s.sim != nil {
				_ = s.sim.Close()
			}
		}
	}()
	var t cloud
	if c.simulated() {
		if t, err = s.simulate(c, o); err != nil {
			return nil, err
		}
		if c.PublicURL == "" {
			c.PublicURL = s.url
		}
	} else {
		if c.PublicURL == "" {
			return nil, errNoPublicURL
		}
		if t, err = realCloud(c); err != nil {
			return nil, err
		}
	}
	t.limits, s.simulator, o.streams = o.limits, t.noticeLink, true
	s.config = c
	if s.program, err = wire(ctx, c, t, o); err != nil {
		return nil, err
	}
	if c.simulated() && !c.NoSample {
		if err := s.addSample(ctx); err != nil {
			s.close()
			return nil, err
		}
	}

	s.http = &http.Server{Handler: onlyHosts(s.web(), s.url, c.PublicURL), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(o.logger.Handler(), slog.LevelWarn)}
	s.http.RegisterOnShutdown(s.live.Close) // what streams is not waited for
	go func() {
		if err := s.http.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.served <- err
		}
	}()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	go func() {
		defer close(s.ended)
		var timer sync.WaitGroup
		defer timer.Wait()
		timer.Go(func() { s.timer.Run(running) })
		timer.Go(func() { s.audits.Run(running) })
		timer.Go(func() { s.tidyKeys(running) })
		s.host.Run(running)
	}()
	return s, nil
}

// simulate starts the simulated cloud. Its state is beside the data directory and never in it: it is the tenants' world,
// not ours, and it must survive when our data is restored or thrown away.
func (s *server) simulate(c config, o startOptions) (cloud, error) {
	if c.SimAt != "" {
		at, err := graphsim.Find(c.SimAt)
		if err != nil {
			return cloud{}, fmt.Errorf("%w; start it with: pinreset sim --data %s", err, c.SimAt)
		}
		return simulated(at), nil
	}
	dir := c.SimData
	if dir == "" {
		dir = filepath.Clean(c.Data) + "-sim"
	}
	var err error
	s.sim, err = graphsim.Start(graphsim.Options{
		Listen: c.SimListen, ListenHTTP: c.SimPages, Dir: dir, Timing: o.timing, Limits: o.sim, Logger: o.logger.With("part", "simulator"),
	})
	if err != nil {
		return cloud{}, fmt.Errorf("start the simulated cloud: %w", err)
	}
	at := graphsim.Reach{URL: s.sim.URL(), Pages: s.sim.PagesURL(), RootCAs: s.sim.RootCAs()}
	at.General, at.Privileged = s.sim.Apps()
	at.SignIn = s.sim.SignIn()
	return simulated(at), nil
}

// simulated is the tenant side where a simulated cloud is it, in this process or in another.
func simulated(at graphsim.Reach) cloud {
	return cloud{
		graph: at.URL, authority: at.URL, consent: at.Pages, microsoft: at.Pages,
		app:        application{at.General.ClientID, at.General.Secret},
		privileged: application{at.Privileged.ClientID, at.Privileged.Secret},
		signIn:     application{at.SignIn.ClientID, at.SignIn.Secret},
		roots:      at.RootCAs,
		notice:     "These tenants are simulated: nothing here reaches Microsoft.", noticeLink: at.Pages,
	}
}

// addSample registers the sample tenant whose administrator has consented already, once, so that a first reset needs no
// onboarding. The other simulated tenants wait to be onboarded by hand.
func (s *server) addSample(ctx context.Context) error {
	now, newID := time.Now(), newIDs()
	u := work.NewUnit(s.rows, tenant.Partition, now, newID)
	if _, err := tenant.Add(u, graphsim.Contoso, "Contoso (sample)", events.Pinreset()); err != nil {
		return err
	}
	err := u.Forward(onboarding.Queue, time.Time{}, events.Event{ID: newID(), Tenant: graphsim.Contoso, Time: now.UTC(),
		Data: events.TenantAdded{RequestID: newID(), DisplayName: "Contoso (sample)", By: events.Pinreset()}})
	if err != nil {
		return err
	}
	if err := u.Commit(ctx); err != nil && !errors.Is(err, work.ErrConflict) { // a conflict: it is registered
		return fmt.Errorf("register the sample tenant: %w", err)
	}
	return nil
}

// stop ends working and serving, side by side, within [shutdown]; runs under way give their messages back.
func (s *server) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdown)
	defer cancel()
	s.cancel()
	err := s.http.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.http.Close() // a browser that keeps a request open must not keep us
	}
	select {
	case <-s.ended:
	case <-ctx.Done():
		s.logger.Warn("runs did not end in time; their messages come back at the next start")
	}
	s.close()
	if s.sim != nil {
		err = errors.Join(err, s.sim.Close())
	}
	return err
}

func banner(w io.Writer, s *server) {
	fmt.Fprintf(w, "pinreset %s is ready.\n\n", version())
	fmt.Fprintf(w, "  Open       %s/sign-in?code=%s\n", s.url, s.session.OneTimeCode(s.admin))
	fmt.Fprintf(w, "             signs you in once, within ten minutes; after that paste the token below\n")
	token := filepath.Join(s.config.Data, identity.AdminFile)
	if _, err := os.Stat(token); errors.Is(err, fs.ErrNotExist) {
		token = identity.AdminFile + " in the data directory of the process that was started first"
	}
	fmt.Fprintf(w, "  Token      %s\n", token)
	fmt.Fprintf(w, "             for the API (%s/openapi.json) and the command line\n", s.url)
	if s.simulator != "" {
		fmt.Fprintf(w, "  Simulator  %s\n", s.simulator)
		fmt.Fprintf(w, "             tenants, devices and faults to play with; nothing here reaches Microsoft\n")
	}
	if s.simulator != "" && !s.config.NoSample {
		where := ""
		if s.url != defaultServer {
			where += " --server " + s.url
		}
		if s.config.Data != defaultData {
			where += " --token-file " + filepath.Join(s.config.Data, "admin-token")
		}
		fmt.Fprintf(w, "\nTry: go run ./functions device reset sales-pixel-12 --tenant %s --reason \"forgot it\" --watch%s\n", graphsim.Contoso, where)
	}
	kept := s.config.Data
	if s.shared != nil {
		kept = "Azure's services, and goes on in the other processes"
	}
	fmt.Fprintf(w, "\nCtrl-C stops it. Everything that was accepted is kept in %s.\n", kept)
}

// version is the module's version as the toolchain knows it, "(devel)" for a build from a checkout.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
