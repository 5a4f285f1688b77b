package sqlitework

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pinreset/shared/work"
)

// childDir, when set, makes the test binary the process that is killed.
const childDir = "SQLITEWORK_CHILD_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := child(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// child sends messages and works them off, and prints each acknowledgement, until it is killed.
func child(dir string) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	errs := make(chan error)
	for worker := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i)
				b := message(id)
				b.Writes = row("sent "+id, strings.Repeat(id, 20)).Writes
				if err := s.Commit(ctx, b); err != nil {
					errs <- err
				}
				fmt.Fprintf(os.Stdout, "sent %s\n", id)
			}
		}()
		go func() {
			for {
				ds, err := s.Receive(ctx, "q", 1)
				if err != nil {
					errs <- err
					return
				}
				if err := s.Settle(ctx, ds[0], row("done "+ds[0].ID, "x"), work.Outcome{}); err != nil {
					errs <- err
				}
				fmt.Fprintf(os.Stdout, "done %s\n", ds[0].ID)
			}
		}()
	}
	return <-errs
}

// TestKill kills a process that writes, again and again, and looks at what it leaves: everything acknowledged is there, and a
// unit is there whole or not at all.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 8
	if testing.Short() {
		rounds = 2
	}
	dir := filepath.Join(t.TempDir(), "data")
	sent, done := map[string]bool{}, map[string]bool{}
	for range rounds {
		runAndKill(t, dir, 100+rand.IntN(1500), sent, done)

		// An hour later every lease that the dead process held has ended.
		s, err := Open(dir, Options{Now: func() time.Time { return time.Now().Add(time.Hour) }})
		if err != nil {
			t.Fatalf("Open after a kill: %v", err)
		}
		check(t, s, sent, done)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(sent) < rounds*10 || len(done) < rounds*10 {
		t.Errorf("%d sent and %d done were acknowledged in %d rounds: too few to show anything", len(sent), len(done), rounds)
	}
}

// runAndKill starts the child and kills it after so many acknowledgements.
func runAndKill(t *testing.T, dir string, acknowledgements int, sent, done map[string]bool) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0])
	c.Env = append(os.Environ(), childDir+"="+dir)
	var complaint strings.Builder
	c.Stderr = &complaint
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	read := 0
	for lines := bufio.NewScanner(out); lines.Scan(); read++ {
		switch kind, id, _ := strings.Cut(lines.Text(), " "); kind {
		case "sent":
			sent[id] = true
		case "done":
			done[id] = true
		}
		if read == acknowledgements {
			_ = c.Process.Kill() // it may still print what it acknowledged before it dies; that is read too
		}
	}
	err = c.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Exited() || read < acknowledgements {
		t.Fatalf("child ended by itself after %d acknowledgements: %v\n%s", read, err, complaint.String())
	}
}

func check(t *testing.T, s *Store, sent, done map[string]bool) {
	t.Helper()
	waiting := map[string]bool{}
	var all sync.WaitGroup
	stats, err := s.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range stats.Queues {
		if q.Later+q.Leased > 0 {
			t.Errorf("%d messages of %s wait for later and %d are held, want all due", q.Later, q.Queue, q.Leased)
		}
		for len(waiting) < q.Due {
			ds, err := s.Receive(t.Context(), q.Queue, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				waiting[d.ID] = true
				all.Go(func() {
					if err := s.Settle(t.Context(), d, work.Batch{}, work.Outcome{Kind: work.Postpone, At: time.Now()}); err != nil {
						t.Errorf("Settle: %v", err)
					}
				})
			}
			all.Wait()
		}
	}
	exists := func(key string) bool {
		_, err := s.Get(t.Context(), work.Key{Partition: "p", Row: key})
		if err != nil && !errors.Is(err, work.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	for id := range sent {
		finished := exists("done " + id)
		if !exists("sent "+id) || finished == waiting[id] {
			t.Errorf("%s was sent; row %v, message waiting %v, unit done %v", id, exists("sent "+id), waiting[id], finished)
		}
	}
	for id := range done {
		if !exists("done " + id) {
			t.Errorf("%s was acknowledged as done, its row is missing", id)
		}
	}
}
