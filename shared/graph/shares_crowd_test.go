package graph

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"pinreset/shared/clocktest"
	"pinreset/shared/fault"
	"pinreset/shared/quota"
	"pinreset/shared/work"
)

// counting is Graph as far as it counts: it answers every part of a batch with 204 and remembers when each came.
type counting struct {
	t     *testing.T
	clock *clocktest.Clock
	mu    sync.Mutex
	sizes map[int]int // batches by their number of parts
	seen  map[Family][]time.Time
	most  map[Family]int // within one window of 20 s, or of 10 s for reports
	fail  func(ids []string) bool
}

func newCounting(t *testing.T, ck *clocktest.Clock) *counting {
	return &counting{t: t, clock: ck, sizes: map[int]int{}, seen: map[Family][]time.Time{}, most: map[Family]int{}}
}

func (g *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	var body struct{ Requests []batchPart }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		g.t.Error(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sizes[len(body.Requests)]++
	now := g.clock.Now()
	var ids, answers []string
	for _, p := range body.Requests {
		f := demandOf(p.Method, p.URL).family
		window := PublishedLimits().Families[f].Any.Per
		all := append(g.seen[f], now)
		for all[0].Compare(now.Add(-window)) <= 0 {
			all = all[1:]
		}
		g.seen[f], g.most[f] = all, max(g.most[f], len(all))
		ids = append(ids, p.ID)
		answers = append(answers, fmt.Sprintf(`{"id":%q,"status":204}`, p.ID))
	}
	if g.fail != nil && g.fail(ids) {
		return nil, errors.New("connection lost")
	}
	answer := `{"responses":[` + strings.Join(answers, ",") + `]}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewBufferString(answer)), Request: r}, nil
}

// process is a client that shares the limits with the others over the store.
func (g *counting) process(store *rowsInMemory, name string) *Client {
	g.t.Helper()
	c, err := New(Config{
		Graph: "https://graph.example", Authority: "https://login.example", Transport: g,
		App:      App{ClientID: "app", Credential: func(string) (azcore.TokenCredential, error) { return stillToken{}, nil }},
		Shares:   quota.New(store, quota.Options{Process: name, Common: "system", Now: g.clock.Now}),
		WaitBulk: -1, WaitPeople: -1, Now: g.clock.Now, Jitter: func() float64 { return 0 },
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

// TestSharesOfACrowdEnd: with 25 processes each has 7 of 200 writes in 20 s, less than a batch has, and a fifth of the one of 5 reports
// in 10 s. All of them get all of their calls made, and Graph never sees more than its limits.
func TestSharesOfACrowdEnd(t *testing.T) {
	t.Parallel()
	const processes, resets, reports = 25, 40, 2
	ck := newClock()
	g := newCounting(t, ck)
	store := &rowsInMemory{rows: map[work.Key]work.Row{}}
	type job struct {
		client *Client
		left   []BatchRequest
		again  time.Time
	}
	var jobs []*job
	for i := range processes {
		c := g.process(store, fmt.Sprint("process-", i))
		actions, reads := &job{client: c}, &job{client: c}
		for n := range resets {
			actions.left = append(actions.left, BatchResetPasscode(fmt.Sprint(i, "-", n), deviceX))
		}
		for n := range reports {
			reads.left = append(reads.left, BatchGet(fmt.Sprint(i, "-report-", n), "/auditLogs/signIns"))
		}
		jobs = append(jobs, actions, reads)
	}
	answered := map[string]int{}
	start := ck.Now()
	for open := len(jobs); open > 0; ck.Advance(250 * time.Millisecond) {
		if ck.Now().Sub(start) > time.Hour {
			t.Fatalf("%d of %d jobs have not ended after an hour", open, len(jobs))
		}
		open = 0
		for _, j := range jobs {
			if len(j.left) == 0 {
				continue
			}
			open++
			if ck.Now().Before(j.again) {
				continue
			}
			some := j.left[:min(len(j.left), MaxBatch)]
			rest := j.left[len(some):]
			parts, err := j.client.Batch(t.Context(), tenantA, V1, some)
			if err != nil {
				j.again = ck.Now().Add(waiting(t, err))
				continue
			}
			var left []BatchRequest
			for i, p := range parts {
				if p.Err != nil {
					j.again = ck.Now().Add(waiting(t, p.Err))
					left = append(left, some[i])
					continue
				}
				answered[p.ID]++
			}
			j.left = append(left, rest...)
		}
	}
	if len(answered) != processes*(resets+reports) {
		t.Errorf("%d parts are answered, want %d", len(answered), processes*(resets+reports))
	}
	for id, n := range answered {
		if n != 1 {
			t.Errorf("part %s was answered %d times", id, n)
		}
	}
	for f, limit := range map[Family]int{Devices: 200, Reports: 5} {
		if g.most[f] == 0 || g.most[f] > limit {
			t.Errorf("Graph saw %d calls of %s in one window, the limit is %d", g.most[f], f, limit)
		}
	}
	t.Logf("ended after %s; batches by size: %v; most in a window: %v", ck.Now().Sub(start), g.sizes, g.most)
}

// waiting is the delay of a call that was put off, which is all that may happen to it.
func waiting(t *testing.T, err error) time.Duration {
	t.Helper()
	v, ok := fault.As(err)
	if !ok || v.Code != fault.WaitingForPermit || v.Delay <= 0 || errors.Is(err, ErrOutcomeUnknown) {
		t.Fatalf("%v, want a call that is put off", err)
	}
	return v.Delay
}

// TestBatchInPieces: what was sent and what was not is told apart when a piece of a batch fails.
func TestBatchInPieces(t *testing.T) {
	t.Parallel()
	var resets, reads []BatchRequest
	for n := range 12 {
		resets = append(resets, BatchResetPasscode(fmt.Sprint(n), deviceX))
		reads = append(reads, BatchGet(fmt.Sprint(n), "/auditLogs/signIns"))
	}
	limits := PublishedLimits()
	limits.Families[Devices] = FamilyLimit{Write: Window{5, time.Minute}}
	client := func(t *testing.T, g *counting) *Client {
		c := g.process(&rowsInMemory{rows: map[work.Key]work.Row{}}, "a")
		c.limiter = newLimiter(limits, 0.2, noWait, g.clock.Now)
		return c
	}
	t.Run("the window is full", func(t *testing.T) {
		t.Parallel()
		g := newCounting(t, newClock())
		parts, err := client(t, g).Batch(t.Context(), tenantA, V1, reads)
		if err != nil || len(parts) != len(reads) || g.most[Reports] != 5 {
			t.Fatalf("%d parts of %d sent, %v", g.most[Reports], len(parts), err)
		}
		for i, p := range parts {
			switch {
			case p.ID != reads[i].ID():
				t.Errorf("part %d is %s", i, p.ID)
			case i < 5 && p.Err != nil:
				t.Errorf("part %d: %v", i, p.Err)
			case i >= 5 && waiting(t, p.Err) > 10*time.Second:
				t.Errorf("part %d: %v", i, p.Err)
			}
		}
	})
	t.Run("the first is lost", func(t *testing.T) {
		t.Parallel()
		g := newCounting(t, newClock())
		g.fail = func([]string) bool { return true }
		parts, err := client(t, g).Batch(t.Context(), tenantA, V1, resets)
		if err != nil || len(parts) != len(resets) || g.most[Devices] != 5 {
			t.Fatalf("%d parts of %d sent, %v", g.most[Devices], len(parts), err)
		}
		for i, p := range parts {
			if unknown := errors.Is(p.Err, ErrOutcomeUnknown); unknown != (i < 5) || fault.CodeOf(p.Err) != fault.GraphUnavailable {
				t.Errorf("part %d: %v", i, p.Err)
			}
		}
	})
	t.Run("nothing was sent", func(t *testing.T) {
		t.Parallel()
		g := newCounting(t, newClock())
		c := client(t, g)
		if _, err := c.Batch(t.Context(), tenantA, V1, resets[:5]); err != nil {
			t.Fatal(err)
		}
		if parts, err := c.Batch(t.Context(), tenantA, V1, resets); parts != nil {
			t.Errorf("%d parts", len(parts))
		} else {
			waiting(t, err)
		}
	})
	t.Run("the caller gave up", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		g := newCounting(t, newClock())
		g.fail = func([]string) bool { cancel(); return true }
		parts, err := client(t, g).Batch(ctx, tenantA, V1, resets)
		if err != nil {
			t.Fatal(err)
		}
		for i, p := range parts {
			if unknown := errors.Is(p.Err, ErrOutcomeUnknown); unknown != (i < 5) || !errors.Is(p.Err, context.Canceled) {
				t.Errorf("part %d: %v", i, p.Err)
			}
		}
	})
}
