package routes_test

import (
	"net/http"
	"strings"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// forgetSyncs empties the queue of the syncs that connecting has enqueued.
func forgetSyncs(t *testing.T, s site) {
	t.Helper()
	for _, sql := range []string{
		`DELETE FROM cairn.sync_requests`,
		`DELETE FROM cairn.river_job WHERE kind IN ('revisit', 'picture')`,
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitSyncs waits until the enqueued syncs are done.
func awaitSyncs(t *testing.T, s site) {
	t.Helper()
	testkit.Eventually(t, "all syncs are done", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.river_job WHERE kind = 'revisit' AND state <> 'completed'`) == 0
	})
}

// retryNow makes every job due for its next try.
func retryNow(t *testing.T, s site) {
	t.Helper()
	_, err := s.pool.Exec(t.Context(), `
		UPDATE cairn.river_job SET state = 'available', scheduled_at = now()
		WHERE state IN ('retryable', 'scheduled')`)
	if err != nil {
		t.Fatal(err)
	}
}

func grantsOf(t *testing.T, s site, provider string) int {
	t.Helper()
	grants, err := s.sandbox.Grants(t.Context(), provider)
	if err != nil {
		t.Fatal(err)
	}
	return len(grants)
}

// A sync whose job was lost is enqueued again by a reconcile, because its request is overdue.
func TestSyncWhoseJobWasLostIsListed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	for _, sql := range []string{
		`DELETE FROM cairn.river_job WHERE kind = 'revisit'`,
		`INSERT INTO cairn.latest (identity_id, tried_at) SELECT identity_id, now() FROM cairn.connections`,
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for age, want := range map[string]int{"1 minute": 0, "11 minutes": 1} {
		_, err := s.pool.Exec(t.Context(), `UPDATE cairn.sync_requests SET requested_at = now() - $1::interval`, age)
		if err != nil {
			t.Fatal(err)
		}
		now, _, err := s.entries.Reconcile(t.Context())
		if err != nil || len(now) != want {
			t.Errorf("a request of %s ago: %d jobs are listed (error %v), want %d", age, len(now), err, want)
		}
	}
}

// If a provider is down while a person disconnects, our access is revoked when it is back, and the card says so.
func TestRevocationOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{works: true})
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	set := func(mode string) {
		t.Helper()
		if err := s.sandbox.SetSwitch(t.Context(), sandbox.Garmin, sandbox.API, mode); err != nil {
			t.Fatal(err)
		}
	}
	set("500")
	b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
	testkit.Eventually(t, "it was tried once", func() bool {
		return count(t, s, `
			SELECT count(*) FROM cairn.river_job
			WHERE kind = 'withdraw' AND attempt >= 1 AND state = 'retryable'`) == 1
	})
	b.get("/connections").want(200, "#card-garmin[data-state=revoking]", "until it confirms")
	set(sandbox.ModeNone)
	testkit.Eventually(t, "Garmin has revoked our access", func() bool {
		retryNow(t, s)
		return grantsOf(t, s, sandbox.Garmin) == 0
	})
	testkit.Eventually(t, "no revocation is left", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.withdrawals`) == 0
	})
	b.get("/connections").
		want(200, "#card-garmin[data-state=none] .events", "confirmed that Cairn’s access is removed")
}

// Finished jobs are deleted when a person disconnects, because they name the account at the
// provider.
func TestFinishedJobsAreForgotten(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, state := range []string{"completed", "cancelled", "discarded"} {
		if _, err := s.pool.Exec(t.Context(), `
			INSERT INTO cairn.river_job (kind, queue, args, max_attempts, state, created_at, scheduled_at, finalized_at)
			VALUES ('revisit', 'strava', '{"provider": "strava", "subject": "5000000101"}', 8,
			        $1::text::cairn.river_job_state, now() - interval '25 hours', now() - interval '25 hours',
			        now() - CASE WHEN $1::text = 'completed' THEN interval '2 minutes' ELSE interval '25 hours' END)`,
			state); err != nil {
			t.Fatal(err)
		}
	}
	newSiteWith(t, options{pool: s.pool, works: true})
	testkit.Eventually(t, "the account is named nowhere", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.river_job WHERE args ? 'subject'`) == 0
	})
}

// A revocation whose job was lost is found again.
func TestLostJobIsFound(t *testing.T) {
	t.Parallel()
	idle := newSite(t)
	b := signedUp(t, idle, "ada@example.org")
	b.connect("strava", "ada").to("/")
	forgetSyncs(t, idle)
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	if n := count(t, idle, `WITH gone AS (DELETE FROM cairn.river_job RETURNING 1) SELECT count(*) FROM gone`); n != 1 {
		t.Fatalf("%d jobs were enqueued, want 1", n)
	}
	newSiteWith(t, options{pool: idle.pool, works: true})
	testkit.Eventually(t, "no revocation is left", func() bool {
		return count(t, idle, `SELECT count(*) FROM cairn.withdrawals`) == 0
	})
	if n := grantsOf(t, idle, sandbox.Strava); n != 0 {
		t.Errorf("Strava still has %d grants", n)
	}
	queued := count(t, idle, `SELECT count(*) FROM cairn.river_job WHERE kind = 'withdraw' AND queue = 'strava'`)
	if queued != 1 {
		t.Errorf("%d revocations in the queue that Strava has for itself, want 1", queued)
	}
}

// After a week of tries the tokens are deleted all the same, and the card says that the provider did not confirm.
func TestGivingUpIsShown(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Garmin, sandbox.API, "500"); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
	if _, err := s.pool.Exec(t.Context(), `UPDATE cairn.river_job SET attempt = max_attempts - 1`); err != nil {
		t.Fatal(err)
	}
	newSiteWith(t, options{pool: s.pool, works: true})
	testkit.Eventually(t, "the tokens are gone", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.withdrawals`) == 0
	})
	b.get("/connections").want(200, "#card-garmin[data-state=none] .events", "didn’t confirm")
}

