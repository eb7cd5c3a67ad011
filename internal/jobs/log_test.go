package jobs

import (
	"bytes"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// While the database is unreachable for an hour, river logs sixty lines, not thousands.
func TestRiverRepeatsItselfOnceAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(newWarnings(slog.NewTextHandler(&out, nil)))
		for range 3600 {
			log.Info("fetched nothing")
			log.Error("can't fetch jobs", "queue", "strava")
			log.With("queue", "garmin").Error("can't fetch jobs")
			log.Error("can't notify", "queue", "strava", "err", "context canceled")
			time.Sleep(time.Second)
		}
		log.Warn("something else")
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != 61 {
			t.Errorf("%d lines, want 61", n)
		}
	})
}
