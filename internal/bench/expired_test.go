package bench

import (
	"os"
	"slices"
	"testing"
	"time"
)

// BenchmarkExpired measures requests while three servers delete a million expired sessions.
func BenchmarkExpired(b *testing.B) {
	const expired = 1_000_000
	m := newMachine(b)
	address := m.ours("expired")
	fill(b, address, expired, "30 days")
	pool := connect(b, address)
	requests := signedIn("/api/auth/me", cookies)
	fleet := []process{m.startOurs(address), m.startOurs(address), m.startOurs(address)}
	out := figures{os.Stdout}
	before := run(b, load{fleet[0].address, 16, 5 * time.Second, requests})

	execute(b, address, `UPDATE cairn.sessions SET expiry = now() - interval '1 hour' WHERE user_id > $1`, cookies)
	left := func() int64 {
		return scalar[int64](b, pool, `SELECT count(*) FROM cairn.sessions WHERE expiry < now()`)
	}
	size := func() float64 {
		return scalar[float64](b, pool, `SELECT pg_total_relation_size('cairn.sessions') / 1048576.0::float8`)
	}
	began, largest := time.Now(), size()
	var during []time.Duration
	for left() > 0 {
		o := run(b, load{fleet[0].address, 16, 5 * time.Second, requests})
		during = append(during, o.percentile(0.99))
		largest = max(largest, size())
		if time.Since(began) > 30*time.Minute {
			b.Fatalf("%d expired rows are left after half an hour", left())
		}
	}
	deadlocks := scalar[int64](b, pool, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`)
	out.line("\n%d expired rows deleted in %v; deadlocks: %d; table with indexes %.0f MiB at most", expired-cookies,
		time.Since(began).Round(time.Second), deadlocks, largest)
	slices.Sort(during)
	out.line("requests at 16 connections: p99 %v before; meanwhile the p99 of 5 s was %v in the median and %v at worst",
		before.percentile(0.99), during[len(during)/2], during[len(during)-1])
}
