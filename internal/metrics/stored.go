package metrics

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"cairn/db"
	"cairn/internal/instance"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

const (
	keepCounts    = 15 * time.Second // however many scrape, and however often
	countDeadline = 2 * time.Second  // for all counts together: a scraper waits, and the pool has better things to do
)

// Count adds what is counted in the database. A count that is new belongs here: its name, its labels, and who counts.
func (m *Metrics) Count(sessions *session.Manager, connections *oauth.Store, pool *pgxpool.Pool) {
	m.registry.MustRegister(&stored{
		limit: m.counting,
		answered: prometheus.NewDesc("cairn_database_answered",
			"1 if the database could be asked for the counts below, 0 if they are missing.", nil, nil),
		counts: []count{
			{prometheus.NewDesc("cairn_sessions", "Sessions that are alive, on all instances.", nil, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					n, err := sessions.Count(ctx)
					tell(n)
					return err
				}},
			{prometheus.NewDesc("cairn_connections", "Connections by provider and state, on all instances.",
				[]string{"provider", "state"}, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					tallies, err := connections.Count(ctx)
					for _, t := range tallies {
						tell(t.N, t.Provider, string(t.State))
					}
					return err
				}},
			{prometheus.NewDesc("cairn_provider_quota_left",
				"Calls left of the quotas that all instances share, by window: quarter (hour) or (UTC) day.",
				[]string{"provider", "window"}, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					budgets, err := connections.Budgets(ctx)
					for _, b := range budgets {
						if b.QuarterMax > 0 {
							tell(max(0, b.QuarterMax-b.QuarterUsed), b.Provider, "quarter")
							tell(max(0, b.DayMax-b.DayUsed), b.Provider, "day")
						}
					}
					return err
				}},
			{prometheus.NewDesc("cairn_jobs", "Background jobs by kind and state, on all instances.",
				[]string{"kind", "state"}, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					tallies, err := jobs.Count(ctx, pool)
					for _, t := range tallies {
						tell(t.N, t.Kind, t.State)
					}
					return err
				}},
			{prometheus.NewDesc("cairn_job_wait_seconds",
				"For how long the oldest job of a kind has been due, on all instances.",
				[]string{"kind", "queue"}, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					waits, err := jobs.Waits(ctx, pool)
					for _, w := range waits {
						tell(int(w.For.Seconds()), w.Kind, w.Queue)
					}
					return err
				}},
			{prometheus.NewDesc("cairn_instances", "Servers that run.", nil, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					n, err := instance.Count(ctx, pool)
					tell(n)
					return err
				}},
			{prometheus.NewDesc("cairn_schema_version", "Version of the database's schema.", nil, nil),
				func(ctx context.Context, tell func(int, ...string)) error {
					version, err := db.Version(ctx, pool)
					tell(int(version))
					return err
				}},
		},
	})
}

// count is a gauge of rows. read tells each number with the values of its labels.
type count struct {
	desc *prometheus.Desc
	read func(ctx context.Context, tell func(n int, labels ...string)) error
}

// stored counts rows when it is asked, and not again for a while.
type stored struct {
	limit    time.Duration // for all counts together
	answered *prometheus.Desc
	counts   []count

	mu     sync.Mutex
	at     time.Time
	answer []prometheus.Metric
}

func (s *stored) Describe(out chan<- *prometheus.Desc) {
	out <- s.answered
	for _, c := range s.counts {
		out <- c.desc
	}
}

func (s *stored) Collect(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.at) >= keepCounts {
		s.answer = s.read()
		s.at = time.Now()
	}
	for _, metric := range s.answer {
		out <- metric
	}
}

// read counts. When one count fails, all are left out: no number is better than an old one that looks new. Prometheus
// hands collectors no context.
func (s *stored) read() []prometheus.Metric {
	ctx, cancel := context.WithTimeout(context.Background(), s.limit)
	defer cancel()
	answer := []prometheus.Metric{gauge(s.answered, 1)}
	for _, c := range s.counts {
		err := c.read(ctx, func(n int, labels ...string) {
			answer = append(answer, gauge(c.desc, float64(n), labels...))
		})
		if err != nil {
			return []prometheus.Metric{gauge(s.answered, 0)}
		}
	}
	return answer
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
