package metrics

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cairn/db/dbtest"
	"cairn/internal/session"
)

// The database is queried once in countsAge, however many scrapes there are.
func TestCountsAreKeptForAWhile(t *testing.T) {
	t.Parallel()
	reads, failure := 0, error(nil)
	one := count{prometheus.NewDesc("n", "", nil, nil), func(_ context.Context, observe func(int, ...string)) error {
		reads++
		observe(reads)
		return failure
	}}
	s := &stored{timeout: time.Minute, up: prometheus.NewDesc("up", "", nil, nil), counts: []count{one}}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	scrape := func() (values []float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, family := range families {
			values = append(values, family.Metric[0].GetGauge().GetValue())
		}
		return values
	}
	for range 3 {
		if got := scrape(); len(got) != 2 || got[0] != 1 || got[1] != 1 {
			t.Errorf("got %v, want up = 1 and the count 1", got)
		}
	}
	s.readAt, failure = time.Now().Add(-countsAge), errors.New("no")
	if got := scrape(); len(got) != 1 || got[0] != 0 {
		t.Errorf("got %v, want up = 0 and no count", got)
	}
	scrape()
	if reads != 2 {
		t.Errorf("read %d times, want 2: a failure is kept for countsAge, too", reads)
	}
}

// States are counted under their names, not under the words that the database keeps.
func TestConnectionsAreCountedByState(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	_, err := pool.Exec(t.Context(), `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id),
		     i AS (INSERT INTO cairn.identities (user_id, provider, subject)
		           SELECT id, provider, '1' FROM u, (VALUES ('strava'), ('garmin'), ('foursquare')) AS p (provider)
		           RETURNING id, user_id, provider)
		INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens, state)
		SELECT id, user_id, provider, '\x01',
		       CASE provider WHEN 'strava' THEN 'paused' WHEN 'garmin' THEN 'trouble' ELSE 'active' END FROM i`)
	if err != nil {
		t.Fatal(err)
	}
	text := scrape(t, pool)
	for _, line := range []string{
		`cairn_connections{provider="strava",state="suspended"} 1`,
		`cairn_connections{provider="garmin",state="degraded"} 1`,
		`cairn_connections{provider="foursquare",state="active"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("%q is missing in:\n%s", line, text)
		}
	}
}

// Without a database, only the metrics from the database are missing.
func TestScrapeWithoutDatabase(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	m := New(pool, time.Minute)
	m.Count(session.New(session.Options{Pool: pool}), pool)
	m.SignIn("password", "ok")
	pool.Close()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	text := answer.Body.String()
	for _, line := range []string{
		"cairn_database_up 0\n",
		"cairn_sign_ins_total{method=\"password\",result=\"ok\"} 1\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("%q is missing in:\n%s", line, text)
		}
	}
	if answer.Code != 200 || strings.Contains(text, "\ncairn_sessions") {
		t.Errorf("answered %d:\n%s", answer.Code, text)
	}
}
