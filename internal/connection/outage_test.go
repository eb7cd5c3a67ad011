package connection_test

import (
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
)

// A database that fails is not a connection that is gone.
func TestDatabaseErrorsStayDatabaseErrors(t *testing.T) {
	t.Parallel()
	pool, providers := dbtest.Closed(t), oauth.Registry{strava.New(oauth.App{})}
	store := connection.New(connection.Deps{
		Pool: pool, Sealer: newSealer(t, 1), Providers: providers, Client: oauth.NewClient(pool, oauth.Options{}),
	})
	dbtest.WantErrors(t, store, []any{providers[0]})
}
