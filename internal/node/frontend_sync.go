package node

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
)

// sync enqueues a fetch of the newest activities. The job's id is the time in milliseconds, by the database's clock,
// which is that of fetches.
func (f frontend) sync(w http.ResponseWriter, r *http.Request) error {
	return f.as(w, r, func(userID int64) error {
		if f.site.Provider(strava) == nil {
			return errUnknown
		}
		c, connected, err := f.connectionOf(r.Context(), userID, strava)
		if err != nil {
			return err
		}
		if !connected {
			return answerError{status: http.StatusBadRequest, message: "Strava not connected"}
		}
		if err := f.site.AllowCall(r, userID, strava); err != nil {
			return err
		}
		var asked time.Time
		if err := f.pool.QueryRow(r.Context(), `SELECT now()`).Scan(&asked); err != nil {
			return fmt.Errorf("node: ask for the time: %w", err)
		}
		if err := f.activity.EnqueueSyncNow(r.Context(), strava, c.Subject, activity.Fetch); err != nil {
			return err
		}
		return f.site.JSON(w, http.StatusOK, map[string]any{"jobId": asked.UnixMilli(), "status": "queued"})
	})
}

// syncStatus says how far a fetch is. It is done when entries are newer than the job, and has failed when it is over
// without that.
func (f frontend) syncStatus(w http.ResponseWriter, r *http.Request) error {
	return f.as(w, r, func(userID int64) error {
		job, err := strconv.ParseInt(chi.URLParam(r, "job"), 10, 64)
		if err != nil {
			return errUnknown
		}
		asked := time.UnixMilli(job)
		kept, err := f.activity.Of(r.Context(), userID)
		if err != nil {
			return err
		}
		latest, connected := kept[strava]
		if !connected || latest.ReadAt.Sub(asked).Abs() > jobLife {
			return errUnknown
		}
		answer := map[string]any{
			"jobId": job, "dataSource": strava, "totalExpected": nil, "totalImported": 0, "currentBatch": 0,
			"errorMessage": nil, "startedAt": stamp(asked), "completedAt": nil, "status": "running",
		}
		switch {
		case latest.Fetching:
		case latest.AsOf.Before(asked):
			answer["status"], answer["errorMessage"] = "failed", "Strava did not answer. Please try again later."
		default:
			answer["status"], answer["completedAt"] = "completed", stamp(latest.AsOf)
			answer["totalImported"], answer["totalExpected"] = len(latest.Entries), len(latest.Entries)
		}
		return f.site.JSON(w, http.StatusOK, answer)
	})
}

// jobLife is how long a job is known.
const jobLife = 24 * time.Hour
