package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"pinreset/events"
	"pinreset/shared/fault"
	"pinreset/shared/graph/graphsim"
	"pinreset/shared/passcode"
	"pinreset/shared/work"
)

// sample is one line of /metrics.
type sample struct {
	name   string
	labels map[string]string
	value  float64
}

var (
	sampleLine  = regexp.MustCompile(`^([a-z_]+)(?:\{(.*)\})? (\S+)$`)
	sampleLabel = regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
)

// scrape reads /metrics with the token.
func (o observable) scrape(t *testing.T, token string) (samples []sample) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, o.url+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("/metrics: %s, %s, %v", resp.Status, body, err)
	}
	for line := range strings.Lines(string(body)) {
		m := sampleLine.FindStringSubmatch(strings.TrimSpace(line))
		if strings.HasPrefix(line, "#") {
			continue
		}
		if m == nil {
			t.Fatalf("/metrics says %q", line)
		}
		s := sample{name: m[1], labels: map[string]string{}}
		if s.value, err = strconv.ParseFloat(m[3], 64); err != nil {
			t.Fatal(err)
		}
		for _, l := range sampleLabel.FindAllStringSubmatch(m[2], -1) {
			s.labels[l[1]] = l[2]
		}
		samples = append(samples, s)
	}
	return samples
}

// sum adds the samples of a name with that label; "" is any.
func sum(samples []sample, name, label, value string) (total float64) {
	for _, s := range samples {
		if s.name == name && (label == "" || s.labels[label] == value) {
			total += s.value
		}
	}
	return total
}

// TestEndsAreCounted: whatever is announced as an end, or as a drift, is counted once, where it belongs, and nowhere else.
func TestEndsAreCounted(t *testing.T) {
	t.Parallel()
	m := newMetrics(nil, nil)
	r := prometheus.NewRegistry()
	r.MustRegister(m.outcomes, m.rollouts, m.audits, m.drifts, m.bulks)
	counted := func() map[string]float64 {
		t.Helper()
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		all := map[string]float64{}
		for _, f := range families {
			for _, one := range f.GetMetric() {
				all[f.GetName()+" "+one.GetLabel()[0].GetValue()] = one.GetCounter().GetValue()
			}
		}
		return all
	}
	want := counted()
	for _, c := range []struct {
		d     events.Data
		where string
	}{
		{events.PasscodeResetIssued{Outcome: events.OutcomeRemoved}, "pinreset_reset_outcomes_total removed"},
		{events.PasscodeResetCancelled{}, "pinreset_reset_outcomes_total cancelled"},
		{events.FailureRaised{Function: "passcodereset", DeviceID: "d"}, "pinreset_reset_outcomes_total failed"},
		{events.PolicyRolloutCompleted{Outcome: events.RolloutTakenBack}, "pinreset_rollout_outcomes_total takenback"},
		{events.FailureRaised{Function: "policyrollout"}, "pinreset_rollout_outcomes_total failed"},
		{events.TenantAuditCompleted{Outcome: events.AuditPartly}, "pinreset_audit_outcomes_total partly"},
		{events.FailureRaised{Function: "tenantaudit"}, "pinreset_audit_outcomes_total failed"},
		{events.TenantDriftFound{Code: string(fault.PolicyRemoved)}, "pinreset_drifts_total policy_removed"},
		{events.BulkResetEnded{Outcome: events.BulkDone}, "pinreset_bulk_outcomes_total done"},
		{events.FailureRaised{Function: "bulkreset"}, "pinreset_bulk_outcomes_total failed"},
		{events.FailureRaised{Function: "passcodereset"}, ""},               // a message that could not be read
		{events.FailureRaised{Function: "devicereport", DeviceID: "d"}, ""}, // what a device tells of itself
	} {
		m.announced(c.d)
		if c.where != "" {
			want[c.where]++
		}
		if got := counted(); !maps.Equal(got, want) {
			t.Errorf("%T %+v: counted are %v, want %v", c.d, c.d, got, want)
		}
	}
}

// dashboard is what Grafana reads of its file, as far as it matters here.
type dashboard struct {
	UID    string `json:"uid"`
	Panels []struct {
		Title   string
		Targets []struct{ Expr, LegendFormat string }
	}
}

var (
	queried = regexp.MustCompile(`(pinreset_[a-z_]+)(?:\{([^}]*)\})?`)
	grouped = regexp.MustCompile(`by \(([a-z, ]+)\)`)
	legend  = regexp.MustCompile(`\{\{([a-z]+)\}\}`)
)

