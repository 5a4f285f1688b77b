package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pinreset/events"
	"pinreset/functions/web/callback"
	"pinreset/shared/audit"
	"pinreset/shared/dispatch"
	"pinreset/shared/fault"
	"pinreset/shared/graph"
	"pinreset/shared/portal"
	"pinreset/shared/secret"
	"pinreset/shared/work"
	"pinreset/shared/work/sqlitework"
)

// metrics are what operations watch. No label names a tenant, a user or a device.
type metrics struct {
	registry *prometheus.Registry
	runs     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	waited   *prometheus.HistogramVec
	action   prometheus.Histogram
	outcomes *prometheus.CounterVec
	reveals  prometheus.Counter
	records  *prometheus.CounterVec
	letters  *prometheus.CounterVec
	callback *prometheus.CounterVec
	rollouts *prometheus.CounterVec
	audits   *prometheus.CounterVec
	drifts   *prometheus.CounterVec
	bulks    *prometheus.CounterVec
}

func newMetrics(store *sqlitework.Store, client *graph.Client) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_runs_total", Help: "Runs of handlers by verdict and, where there is one, code."}, []string{"function", "verdict", "code"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pinreset_run_seconds", Help: "How long a run took, settlement included.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}, []string{"function"}),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pinreset_wait_seconds", Help: "From when a message was due to when its run began.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12)}, []string{"function"}),
		action: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "pinreset_click_to_action_seconds", Help: "From when a reset was accepted to when Graph had accepted its call.",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_reset_outcomes_total", Help: "Resets that ended: passcode, removed, observed, failed, cancelled."}, []string{"outcome"}),
		reveals: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pinreset_secret_reveals_total", Help: "Codes that were opened to be shown."}),
		records: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_portal_records_total", Help: "Records of Intune's audit log by what was made of them."}, []string{"decision"}),
		letters: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_deadletters_total", Help: "Messages that were set aside."}, []string{"function"}),
		callback: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_callbacks_total", Help: "Calls of devices and of Graph, by what became of them."}, []string{"from", "outcome"}),
		rollouts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_rollout_outcomes_total", Help: "Rollouts and rollbacks that ended: everywhere, watched, unknown, takenback, failed."}, []string{"outcome"}),
		audits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_audit_outcomes_total", Help: "Audits of tenants that ended: audited, partly, notaudited, failed."}, []string{"outcome"}),
		drifts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_drifts_total", Help: "What audits found changed to the worse, by code."}, []string{"code"}),
		bulks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pinreset_bulk_outcomes_total", Help: "Bulk resets that ended: planned, done, cancelled, failed."}, []string{"outcome"}),
	}
	for _, r := range callback.Results() {
		m.callback.WithLabelValues(r.From, r.Outcome)
	}
	// There from the start: a rate needs the 0 before the 1.
	for counter, values := range map[*prometheus.CounterVec][]string{
		m.outcomes: {events.OutcomePasscode, events.OutcomeRemoved, events.OutcomeObserved, outcomeFailed, outcomeCancelled},
		m.rollouts: {events.RolloutEverywhere, events.RolloutWatched, events.RolloutUnknown, events.RolloutTakenBack, outcomeFailed},
		m.audits:   {events.AuditWhole, events.AuditPartly, events.AuditNot, outcomeFailed},
		m.drifts: {string(fault.ConsentRevoked), string(fault.ServicePrincipalOff), string(fault.PolicyChanged), string(fault.PolicyRemoved),
			string(fault.PolicyUnassigned), string(fault.CompetingPolicy), string(fault.CoverageFell)},
		m.bulks: {events.BulkPlanned, events.BulkDone, events.BulkCancelled, outcomeFailed},
	} {
		for _, value := range values {
			counter.WithLabelValues(value)
		}
	}
	for _, d := range portal.Decisions() {
		m.records.WithLabelValues(string(d))
	}
	m.registry.MustRegister(m.runs, m.took, m.waited, m.action, m.outcomes, m.reveals, m.records, m.letters, m.callback,
		m.rollouts, m.audits, m.drifts, m.bulks, &collector{store: store, client: client})
	return m
}

// expect makes the counters of the functions appear before there is anything to count.
func (m *metrics) expect(routes []dispatch.Route) {
	for _, r := range routes {
		m.letters.WithLabelValues(r.Function)
	}
}

func (m *metrics) observe(o dispatch.Observation) {
	if o.Dead {
		m.letters.WithLabelValues(o.Function).Inc()
	}
	m.runs.WithLabelValues(o.Function, o.Verdict, string(o.Code)).Inc()
	m.took.WithLabelValues(o.Function).Observe(o.Took.Seconds())
	m.waited.WithLabelValues(o.Function).Observe(max(0, o.Waited.Seconds()))
}

// Outcomes beside those of events.PasscodeResetIssued.
const (
	outcomeFailed    = "failed"
	outcomeCancelled = "cancelled"
)

