// Package testkit has what the tests of several packages share. No program imports it.
//
//	testkit.go       waiting, and how often races are run
//	browser.go       a client that goes through the pages like a person
//	certificate.go   a certificate that only the test trusts
//	database.go      statements, queries and locks in a database
//	doctor.go        checks of the doctor's output
//	express.go       a server with the sessions of the Node server
//	figures.go       rows of figures for docs/performance.md
//	journal.go       a server's log
//	mail.go          a mail server; mail_message.go is what it gets, and mail_line.go lets it hang
//	memory_*.go      a temporary directory in memory, which only Linux has
//	place.go         ports and directories
//	secrets.go       secrets for servers
//	process/         servers in processes of their own; a package of its own, because it imports the server's parts
//
// A test waits for a condition, never for a time. The condition comes soon unless something is broken, so Patience only
// matters then, and no test fails because a machine is busy.
package testkit

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Patience is how long a test waits for what has to happen. Tests that are not about time limits set them to it, too.
const Patience = 10 * time.Minute

// Eventually waits until a condition holds. what describes it, like "the server is ready". It may end the test, so call
// it on the test's own goroutine, and Within on others.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !Within(Patience, holds) {
		t.Fatalf("not so after %v: %s", Patience, what)
	}
}

// Within reports whether a condition came true within a time. Asking costs time itself, so it asks less and less often:
// pauses are a twentieth of the time so far, and so is the error of what is measured with it.
func Within(limit time.Duration, holds func() bool) bool {
	pause := 5 * time.Millisecond
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			return false
		}
		pause = min(pause*21/20, 100*time.Millisecond)
	}
	return true
}

// Long leaves a test out of go test -short. Such a test takes many seconds, and shorter ones find most bugs too.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short")
	}
}

// AtRandom pauses for a random time of at most most, so that what comes next happens at a random point of what is under
// way. It waits for nothing.
func AtRandom(most time.Duration) {
	if most > 0 {
		time.Sleep(rand.N(most))
	}
}

// Rounds is how often a test repeats a race: 10 times, twice with -short, or as RACE_ROUNDS says (make race-test). The
// test's name has to begin with TestRace: make test runs those with the race detector. A test that forces the order in
// which things overlap, by a lock or a server that waits, has such a name too, but needs only one round.
func Rounds(t testing.TB) int {
	t.Helper()
	if !strings.HasPrefix(t.Name(), "TestRace") {
		t.Fatal("a test of a race has a name that begins with TestRace")
	}
	value := os.Getenv("RACE_ROUNDS")
	switch {
	case value != "":
	case testing.Short():
		return 2
	default:
		return 10
	}
	rounds, err := strconv.Atoi(value)
	if err != nil || rounds < 1 {
		t.Fatal("RACE_ROUNDS is not a number of rounds")
	}
	return rounds
}