// TestDashboard resets, fails and reveals on a whole server, scrapes it as prometheus.yml says, with a token made by the
// command that stands there, and looks for every metric and label that the dashboard asks for.
func TestDashboard(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	o := observe(ctx, t, nil, "")
	token := o.metricsToken(t)

	r := o.reset(ctx, t, "sales-pixel-12")
	if r.State != passcode.Issued {
		t.Fatalf("the reset is %s", r.State)
	}
	if failed := o.reset(ctx, t, "hr-laptop-11"); failed.State != passcode.Failed {
		t.Fatalf("the reset of a laptop is %s", failed.State)
	}
	if _, err := o.api.Reveal(ctx, graphsim.Contoso, r.ID, "read to the user", ""); err != nil {
		t.Fatal(err)
	}
	// A message that can't be read is set aside.
	err := o.rows.Commit(ctx, work.Batch{Partition: graphsim.Contoso, Messages: []work.Message{
		{ID: "poison-1", Queue: passcode.Queue, Partition: graphsim.Contoso, Body: []byte("no event")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var samples []sample
	for limit := time.Now().Add(20 * time.Second); ; pass(20 * time.Millisecond) {
		samples = o.scrape(t, token)
		got := map[string]float64{
			"codes":    sum(samples, "pinreset_reset_outcomes_total", "outcome", "passcode"),
			"failures": sum(samples, "pinreset_reset_outcomes_total", "outcome", "failed"),
			"reveals":  sum(samples, "pinreset_secret_reveals_total", "", ""),
			"calls":    sum(samples, "pinreset_click_to_action_seconds_count", "", ""),
			"letters":  sum(samples, "pinreset_deadletters_total", "function", "passcodereset"),
		}
		wrong := 0
		for _, n := range got {
			if n != 1 {
				wrong++
			}
		}
		if wrong == 0 {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("counted are %v, want one of each", got)
		}
	}
	if took := sum(samples, "pinreset_click_to_action_seconds_sum", "", ""); took <= 0 || took > 60 {
		t.Errorf("from click to action it took %v s", took)
	}

	raw, err := os.ReadFile(filepath.Join("..", "infra", "local", "dashboard.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board dashboard
	if err := json.Unmarshal(raw, &board); err != nil || board.UID != "pinreset" {
		t.Fatalf("dashboard %q: %v", board.UID, err)
	}
	checked := 0
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			metrics := queried.FindAllStringSubmatch(target.Expr, -1)
			if len(metrics) == 0 {
				t.Errorf("panel %q asks for nothing of ours: %s", p.Title, target.Expr)
			}
			var labels []string
			if by := grouped.FindStringSubmatch(target.Expr); by != nil {
				labels = strings.Split(by[1], ", ")
			}
			for _, l := range legend.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(labels, l[1]) {
					t.Errorf("panel %q names lines by %s, and sums it away", p.Title, l[1])
				}
			}
			for _, m := range metrics {
				checked++
				if !answered(samples, m[1], m[2], labels) {
					t.Errorf("panel %q asks for %s by %v, which the server has not", p.Title, m[0], labels)
				}
			}
		}
	}
	for _, q := range queues {
		if !answered(samples, "pinreset_queue_depth", `queue="`+string(q.Name)+`"`, nil) || !answered(samples, "pinreset_queue_oldest_seconds", `queue="`+string(q.Name)+`"`, nil) {
			t.Errorf("queue %s has no gauges", q.Name)
		}
	}
	for _, own := range []string{"rollout_outcomes", "audit_outcomes", "drifts", "bulk_outcomes", "callbacks", "portal_records", "deadletters", "reset_outcomes"} {
		if !bytes.Contains(raw, []byte("pinreset_"+own+"_total")) {
			t.Errorf("no panel shows pinreset_%s_total", own)
		}
	}
	if checked < 15 {
		t.Errorf("only %d queries were checked", checked)
	}
	if answered(samples, "pinreset_nothing_total", "", nil) || answered(samples, "pinreset_queue_depth", `state="none"`, nil) || answered(samples, "pinreset_queue_depth", "", []string{"tenant"}) {
		t.Error("the check finds what is not there")
	}
	for _, s := range samples {
		for _, value := range s.labels {
			if strings.Contains(value, graphsim.Contoso) || strings.Contains(value, r.DeviceID) || strings.Contains(value, "pixel") {
				t.Errorf("%s has the label %q", s.name, value)
			}
		}
	}
	t.Logf("%d panels, %d queries, %d samples", len(board.Panels), checked, len(samples))
}

// answered reports whether there is a sample of the name with the matchers and labels.
func answered(samples []sample, name, matchers string, labels []string) bool {
	return slices.ContainsFunc(samples, func(s sample) bool {
		for _, m := range sampleLabel.FindAllStringSubmatch(matchers, -1) {
			if s.labels[m[1]] != m[2] {
				return false
			}
		}
		return s.name == name && !slices.ContainsFunc(labels, func(l string) bool { _, has := s.labels[l]; return !has })
	})
}

var tokenCommand = regexp.MustCompile(`(?m)^#\s+pinreset (token add .*) --save (\S+)$`)

// metricsToken runs the command in prometheus.yml, and returns what it saved where the file looks for it.
func (o observable) metricsToken(t *testing.T) string {
	t.Helper()
	example, err := os.ReadFile(filepath.Join("..", "infra", "local", "prometheus.yml"))
	if err != nil {
		t.Fatal(err)
	}
	m := tokenCommand.FindSubmatch(example)
	if m == nil {
		t.Fatalf("no command in %s", example)
	}
	if !bytes.Contains(example, []byte("credentials_file: ../../"+string(m[2])+" ")) {
		t.Errorf("the token is saved in %s, where Prometheus does not look", m[2])
	}
	file := filepath.Join(t.TempDir(), "token")
	args := append(strings.Fields(strings.ReplaceAll(string(m[1]), "'", "")), "--save", file, "--server", o.url, "--token-file", filepath.Join(o.config.Data, "admin-token"))
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), args, func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr); code != 0 {
		t.Fatalf("%v: exit %d, %s", args, code, &stderr)
	}
	token, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(token))
}
