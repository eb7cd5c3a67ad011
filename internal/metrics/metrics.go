// Package metrics serves an operator's metrics to Prometheus.
//
//	metrics.go  events as they happen: requests, sign-ins, calls to providers
//	stored.go   rows that are counted in the database at a scrape: sessions, connections, jobs
//	pool.go     the pool of database connections
//
// The parts that are observed do not import this package. They call functions that they are given (routes.Observer,
// oauth.Options.Observe), which are methods of Metrics. No label contains a user, an id, a path or a secret: the label
// of a route is its pattern, and every other label has one of a few values.
package metrics

import (
	"cmp"
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cairn/internal/auth"
)

// Metrics are the metrics of one server. Its methods are safe for concurrent use.
type Metrics struct {
	registry      *prometheus.Registry
	requests      *prometheus.CounterVec
	requestTimes  *prometheus.HistogramVec
	signIns       *prometheus.CounterVec
	limited       *prometheus.CounterVec
	calls         *prometheus.CounterVec
	callTimes     *prometheus.HistogramVec
	adoptions     *prometheus.CounterVec
	mail          *prometheus.CounterVec
	countsTimeout time.Duration
}

// New returns the metrics of a server that uses this pool. Count adds those from the database, for which a scrape waits
// at most timeout (0: 2 s).
func New(pool *pgxpool.Pool, timeout time.Duration) *Metrics {
	m := &Metrics{
		countsTimeout: cmp.Or(timeout, countsTimeout),
		registry:      prometheus.NewRegistry(),
		requests: counter("cairn_http_requests_total",
			"Requests by method, pattern of the route, and status (0: the client had left).",
			"method", "route", "status"),
		requestTimes: histogram("cairn_http_request_duration_seconds",
			"From a request's headers to the end of its response.",
			"method", "route"),
		signIns: counter("cairn_sign_ins_total",
			"Sign-ins by method (password, passkey, a provider, or how people from the Node server came) "+
				"and result: ok, code_asked, refused, limited, declined, failed.",
			"method", "result"),
		limited: counter("cairn_rate_limited_total",
			"Requests that a rate limit refused, by the name of the limit.",
			"limit"),
		calls: counter("cairn_provider_calls_total",
			"Calls to providers by call (exchange, refresh, revoke, userinfo, …) and result: "+
				"ok, refused, not_permitted, rate_limited, unavailable.",
			"provider", "call", "result"),
		callTimes: histogram("cairn_provider_call_duration_seconds",
			"From dialling a provider to the last byte of its response.",
			"provider", "call"),
		adoptions: counter("cairn_node_adoptions_total",
			"People who came over from the Node server, by kind (session or link) and result: "+
				"ok, expired, unknown, refused, failed.",
			"kind", "result"),
		mail: counter("cairn_mail_total",
			"Messages by kind and result: sent, refused (for good), failed (tried again), "+
				"dropped (no longer needed, or given up).",
			"kind", "result"),
	}
	m.registry.MustRegister(m.requests, m.requestTimes, m.signIns, m.limited, m.calls, m.callTimes, m.adoptions, m.mail,
		newPoolStats(pool), collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help}, labels)
}

// Build adds cairn_build_info.
func (m *Metrics) Build(version, revision, goVersion string) {
	labels := prometheus.Labels{"version": version, "revision": revision, "go_version": goVersion}
	m.gauge("cairn_build_info", "1, with the build in its labels.", labels, func() float64 { return 1 })
}

// Ready adds cairn_ready. check runs at each scrape and returns nil if this server is ready.
func (m *Metrics) Ready(check func(context.Context) error) {
	m.gauge("cairn_ready", "1 if this server is ready for traffic, as /readyz says, else 0.", nil, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), m.countsTimeout)
		defer cancel()
		if check(ctx) != nil {
			return 0
		}
		return 1
	})
}

// Hashes adds the load of password hashing.
func (m *Metrics) Hashes(load func() auth.HashLoad) {
	for state, of := range map[string]func(auth.HashLoad) (n, most int){
		"running": func(l auth.HashLoad) (int, int) { return l.Running, l.MaxRunning },
		"waiting": func(l auth.HashLoad) (int, int) { return l.Waiting, l.MaxWaiting },
	} {
		labels := prometheus.Labels{"state": state}
		m.gauge("cairn_password_hashes", "Password hashes that run or wait.", labels,
			func() float64 { n, _ := of(load()); return float64(n) })
		m.gauge("cairn_password_hashes_max", "The most that may run or wait; more are refused.", labels,
			func() float64 { _, most := of(load()); return float64(most) })
	}
}

func (m *Metrics) gauge(name, help string, labels prometheus.Labels, value func() float64) {
	options := prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}
	m.registry.MustRegister(prometheus.NewGaugeFunc(options, value))
}

// Handler serves the metrics to Prometheus.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts a completed request. route is a pattern, never a path.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(method, route, strconv.Itoa(status)).Inc()
	m.requestTimes.WithLabelValues(method, route).Observe(took.Seconds())
}

// SignIn counts a completed sign-in.
func (m *Metrics) SignIn(method, result string) {
	m.signIns.WithLabelValues(method, result).Inc()
}

// Mail counts a try to send a message.
func (m *Metrics) Mail(kind, result string) {
	m.mail.WithLabelValues(kind, result).Inc()
}

// Limited counts a request that a rate limit refused.
func (m *Metrics) Limited(limit string) {
	m.limited.WithLabelValues(limit).Inc()
}

// ProviderCall counts a completed call to a provider.
func (m *Metrics) ProviderCall(provider, call, result string, took time.Duration) {
	m.calls.WithLabelValues(provider, call, result).Inc()
	m.callTimes.WithLabelValues(provider, call).Observe(took.Seconds())
}

// NodeAdoption counts a visit with a session or a link of the Node server.
func (m *Metrics) NodeAdoption(kind, result string) {
	m.adoptions.WithLabelValues(kind, result).Inc()
}
