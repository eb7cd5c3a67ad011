package main

import (
	"net/http"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// called is a server in this process whose simulated providers the test can inspect and change.
type called struct {
	t       *testing.T
	url     string
	pool    *pgxpool.Pool
	sandbox *sandbox.Sandbox
	env     []string
}

func newCalled(t *testing.T, env ...string) called {
	t.Helper()
	database, port := dbtest.NewPatientURL(t), testkit.FreePort(t)
	pool, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := called{t: t, url: "http://localhost:" + port, pool: pool} // the providers are at 127.0.0.1, another site
	simulated, registrations := process.Simulate(t, pool, c.url, func(h http.Handler) http.Handler { return h })
	c.sandbox = simulated
	c.env = slices.Concat(env, registrations, []string{
		"PORT=" + port, "PUBLIC_URL=" + c.url, "DATABASE_URL=" + database, "DATA_DIR=" + testkit.DataDir(t),
	})
	start(t, c.env...)
	return c
}