// Unused tokens are refreshed before they expire.
func TestIdleConnectionIsKeptAlive(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	_, err := s.pool.Exec(t.Context(), `
		UPDATE cairn.connections SET tokens_at = now() - interval '31 days', generation = 1`)
	if err != nil {
		t.Fatal(err)
	}
	newSiteWith(t, options{pool: s.pool, works: true})
	testkit.Eventually(t, "a job is enqueued", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.river_job WHERE kind = 'keep_alive'`) == 1
	})
	retryNow(t, s)
	testkit.Eventually(t, "the tokens are fresh", func() bool {
		return count(t, s, `
			SELECT count(*) FROM cairn.connections
			WHERE tokens_at > now() - interval '1 hour' AND generation = 2`) == 1
	})
}

// A person who signs in with a provider during a revocation may lose the new connection. The card says
// so, although only we have noticed.
func TestRevocationThatComesTooLate(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			came, goOn := make(chan struct{}), make(chan struct{})
			s := newSiteWith(t, options{works: true, heard: func(sandbox http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodDelete || strings.HasSuffix(r.URL.Path, "/deauthorize") {
						close(came)
						<-goOn
					}
					sandbox.ServeHTTP(w, r)
				})
			}})
			// The simulated Strava forgets old refresh tokens, so that only its old address ends a new
			// connection.
			err := s.sandbox.SetSwitch(t.Context(), sandbox.Strava, sandbox.RevokeEndpoint, sandbox.Off)
			if err != nil {
				t.Fatal(err)
			}
			b := newBrowser(t, s)
			signIn := func() { b.get(b.decide(b.consent("/login/"+provider), "ada", "allow")).to("/") }
			signIn()
			b.post("/connections/" + provider + "/disconnect").to("/connections#card-" + provider)
			<-came
			signIn()
			testkit.Eventually(t, "what connecting asked for is done", func() bool {
				return count(t, s, `
					SELECT count(*) FROM cairn.river_job
					WHERE kind = 'revisit' AND state NOT IN ('completed', 'scheduled')`) == 0
			})
			close(goOn)
			testkit.Eventually(t, "the provider has ended it", func() bool { return grantsOf(t, s, provider) == 0 })
			b.get("/connections").want(200, "#card-"+provider+"[data-state=active]", "")
			testkit.Eventually(t, "it is looked at", func() bool {
				retryNow(t, s)
				return b.get("/connections").Find("#card-"+provider+"[data-state=needs_reconnect]").Length() == 1
			})
		})
	}
}
