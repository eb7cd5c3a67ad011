// Package testkit is what tests of several packages share. No program imports it.
//
//	testkit.go   waiting, and how often races are run
//	browser.go   a client that follows a person's way through the pages
//	database.go  statements and questions to a database
//	journal.go   what a server logs
//	place.go     ports and directories
//	process/     servers in processes of their own; apart, because it imports what the server consists of
//
// A test waits for a condition, never for a time, and what it waits for comes at once unless
// something is broken: so Patience matters only then, and a busy machine turns nothing red. How
// often a race is run is read here alone.
package testkit

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Patience is how long a test waits for what has to happen. Time limits of what is tested may be
// set to it too, where a test is not about them.
const Patience = 10 * time.Minute

// Eventually waits until something holds, which is told as in "the server is ready". It may end the
// test, so it is called on the test's own goroutine; Within is for others.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !Within(Patience, holds) {
		t.Fatalf("not so after %v: %s", Patience, what)
	}
}

// Within tells whether something came to hold within a time.
func Within(limit time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Long leaves a test out of go test -short: it takes many seconds of the machine, and a shorter one would find most of
// what it finds.
func Long(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("left out by -short")
	}
}

// AtRandom lets a moment pass, of any length up to most, so that what comes next meets what is
// under way at no certain point. Nothing is waited for.
func AtRandom(most time.Duration) {
	if most > 0 {
		time.Sleep(rand.N(most))
	}
}

// Rounds is how often a test repeats a race: 10 times, twice with -short, or as RACE_ROUNDS says (make race-test).
func Rounds(t testing.TB) int {
	t.Helper()
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
