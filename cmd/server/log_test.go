package main

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLogGathersLinesForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var mu sync.Mutex
		log, flush := newLogger(writerFunc(func(p []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return out.Write(p) }))
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Count(out.String(), "\n"); got != len(lines) {
				t.Errorf("%d lines are written, want %d:\n%s", got, len(lines), out.String())
			}
			for _, line := range lines {
				if !strings.Contains(out.String(), `"msg":"`+line+`"`) {
					t.Errorf("%q is missing in\n%s", line, out.String())
				}
			}
		}
		log.Info("one")
		log.With("id", "x").WithGroup("g").Info("two")
		want()
		time.Sleep(gatherFor)
		want("one", "two")
		log.Info("three")
		log.With("id", "x").Warn("four") // not without what came before it
		want("one", "two", "three", "four")
		log.Info("five")
		flush()
		want("one", "two", "three", "four", "five")
		long := strings.Repeat("x", gatherMax)
		log.Info(long)
		want("one", "two", "three", "four", "five", long)
		time.Sleep(time.Second)
		want("one", "two", "three", "four", "five", long)
	})
}
