package bench

import (
	"net/http"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// contender is a server that takes its turn in each round.
type contender struct {
	name     string
	address  string
	requests [][]byte
}

// BenchmarkSignedIn measures requests of people who are signed in, at 1, 64 and 256 connections.
func BenchmarkSignedIn(b *testing.B) {
	m := newMachine(b)
	small, large, plain := m.ours("small"), m.ours("large"), m.database("plain")
	fill(b, small, cookies, "30 days")
	fill(b, large, 1_000_000, "30 days")
	fillStock(b, plain, cookies)
	ours, million := m.startOurs(small), m.startOurs(large)
	me := signedIn("/api/auth/me", cookies)
	contenders := []contender{
		{"ours", ours.address, me},
		{"ours, 1,000,000 rows", million.address, signedIn("/api/auth/me", 1_000_000)},
		{"ours, home page", ours.address, signedIn("/", cookies)},
		{"raw SELECT", m.startRival("raw", small).address, me},
		{"scs + pgxstore", m.startRival("stock", plain).address, me},
		{"scs + pgxstore, sliding", m.startRival("sliding", plain).address, me},
	}
	out := figures{os.Stdout}
	out.line("\ncold start: %v until the first answer", ours.cold.Round(time.Millisecond))
	for _, connections := range []int{1, 64, 256} {
		compare(b, out, connections, contenders)
	}
	out.line("memory after load: %.0f MiB, at most %.0f MiB", ours.memory("VmRSS"), ours.memory("VmHWM"))
	perRequest(b, out, ours, connect(b, small), me)
}

// compare prints the rate of each contender, and how many times as fast the first one was in the same round. Each round
// begins with another contender, because a contender leaves caches and unwritten pages behind that affect the next.
func compare(b *testing.B, out figures, connections int, contenders []contender) {
	b.Helper()
	rounds := fromEnv("BENCH_ROUNDS", 5)
	rates, ratios, slowest := map[string][]float64{}, map[string][]float64{}, map[string]time.Duration{}
	for round := range rounds {
		for turn := range contenders {
			c := contenders[(round+turn)%len(contenders)]
			duration := time.Duration(fromEnv("BENCH_SECONDS", 3)) * time.Second
			o := run(b, load{c.address, connections, duration, c.requests})
			rates[c.name] = append(rates[c.name], o.perSecond)
			slowest[c.name] = max(slowest[c.name], o.percentile(0.99))
		}
		for _, c := range contenders {
			ratios[c.name] = append(ratios[c.name], rates[contenders[0].name][round]/rates[c.name][round])
		}
	}
	out.line("\n%d connections, %d rounds       requests/s   p99 at worst   ours is (from, to)", connections, rounds)
	for _, c := range contenders {
		out.line("%-28s %12.0f %14v   %.2f × (%.2f, %.2f)", c.name, median(rates[c.name]), slowest[c.name],
			median(ratios[c.name]), slices.Min(ratios[c.name]), slices.Max(ratios[c.name]))
	}
}

func run(b *testing.B, l load) outcome {
	b.Helper()
	o, err := l.run(b.Context())
	if err == nil {
		err = o.only(http.StatusOK)
	}
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// perRequest prints what a request costs PostgreSQL: alone, when lookups share no statement, and under load.
func perRequest(b *testing.B, out figures, p process, pool *pgxpool.Pool, requests [][]byte) {
	b.Helper()
	for _, connections := range []int{1, 64} {
		before := costOf(b, pool)
		o := run(b, load{p.address, connections, 3 * time.Second, requests})
		after := costOf(b, pool)
		n := float64(len(o.took))
		out.line("a request at %2d connections: %.3f statements, %.2f bytes of WAL, %d rows written", connections,
			(after.statements-before.statements)/n, (after.wal-before.wal)/n, after.written-before.written)
	}
}

type cost struct {
	statements, wal float64
	written         int64
}

func costOf(b *testing.B, pool *pgxpool.Pool) cost {
	b.Helper()
	return cost{
		statements: scalar[float64](b, pool, `
			SELECT COALESCE(sum(calls), 0)::float8 FROM pg_stat_statements
			WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
				AND query LIKE '%cairn.sessions%'`),
		wal: scalar[float64](b, pool, `SELECT wal_bytes::float8 FROM pg_stat_wal`),
		written: scalar[int64](b, pool, `
			SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint FROM pg_stat_user_tables`),
	}
}

// fromEnv reads a number from a variable, so that a trial run can be short.
func fromEnv(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
		return n
	}
	return otherwise
}
