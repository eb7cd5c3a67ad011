package auth

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// The estimate of the worst password costs less than the hash that follows it. zxcvbn's own matcher
// of l33t spelling took ten times as long as a hash.
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
	hash := atBest(func() { _, _ = h.make(t.Context(), "granite lichen and slow rain") })
	for _, password := range passwords {
		estimate := atBest(func() {
			guessable(password, "Garmin Connect", "Foursquare", "Swarm", "Strava", "Ada", "ada@example.org")
		})
		if estimate > hash {
			t.Errorf("%q takes %v, a hash %v", password, estimate, hash)
		}
	}
}

// atBest is how long work takes when nothing else gets in its way.
func atBest(work func()) time.Duration {
	least := time.Hour
	for range 5 {
		began := time.Now()
		work()
		least = min(least, time.Since(began))
	}
	return least
}

func TestGuessable(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]bool{
		"password1234": true, "qwertyuiop12": true, "strava2026garmin": true, strings.Repeat("a", 40): true,
		"p@ssw0rd1234": true, "P4$$w0rd2019": true, "|etme1nplea5e": true, "7r0ub4d0r&3.": false,
		"$7r4v4g4rm1n": true, "c41rnc41rnc41rn": true, "1!|70$5+@4831": false,
		"adalove1ace!": true, "@d@|0ve|@ce!": true, "1|verp00l2019": true,
		"granite lichen and slow rain": false, "Tr0ub4dor&3 and more": false, "öde Täler, öde Täler": false,
	} {
		got := guessable(password, "Garmin Connect", "Strava", "Ada Lovelace", "adalovelace@example.org")
		if got != want {
			t.Errorf("%q: guessable %t, want %t", password, got, want)
		}
	}
}
