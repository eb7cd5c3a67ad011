package metrics

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
)

// poolStats collects statistics of the database pool.
type poolStats struct {
	pool  *pgxpool.Pool
	stats []poolStat
}

type poolStat struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*pgxpool.Stat) float64
}

func newPoolStats(pool *pgxpool.Pool) poolStats {
	stat := func(name, help string, kind prometheus.ValueType, value func(*pgxpool.Stat) float64) poolStat {
		return poolStat{prometheus.NewDesc("cairn_pool_"+name, help, nil, nil), kind, value}
	}
	return poolStats{pool, []poolStat{
		stat("connections_acquired", "Database connections in use.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) }),
		stat("connections_idle", "Database connections that are open and unused.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.IdleConns()) }),
		stat("connections", "Database connections, those being opened included.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) }),
		stat("connections_max", "The most database connections that this server opens.", prometheus.GaugeValue,
			func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) }),
		stat("acquires_total", "Acquisitions of a database connection.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.AcquireCount()) }),
		stat("acquire_waits_total", "Acquisitions that had to wait.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.EmptyAcquireCount()) }),
		stat("acquire_wait_seconds_total", "Time that acquisitions waited.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return s.EmptyAcquireWaitTime().Seconds() }),
		stat("acquires_canceled_total", "Acquisitions that were cancelled while they waited.", prometheus.CounterValue,
			func(s *pgxpool.Stat) float64 { return float64(s.CanceledAcquireCount()) }),
	}}
}

func (p poolStats) Describe(out chan<- *prometheus.Desc) {
	for _, stat := range p.stats {
		out <- stat.desc
	}
}

func (p poolStats) Collect(out chan<- prometheus.Metric) {
	now := p.pool.Stat()
	for _, stat := range p.stats {
		out <- prometheus.MustNewConstMetric(stat.desc, stat.kind, stat.value(now))
	}
}
