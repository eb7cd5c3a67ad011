package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/db"
	"cairn/internal/connection"
	"cairn/internal/instance"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

const (
	countsAge     = 15 * time.Second // after which a scrape counts again
	countsTimeout = 2 * time.Second  // for all counts together, because scrapers wait and requests need the pool
)

// Count adds the metrics that are counted in the database. A new one is an entry here: name, labels and query.
func (m *Metrics) Count(sessions *session.Manager, pool *pgxpool.Pool) {
	m.registry.MustRegister(&stored{
		timeout: m.countsTimeout,
		up: prometheus.NewDesc("cairn_database_up",
			"1 if the counts from the database could be read, 0 if they are missing.", nil, nil),
		counts: []count{
			{prometheus.NewDesc("cairn_sessions", "Live sessions, on all instances.", nil, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					n, err := sessions.Count(ctx)
					observe(n)
					return err
				}},
			{prometheus.NewDesc("cairn_connections", "Connections by provider and state, on all instances.",
				[]string{"provider", "state"}, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					tallies, err := connection.Count(ctx, pool)
					for _, t := range tallies {
						observe(t.N, t.Provider, t.State.Name())
					}
					return err
				}},
			{prometheus.NewDesc("cairn_provider_quota_remaining",
				"Calls left of the quotas that all instances share, by window: 15m, or the UTC day.",
				[]string{"provider", "window"}, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					budgets, err := oauth.Budgets(ctx, pool)
					for _, b := range budgets {
						if b.QuarterMax > 0 {
							observe(max(0, b.QuarterMax-b.QuarterUsed), b.Provider, "15m")
							observe(max(0, b.DayMax-b.DayUsed), b.Provider, "day")
						}
					}
					return err
				}},
			{prometheus.NewDesc("cairn_jobs", "Background jobs by kind and state, on all instances.",
				[]string{"kind", "state"}, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					tallies, err := jobs.Count(ctx, pool)
					for _, t := range tallies {
						observe(t.N, t.Kind, t.State)
					}
					return err
				}},
			{prometheus.NewDesc("cairn_job_wait_seconds",
				"How long the oldest job of a kind has been due, on all instances.",
				[]string{"kind", "queue"}, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					waits, err := jobs.Waits(ctx, pool)
					for _, w := range waits {
						observe(int(w.For.Seconds()), w.Kind, w.Queue)
					}
					return err
				}},
			{prometheus.NewDesc("cairn_instances", "Running servers.", nil, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					n, err := instance.Count(ctx, pool)
					observe(n)
					return err
				}},
			{prometheus.NewDesc("cairn_schema_version", "Version of the database's schema.", nil, nil),
				func(ctx context.Context, observe func(int, ...string)) error {
					version, err := db.Version(ctx, pool)
					observe(int(version))
					return err
				}},
		},
	})
}

// count is a gauge that counts rows. read calls observe with each number and the values of its labels.
type count struct {
	desc *prometheus.Desc
	read func(ctx context.Context, observe func(n int, labels ...string)) error
}

// stored collects counts from the database and keeps them for countsAge.
type stored struct {
	timeout time.Duration // for all counts together
	up      *prometheus.Desc
	counts  []count

	mu      sync.Mutex
	readAt  time.Time
	metrics []prometheus.Metric
}

func (s *stored) Describe(out chan<- *prometheus.Desc) {
	out <- s.up
	for _, c := range s.counts {
		out <- c.desc
	}
}

func (s *stored) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.readAt) >= countsAge {
		s.metrics = s.read()
		s.readAt = time.Now()
	}
	for _, metric := range s.metrics {
		out <- metric
	}
}

// read counts everything. If a count fails, it leaves out all: no number is better than an old one that looks current.
// Collectors get no context from Prometheus.
func (s *stored) read() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	metrics := []prometheus.Metric{gauge(s.up, 1)}
	for _, c := range s.counts {
		err := c.read(ctx, func(n int, labels ...string) {
			metrics = append(metrics, gauge(c.desc, float64(n), labels...))
		})
		if err != nil {
			return []prometheus.Metric{gauge(s.up, 0)}
		}
	}
	return metrics
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
