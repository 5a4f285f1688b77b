package policyrollout_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"pinreset/events"
	"pinreset/shared/graph"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/policy"
	"pinreset/shared/rollout"
)

// wire writes down the calls that go to Graph, those inside of a batch one by one.
type wire struct {
	http.RoundTripper
	mu    sync.Mutex
	calls []string // "METHOD /version/path", without a query
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	said := []string{r.Method + " " + r.URL.Path}
	if version, ok := strings.CutSuffix(r.URL.Path, "/$batch"); ok {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		var batch struct {
			Requests []struct{ Method, URL string }
		}
		if err := json.Unmarshal(body, &batch); err != nil {
			return nil, err
		}
		said = nil
		for _, one := range batch.Requests {
			u, err := url.Parse(one.URL)
			if err != nil {
				return nil, err
			}
			said = append(said, one.Method+" "+version+u.Path)
		}
	}
	w.mu.Lock()
	w.calls = append(w.calls, said...)
	w.mu.Unlock()
	return w.RoundTripper.RoundTrip(r)
}

// TestPlanShowsTheCallsThatAreSent compares, for each shape, what a plan shows with what the client sends to a store of policies: every
// planned call is sent, in its version, and no write and no read of assignments is sent that was not planned.
func TestPlanShowsTheCallsThatAreSent(t *testing.T) {
	t.Parallel()
	for _, shape := range policy.Shapes {
		t.Run(string(shape), func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			c := simulated(t, false, graphsim.Contoso, func(cfg *graph.Config) { w.RoundTripper, cfg.Transport = cfg.Transport, w })
			want := policy.Desired{Shape: shape, Value: policy.On, Include: []string{c.group("Windows devices")}}
			found, err := c.client.Policies(t.Context(), c.tenant)
			if err != nil {
				t.Fatal(err)
			}
			plan, err := want.Plan(c.tenant, found, policy.PublishedPace)
			if err != nil {
				t.Fatal(err)
			}
			w.calls = nil
			id := c.accept(events.PolicyRolloutRequested{Shape: string(shape), Include: want.Include})
			r := c.until(id, rollout.Watching, rollout.Failed)
			if r.State != rollout.Watching || plan.Writes != r.Writes {
				t.Fatalf("%s %s, %d writes, planned %d", r.State, r.FailureCode, r.Writes, plan.Writes)
			}
			var planned []string
			for _, call := range plan.Calls {
				planned = append(planned, call.Method+" /"+call.Version+strings.ReplaceAll(call.Path, "{id}", r.PolicyID))
			}
			for _, call := range planned {
				if !slices.Contains(w.calls, call) {
					t.Errorf("planned and not sent: %s", call)
				}
			}
			store := "/deviceManagement/" + string(shape.Store())
			for _, call := range w.calls {
				method, _, _ := strings.Cut(call, " ")
				if strings.Contains(call, store) && (method != http.MethodGet || strings.HasSuffix(call, "/assignments")) && !slices.Contains(planned, call) {
					t.Errorf("sent and not planned: %s", call)
				}
			}
		})
	}
}
