package main

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/instance"
	"cairn/internal/node"
	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

func productionEnv(t *testing.T) []string {
	t.Helper()
	return []string{"APP_ENV=production", "PORT=" + testkit.FreePort(t), "PUBLIC_URL=https://cairn.example.org",
		"DATABASE_URL=" + dbtest.NewPatientURL(t), "SESSION_SECRET=" + testkit.Secret, "ENCRYPTION_KEY=" + testkit.Key1,
		"TRUSTED_PROXIES=none", "DATA_DIR=/nowhere"}
}

// local returns the address at which a server listens, whatever its public URL is.
func (s *serving) local() string { return "http://127.0.0.1:" + s.port }

// Production has no sandbox, even if no provider has keys.
func TestProductionWithoutKeys(t *testing.T) {
	t.Parallel()
	env := productionEnv(t)
	at := start(t, env...).local()
	b := testkit.NewBrowser(t)
	for _, path := range []string{"/sandbox", "/sandbox/", "/sandbox/strava/oauth/authorize"} {
		if status, _ := b.Send(http.MethodGet, at+path, nil); status != http.StatusNotFound {
			t.Errorf("%s answers %d, want 404", path, status)
		}
	}
	_, page := b.Send(http.MethodGet, at+"/login", nil)
	if page.Find("form[action^='/login/']:not([action='/login/passkey']), #sandbox").Length() != 0 {
		t.Errorf("the sign-in page offers providers without keys: %s", page.Find("main").Text())
	}
}

// Pages and routes offer only providers with keys.
func TestProduction(t *testing.T) {
	t.Parallel()
	env := append(productionEnv(t), "STRAVA_CLIENT_ID=1", "STRAVA_CLIENT_SECRET=hunter2hunter2")
	server := start(t, env...)
	at := server.local()
	b := testkit.NewBrowser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{"/sandbox", "/sandbox/", "/sandbox/strava/oauth/authorize", "/api/garmin/callback"} {
		if status, _ := b.Send(http.MethodGet, at+path, nil); status != http.StatusNotFound {
			t.Errorf("%s answers %d, want 404", path, status)
		}
	}
	status, page := b.Send(http.MethodGet, at+"/login", nil)
	forms := page.Find("form[action^='/login/']:not([action='/login/passkey'])")
	if status != http.StatusOK || page.Find("form[action='/login/strava']").Length() != 1 ||
		forms.Length() != 1 || page.Find("#sandbox").Length() != 0 {
		t.Errorf("the sign-in page has other providers than those with keys, or a sandbox: %s",
			page.Find("main").Text())
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at+"/login/strava", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := b.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	location := resp.Header.Get("Location")
	if !strings.HasPrefix(location, "https://www.strava.com/oauth/authorize?") ||
		strings.Contains(location, "hunter2") {
		t.Errorf("sent to %q", location)
	}
	csp := resp.Header.Get("Content-Security-Policy")
	if !strings.Contains(csp, "form-action 'self' https://www.strava.com") {
		t.Errorf("CSP is %q", csp)
	}

	testkit.WantNoSecrets(t, server.logged())
}

func TestHealthCommand(t *testing.T) {
	t.Parallel()
	env := productionEnv(t)
	wantFailure(t, env, "health")
	start(t, env...)
	commandOutput(t, env, "health")
}

// Requests and headers that never end are cut off.
func TestServerLimits(t *testing.T) {
	t.Parallel()
	hasty := patient()
	hasty.RequestHeader = 500 * time.Millisecond
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t), limited(hasty))
	address := strings.TrimPrefix(server.url, "http://")
	send := func(text string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		_, err = io.WriteString(conn, text)
		return conn, err
	}
	endless, err := send("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("a", 64<<10) + "\r\n\r\n")
	if answer := make([]byte, 12); err == nil {
		if _, err = io.ReadFull(endless, answer); err == nil && string(answer) != "HTTP/1.1 431" {
			t.Errorf("64 KiB of header got %q", answer)
		}
	}
	slow, err := send("GET / HTTP/1.1\r\nHost: x\r\n")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, slow); ended <- err }()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Error("the server waits for a header that never ends")
	}
}

