package routes

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A repeated failure is logged at once, and then once a minute with the count, until a minute passes without it.
func TestRepeatedFailuresAreCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		r := &repeated{
			log:     slog.New(slog.NewTextHandler(&out, nil)),
			level:   slog.LevelError,
			message: "it failed",
			every:   time.Minute,
		}
		lines := func() (counts []string) {
			synctest.Wait()
			r.mu.Lock() // lines are written under it
			defer r.mu.Unlock()
			for line := range strings.Lines(out.String()) {
				_, rest, _ := strings.Cut(line, `level=ERROR msg="it failed" `)
				counts = append(counts, strings.TrimSpace(rest))
			}
			out.Reset()
			return counts
		}
		want := func(counts ...string) {
			t.Helper()
			if got := lines(); !slices.Equal(got, counts) {
				t.Errorf("logged %q, want %q", got, counts)
			}
		}
		fail := func(why string) { r.note(slog.Any("error", errors.New(why))) }
		fail("a")
		want("times=1 error=a")
		fail("b")
		fail("c")
		time.Sleep(59 * time.Second)
		want()
		time.Sleep(2 * time.Second)
		want("times=2 error=c")
		fail("d")
		time.Sleep(time.Minute)
		want("times=1 error=d")
		time.Sleep(time.Minute)
		want()
		fail("e") // the next outage is logged at once
		want("times=1 error=e")
		time.Sleep(2 * time.Minute)
		want()
	})
}
