package main

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"pinreset/shared/dispatch"
	"pinreset/shared/graph"
	"pinreset/shared/work/sqlitework"
)

// metrics are what operations watch. No label names a tenant, a user or a device.
type metrics struct {
	registry *prometheus.Registry
	runs     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	waited   *prometheus.HistogramVec
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
	}
	m.registry.MustRegister(m.runs, m.took, m.waited, &collector{store: store, client: client})
	return m
}

func (m *metrics) observe(o dispatch.Observation) {
	m.runs.WithLabelValues(o.Function, o.Verdict, string(o.Code)).Inc()
	m.took.WithLabelValues(o.Function).Observe(o.Took.Seconds())
	m.waited.WithLabelValues(o.Function).Observe(max(0, o.Waited.Seconds()))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// collector reads the state of the queues and of the limiter when it is asked.
type collector struct {
	store  *sqlitework.Store
	client *graph.Client
}

var (
	queueDepth  = prometheus.NewDesc("pinreset_queue_depth", "Messages of a queue by state: due, later, leased.", []string{"queue", "state"}, nil)
	queueOldest = prometheus.NewDesc("pinreset_queue_oldest_seconds", "How long the first due message of a queue has waited.", []string{"queue"}, nil)
	commits     = prometheus.NewDesc("pinreset_store_commits_total", "Transactions of the store; many units share one.", nil, nil)
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
	stats, err := c.store.Stats(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(queueDepth, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, q := range stats.Queues {
		gauge(queueDepth, float64(q.Due), string(q.Queue), "due")
		gauge(queueDepth, float64(q.Later), string(q.Queue), "later")
		gauge(queueDepth, float64(q.Leased), string(q.Queue), "leased")
		gauge(queueOldest, q.Oldest.Seconds(), string(q.Queue))
	}
	count := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	count(commits, int(stats.Commits))
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
