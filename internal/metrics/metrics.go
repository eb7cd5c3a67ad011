// Package metrics counts what an operator watches, for Prometheus to fetch.
//
//	metrics.go  what is counted as it happens: requests, sign-ins, calls to providers
//	stored.go   what is counted in the database when somebody asks: sessions, connections
//	pool.go     the pool of database connections
//
// The parts that are watched know nothing of this package: they call functions that they are given (routes.Watch,
// oauth.Store.Observe), and methods of Metrics are such functions. No label holds a user, an id, a path or anything secret:
// routes go by their patterns, and every other value is one of a few words of ours.
package metrics

import (
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics of one server. Make them with New. The methods are safe for concurrent use.
type Metrics struct {
	registry     *prometheus.Registry
	requests     *prometheus.CounterVec
	requestTimes *prometheus.HistogramVec
	signIns      *prometheus.CounterVec
	calls        *prometheus.CounterVec
	callTimes    *prometheus.HistogramVec
}

// New returns the metrics of a server that uses this pool. What is counted in the database joins them with Count.
func New(pool *pgxpool.Pool) *Metrics {
	m := &Metrics{
		registry:     prometheus.NewRegistry(),
		requests:     counter("cairn_http_requests_total", "Requests by method, pattern of the route, and status (0: the client had left).", "method", "route", "status"),
		requestTimes: histogram("cairn_http_request_duration_seconds", "From a request's headers to the end of its answer.", "method", "route"),
		signIns:      counter("cairn_sign_ins_total", "Sign-ins by method (password or a provider) and result: ok, refused, limited, declined, failed.", "method", "result"),
		calls:        counter("cairn_provider_calls_total", "Calls to providers by call (exchange, refresh, revoke, who-am-I, …) and result: ok, refused, rate_limited, unavailable.", "provider", "call", "result"),
		callTimes:    histogram("cairn_provider_call_duration_seconds", "From dialling a provider to the last byte of its answer.", "provider", "call"),
	}
	m.registry.MustRegister(m.requests, m.requestTimes, m.signIns, m.calls, m.callTimes, newPoolStats(pool),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help}, labels)
}

// Build says which build this is.
func (m *Metrics) Build(version, revision, goVersion string) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cairn_build_info", Help: "1, with the build in its labels.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go_version": goVersion},
	}, func() float64 { return 1 }))
}

// Handler answers Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts a request that is over. route is a pattern, never a path.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.requestTimes.WithLabelValues(method, route).Observe(took.Seconds())
}

// SignIn counts a sign-in that came to an end.
func (m *Metrics) SignIn(method, result string) {
	m.signIns.WithLabelValues(method, result).Inc()
}

// ProviderCall counts a call to a provider that is over.
func (m *Metrics) ProviderCall(provider, call, result string, took time.Duration) {
	m.calls.WithLabelValues(provider, call, result).Inc()
	m.callTimes.WithLabelValues(provider, call).Observe(took.Seconds())
}
