package auth

import (
	"strings"
	"testing"
)

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
