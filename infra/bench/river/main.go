// Command river measures River, a queue on PostgreSQL, with the unit of work that pinreset is measured with: fetch the job,
// read a row, write it, send a follow-up job and complete the job, all in one transaction of PostgreSQL's defaults
// (fsync and synchronous_commit on). It is a module of its own so that the product does not depend on what it is compared to.
//
// Usage: river -database URL -units N -inflight N. It prints one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

func main() {
	database := flag.String("database", "", "address of the PostgreSQL database")
	units := flag.Int("units", 20_000, "units to run")
	inFlight := flag.Int("inflight", 64, "units in flight")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := run(ctx, *database, *units, *inFlight); err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

type unit struct {
	Device string `json:"device"`
	Text   string `json:"text"`
}

func (unit) Kind() string { return "unit" }

// worker does one unit.
type worker struct {
	river.WorkerDefaults[unit]
	pool *pgxpool.Pool
	left atomic.Int64
	done chan struct{}
}

func (w *worker) Work(ctx context.Context, job *river.Job[unit]) error {
	tx, err := w.pool.Begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(ctx) }()
	var version int64
	err = tx.QueryRow(ctx, `SELECT version FROM bench_rows WHERE id = $1`, job.Args.Device).Scan(&version)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return err
	}
	_, err = tx.Exec(ctx, `INSERT INTO bench_rows VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET version = $2, value = $3`,
		job.Args.Device, version+1, job.Args.Text)
	if err != nil {
		return err
	}
	follow := &river.InsertOpts{Queue: "out"}
	if _, err := river.ClientFromContext[pgx.Tx](ctx).InsertTx(ctx, tx, job.Args, follow); err != nil {
		return err
	}
	if _, err := river.JobCompleteTx[*riverpgxv5.Driver](ctx, tx, job); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return err
	}
	if w.left.Add(-1) == 0 {
		close(w.done)
	}
	return nil
}

func run(ctx context.Context, database string, units, inFlight int) error {
	config, err := pgxpool.ParseConfig(database)
	if err != nil {
		return err
	}
	config.MaxConns = int32(inFlight + 8)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	if _, err := pool.Exec(ctx, `CREATE TABLE bench_rows (id text PRIMARY KEY, version bigint NOT NULL, value text NOT NULL)`); err != nil {
		return err
	}
	w := &worker{pool: pool, done: make(chan struct{})}
	w.left.Store(int64(units))
	workers := river.NewWorkers()
	river.AddWorker(workers, w)
	client, err := river.NewClient(driver, &river.Config{
		Queues: map[string]river.QueueConfig{"in": {MaxWorkers: inFlight}}, Workers: workers,
		// The shortest that River takes, so that it does not wait while there is work.
		FetchCooldown: river.FetchCooldownMin, FetchPollInterval: 10 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	})
	if err != nil {
		return err
	}
	text := strings.Repeat("0", 440)
	for n := 0; n < units; {
		var jobs []river.InsertManyParams
		for ; n < units && len(jobs) < 1000; n++ {
			jobs = append(jobs, river.InsertManyParams{Args: unit{fmt.Sprintf("device-%08d", n), text}, InsertOpts: &river.InsertOpts{Queue: "in"}})
		}
		if _, err := client.InsertManyFast(ctx, jobs); err != nil {
			return fmt.Errorf("insert jobs: %w", err)
		}
	}
	started := time.Now()
	if err := client.Start(ctx); err != nil {
		return err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		return fmt.Errorf("%d of %d units left: %w", w.left.Load(), units, ctx.Err())
	}
	took := time.Since(started)
	if err := client.StopAndCancel(ctx); err != nil {
		return err
	}
	var server string
	if err := pool.QueryRow(ctx, `SHOW server_version`).Scan(&server); err != nil {
		return err
	}
	server, _, _ = strings.Cut(server, " ")
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"unitsPerSecond": float64(units) / took.Seconds(), "river": version(), "postgresql": server,
	})
}

func version() string {
	info, _ := debug.ReadBuildInfo()
	for _, m := range info.Deps {
		if m.Path == "github.com/riverqueue/river" {
			return m.Version
		}
	}
	return "?"
}
