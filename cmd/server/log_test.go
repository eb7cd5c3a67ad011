package main

import (
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cairn/internal/config"
)

func TestLogGathersLinesForAMoment(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		var mu sync.Mutex
		log, flush := newLogger(writerFunc(func(p []byte) (int, error) {
			mu.Lock()
			defer mu.Unlock()
			return out.Write(p)
		}), slog.LevelInfo)
		want := func(lines ...string) {
			t.Helper()
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Count(out.String(), "\n"); got != len(lines) {
				t.Errorf("%d lines were written, want %d:\n%s", got, len(lines), out.String())
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
		log.With("id", "x").Warn("four") // which flushes "three", too
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

// The names of durations in the log say their unit, and lines below LOG_LEVEL are left out.
func TestLogNamesUnitsAndLevels(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		level string
		lines int
	}{{"", 3}, {"debug", 4}, {"INFO", 3}, {"warn", 2}, {"error", 1}} {
		c, err := config.Load(func(name string) string { return map[string]string{"LOG_LEVEL": tt.level}[name] })
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		log, flush := newLogger(&out, c.LogLevel)
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.With("id", "x", "limit", time.Second).
				Log(t.Context(), level, "line", "duration", 1234567*time.Nanosecond, "n", 5)
		}
		flush()
		if n := strings.Count(out.String(), "\n"); n != tt.lines {
			t.Errorf("LOG_LEVEL %q: %d lines, want %d:\n%s", tt.level, n, tt.lines, out.String())
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(out.String()[:strings.Index(out.String(), "\n")]), &line); err != nil {
			t.Fatal(err)
		}
		if line["duration_ms"] != 1.234 || line["duration"] != nil || line["limit_ms"] != 1000.0 || line["n"] != 5.0 {
			t.Errorf("the line is %v", line)
		}
	}
	_, err := config.Load(func(name string) string { return map[string]string{"LOG_LEVEL": "loud"}[name] })
	if err == nil || !strings.Contains(err.Error(), "LOG_LEVEL is none of") {
		t.Errorf("error %v", err)
	}
}