// Upkeep deletes expired rows in as many batches as it takes.
func TestUpkeepSweepsEverything(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	for _, sql := range []string{
		`INSERT INTO cairn.users (display_name) VALUES ('Ada')`,
		`INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		 SELECT n, '{}', now() - interval '1 s', 1, 'password' FROM generate_series(1, 1200) n`,
		`INSERT INTO cairn.messages (key, recipient, kind, created_at)
		 VALUES ('key', 'ada@example.org', 'reset', now() - interval '4 days')`,
		`INSERT INTO cairn.rate_limits SELECT n, 1, now() - interval '1 s' FROM generate_series(1, 1200) n`,
		`INSERT INTO cairn.links (purpose, email, email_key, nonce, expires_at)
		 SELECT 'signup', 'ada@example.org', 'ada@example.org', decode(md5(n::text), 'hex'), now() - interval '1 s'
		 FROM generate_series(1, 1200) n`,
		`INSERT INTO cairn.account_events (user_id, kind, at)
		 SELECT 1, 'new_browser', now() - interval '91 days' FROM generate_series(1, 1200)`,
		`INSERT INTO cairn.browsers (token_hash, user_id, trusted_until, user_agent)
		 SELECT sha256(n::text::bytea), 1, now() - interval '1 s', 'Firefox' FROM generate_series(1, 1200) n`,
		`INSERT INTO cairn.used_challenges
		 SELECT sha256(n::text::bytea), now() - interval '1 day' FROM generate_series(1, 1200) n`,
		`INSERT INTO cairn.users (display_name) SELECT 'Ada' FROM generate_series(2, 1200)`,
		`INSERT INTO cairn.identities (user_id, provider, subject) SELECT id, 'strava', id FROM cairn.users`,
		`INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
		 SELECT id, user_id, provider, '' FROM cairn.identities`,
		`INSERT INTO cairn.avatars (identity_id, fetched_at, media_type, image)
		 SELECT identity_id, now() - interval '8 days', 'image/png', 'x' FROM cairn.connections`,
		`INSERT INTO cairn.latest (identity_id, entries, as_of)
		 SELECT identity_id, '[{}]', now() - interval '8 days' FROM cairn.connections`,
		`INSERT INTO cairn.pulls (identity_id, sealed_address, created_at)
		 SELECT identity_id, '', now() - interval '8 days' FROM cairn.connections`,
		`INSERT INTO cairn.sync_requests (identity_id, kind, requested_at)
		 SELECT identity_id, 'fetch', now() - interval '25 hours' FROM cairn.connections`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	client, providers := oauth.NewClient(pool, oauth.Options{}), oauth.Registry{strava.New(oauth.App{})}
	u := upkeep{
		log: slog.New(slog.DiscardHandler), pool: pool, batch: testkit.Patience,
		sessions: session.New(session.Options{Pool: pool}),
		accounts: auth.New(pool, testkit.Secret, auth.Options{}), oauth: client,
		connections: connection.New(connection.Deps{Pool: pool, Client: client, Providers: providers}),
		entries:     activity.New(activity.Deps{Pool: pool, Providers: providers}),
		presence:    &presence{Self: instance.New(pool, "", "", 0, nil)},
		node:        node.New(node.Deps{Pool: pool, Config: config.Config{SessionSecret: testkit.Secret}}),
	}
	u.sweepExpired(t.Context())
	u.sweepConnections(t.Context())
	var left int
	err := pool.QueryRow(t.Context(), `
		SELECT (SELECT count(*) FROM cairn.sessions) + (SELECT count(*) FROM cairn.rate_limits)
		     + (SELECT count(*) FROM cairn.messages) + (SELECT count(*) FROM cairn.links)
		     + (SELECT count(*) FROM cairn.account_events) + (SELECT count(*) FROM cairn.used_challenges)
		     + (SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL)
		     + (SELECT count(*) FROM cairn.latest WHERE entries <> '[]')
		     + (SELECT count(*) FROM cairn.pulls) + (SELECT count(*) FROM cairn.sync_requests)
		     + (SELECT count(*) FROM cairn.browsers WHERE user_agent <> '')`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("%d rows are left (error %v)", left, err)
	}
}

func TestInstancesDoNotSweepInStep(t *testing.T) {
	t.Parallel()
	waits := map[string]bool{}
	for range 50 {
		d := vary(sweepEvery)
		if d < sweepEvery/2 || d >= sweepEvery*3/2 {
			t.Fatalf("it waits for %v, want about %v", d, sweepEvery)
		}
		waits[fmt.Sprint(d)] = true
	}
	if len(waits) < 40 {
		t.Errorf("only %d of 50 waits are different", len(waits))
	}
}
