package routes_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
)

// behind is a database whose clock is two days behind ours: its now() comes before PostgreSQL's.
func behind(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool := dbtest.New(t)
	exec(t, site{pool: pool}, `CREATE SCHEMA behind`)
	exec(t, site{pool: pool}, `CREATE FUNCTION behind.now() RETURNS timestamptz STABLE LANGUAGE sql
		AS $$ SELECT pg_catalog.now() - interval '2 days' $$`)
	c := pool.Config()
	c.ConnConfig.RuntimeParams["search_path"] = "behind, pg_catalog, cairn"
	late, err := pgxpool.NewWithConfig(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(late.Close)
	return late
}

// The front end's private links and jobs end by the database's clock, whatever the server's says.
func TestFrontendHasTheDatabasesClock(t *testing.T) {
	t.Parallel()
	s := fronted(t, func(o *options) { o.pool, o.node.LinksUntil = behind(t), time.Now().Add(-time.Hour) })
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	a := b.get(b.decide(b.toFoursquare(t), "ada", "allow"))
	if location := a.header.Get("Location"); !strings.HasPrefix(location, frontAt+"/import?token=") {
		t.Errorf("signing in leads to %q, though links work by the database's clock", location)
	}
	b.fromFrontend(token, "strava", "ada").to(frontAt + "/data-sources?strava=connected")
	job := b.withToken(http.MethodPost, "/api/strava/sync", token).want(200, "", "")
	path := fmt.Sprintf("/api/strava/sync/status/%.0f", job.field("jobId"))
	if a := b.withToken(http.MethodGet, path, token); a.status != 200 {
		t.Errorf("the new job is %d %s", a.status, a.body)
	}
}