// announced counts the ends of what was asked for, which are all announced, once they are committed.
func (m *metrics) announced(d events.Data) {
	switch d := d.(type) {
	case events.PasscodeResetIssued:
		m.outcomes.WithLabelValues(d.Outcome).Inc()
	case events.PasscodeResetCancelled:
		m.outcomes.WithLabelValues(outcomeCancelled).Inc()
	case events.PolicyRolloutCompleted:
		m.rollouts.WithLabelValues(d.Outcome).Inc()
	case events.TenantAuditCompleted:
		m.audits.WithLabelValues(d.Outcome).Inc()
	case events.TenantDriftFound:
		m.drifts.WithLabelValues(d.Code).Inc()
	case events.BulkResetEnded:
		m.bulks.WithLabelValues(d.Outcome).Inc()
	case events.FailureRaised:
		switch d.Function {
		case "passcodereset":
			if d.DeviceID != "" { // a message that can't be read is no reset that ended
				m.outcomes.WithLabelValues(outcomeFailed).Inc()
			}
		case "policyrollout":
			m.rollouts.WithLabelValues(outcomeFailed).Inc()
		case "tenantaudit":
			m.audits.WithLabelValues(outcomeFailed).Inc()
		case "bulkreset":
			m.bulks.WithLabelValues(outcomeFailed).Inc()
		}
	}
}

// calledBack counts a call of a device or of Graph.
func (m *metrics) calledBack(r callback.Result) { m.callback.WithLabelValues(r.From, r.Outcome).Inc() }
func (m *metrics) record(d portal.Decision)     { m.records.WithLabelValues(string(d)).Inc() }

func (m *metrics) called(requested time.Time) { m.action.Observe(time.Since(requested).Seconds()) }

// openings counts the codes that the vault opens.
type openings struct {
	*secret.Vault
	count prometheus.Counter
}

// Open opens the code and counts it.
func (o openings) Open(ctx context.Context, env secret.Envelope, want secret.Binding, receipt audit.Receipt) (secret.Text, error) {
	text, err := o.Vault.Open(ctx, env, want, receipt)
	if err == nil {
		o.count.Inc()
	}
	return text, err
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// collector reads the state of the queues and of the limiter when it is asked.
type collector struct {
	store  *sqlitework.Store // nil where rows and messages are in Azure's services, which count themselves
	client *graph.Client
}

var (
	queueDepth  = prometheus.NewDesc("pinreset_queue_depth", "Messages of a queue by state: due, later, leased. Of the local store only.", []string{"queue", "state"}, nil)
	queueOldest = prometheus.NewDesc("pinreset_queue_oldest_seconds", "How long the first due message of a queue has waited. Of the local store only.", []string{"queue"}, nil)
	commits     = prometheus.NewDesc("pinreset_store_commits_total", "Transactions of the local store; many units share one.", nil, nil)
	graphCalls  = prometheus.NewDesc("pinreset_graph_requests_total", "Requests sent to Graph by family of resources.", []string{"family"}, nil)
	graphPaced  = prometheus.NewDesc("pinreset_graph_paced_total", "Calls held back by the limiter, waited out or postponed.", []string{"family"}, nil)
	graphBounce = prometheus.NewDesc("pinreset_graph_throttled_total", "Calls that Graph refused for its limits.", []string{"family"}, nil)
	graphUsed   = prometheus.NewDesc("pinreset_graph_window_ratio", "Share of its window that the busiest tenant has used.", []string{"family"}, nil)
	violations  = prometheus.NewDesc("pinreset_graph_retry_after_violations_total", "Calls sent while Graph had said to wait; must stay 0.", nil, nil)
)

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueDepth
	ch <- queueOldest
	for _, d := range []*prometheus.Desc{commits, graphCalls, graphPaced, graphBounce, graphUsed, violations} {
		ch <- d
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	if c.store != nil {
		if err := c.local(ctx, gauge, count); err != nil {
			ch <- prometheus.NewInvalidMetric(queueDepth, err)
			return
		}
	}
	limiter := c.client.Snapshot()
	for _, f := range limiter.Families {
		count(graphCalls, f.Calls, string(f.Family))
		count(graphPaced, f.Waited+f.Refused, string(f.Family))
		count(graphBounce, f.Throttled, string(f.Family))
		if f.Limit > 0 {
			gauge(graphUsed, float64(f.Used)/float64(f.Limit), string(f.Family))
		}
	}
	count(violations, limiter.RetryAfterViolations)
}

// local tells what the store of the data directory knows of its queues.
func (c *collector) local(ctx context.Context, gauge func(*prometheus.Desc, float64, ...string), count func(*prometheus.Desc, int, ...string)) error {
	stats, err := c.store.Stats(ctx)
	if err != nil {
		return err
	}
	// A queue in which nothing waits has gauges too: that a series is missing must mean that nobody looked.
	all := map[work.Queue]sqlitework.QueueStats{}
	for _, q := range queues {
		all[q.Name] = sqlitework.QueueStats{Queue: q.Name}
	}
	for _, q := range stats.Queues {
		all[q.Queue] = q
	}
	for _, q := range all {
		gauge(queueDepth, float64(q.Due), string(q.Queue), "due")
		gauge(queueDepth, float64(q.Later), string(q.Queue), "later")
		gauge(queueDepth, float64(q.Leased), string(q.Queue), "leased")
		gauge(queueOldest, q.Oldest.Seconds(), string(q.Queue))
	}
	count(commits, int(stats.Commits))
	return nil
}
