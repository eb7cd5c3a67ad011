package activity_test

import (
	"log/slog"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/activity"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// A database that fails is not a connection without entries.
func TestDatabaseErrorsStayDatabaseErrors(t *testing.T) {
	t.Parallel()
	pool, providers := dbtest.Closed(t), oauth.Registry{strava.New(oauth.App{})}
	queue, err := jobs.NewQueue(t.Context(), jobs.Options{
		Pool: dbtest.New(t), Log: slog.New(slog.DiscardHandler), Queues: providers.Keys(),
	})
	if err != nil {
		t.Fatal(err)
	}
	connections := connection.New(connection.Deps{
		Pool: pool, Providers: providers, Client: oauth.NewClient(pool, oauth.Options{}),
	})
	entries := activity.New(activity.Deps{
		Pool: pool, Providers: providers, Connections: connections, Syncs: activity.NewSyncQueue(pool, queue),
	})
	dbtest.WantErrors(t, entries, []any{providers[0], "strava"})
}
