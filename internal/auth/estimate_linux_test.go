package auth

import (
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The estimate of the worst password costs less than the hash that follows it. zxcvbn's own matcher
// of l33t spelling took ten times as long as a hash. On a busy machine the hash only takes longer, and the estimate,
// whose CPU time is measured, does not.
func TestEstimateIsBounded(t *testing.T) {
	t.Parallel()
	const odd = "4@8({[<369&#!1|70$5+%2/?)"
	passwords := []string{
		strings.Repeat(odd, 10),
		strings.Repeat("1|7", 80),
		strings.Repeat("ö1", 120),
		strings.Repeat("1.1.19", 40),
	}
	for range 10 {
		shuffled := []byte(strings.Repeat(odd, 2)[:estimatedLength])
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		passwords = append(passwords, string(shuffled))
	}
	h := newHasher(Cost{})
	began := time.Now()
	_, _ = h.make(t.Context(), "granite lichen and slow rain")
	hash := time.Since(began)
	for _, password := range passwords {
		estimate := cpuTime(t, func() {
			guessable(password, "Garmin Connect", "Foursquare", "Swarm", "Strava", "Ada", "ada@example.org")
		})
		if estimate > hash {
			t.Errorf("%q takes %v, a hash %v", password, estimate, hash)
		}
	}
}

// cpuTime is the CPU time of work, which stays on one thread.
func cpuTime(t *testing.T, work func()) time.Duration {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	used := func() time.Duration {
		var usage unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_THREAD, &usage); err != nil {
			t.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	work()
	return used() - before
}
