package routes_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"cairn/internal/auth"
	"cairn/internal/testkit"
)

// usualCost is that of production.
var usualCost = auth.Cost{Memory: 19 << 10, Passes: 2}

// timedTries is how often each of both is tried.
const timedTries = 200

// BenchmarkKnownAgainstUnknown compares how long forms take for an address with an account and for one without. A
// stranger who could tell them apart would know who has an account. A p below 0.01 in several runs says that they can.
func BenchmarkKnownAgainstUnknown(b *testing.B) {
	server := testkit.NewMailServer(b)
	limits := untiring()
	for _, l := range []*auth.Limit{&limits.SignInPair, &limits.SignInNetwork, &limits.SignInAccount,
		&limits.NewEmailNetwork, &limits.MailNetwork} {
		l.Max = 1 << 20
	}
	s := newSiteWith(b, options{mail: server, limits: limits, cost: usualCost}) // without jobs, which would disturb
	signedUp(b, newSiteWith(b, options{pool: s.pool, cost: usualCost}), "known@example.org")
	for _, form := range []struct {
		name, path string
		fields     []string
	}{
		{"sign-in", "/login", []string{"password", "wrong wrong wrong"}},
		{"sign-up", "/signup", []string{"password", newPassword}},
		{"reset", "/forgot", nil},
	} {
		b.Run(form.name, func(b *testing.B) {
			for range b.N {
				// In random order, so that whatever else happens, like a garbage collection, befalls both. Each has
				// one address, because a new one also begins new counts of limits.
				var known, unknown []time.Duration
				for _, i := range rand.Perm(2 * timedTries) {
					if i%2 == 0 {
						took := s.timed(b, form.path, append(form.fields, "email", "known@example.org"))
						known = append(known, took)
						continue
					}
					took := s.timed(b, form.path, append(form.fields, "email", "other@example.org"))
					unknown = append(unknown, took)
				}
				b.ReportMetric(median(known), "known-ms")
				b.ReportMetric(median(unknown), "unknown-ms")
				b.ReportMetric(rankTest(known, unknown), "p")
			}
		})
	}
}

func (s site) timed(b *testing.B, path string, fields []string) time.Duration {
	b.Helper()
	visitor := newBrowser(b, s)
	begun := time.Now()
	visitor.post(path, fields...)
	return time.Since(begun)
}

func median(times []time.Duration) float64 {
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[len(sorted)/2]) / float64(time.Millisecond)
}

// rankTest returns the two-sided p of Mann and Whitney's test, by its normal approximation, which is good from 20 on.
func rankTest(a, b []time.Duration) float64 {
	smaller := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case x < y:
				smaller++
			case x == y:
				smaller += 0.5
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	z := (smaller - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
	return math.Erfc(math.Abs(z) / math.Sqrt2)
}
