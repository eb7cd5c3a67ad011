package connection_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
	"cairn/internal/sandbox"
	"cairn/internal/seal"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// rig is our side and the three providers, simulated over HTTP.
type rig struct {
	*connection.Store
	client    *oauth.Client
	t         testing.TB
	limits    oauth.Limits
	pool      *pgxpool.Pool
	sandbox   *sandbox.Sandbox
	browser   *http.Client
	accounts  *auth.Accounts
	providers map[string]*oauth.Provider
}

var makers = map[string]func(oauth.App) *oauth.Provider{
	sandbox.Strava: strava.New, sandbox.Garmin: garmin.New, sandbox.Foursquare: foursquare.New,
}

// patient are limits that a busy machine does not reach, for tests that are not about them.
var patient = oauth.Limits{Call: testkit.Patience, Queue: testkit.Patience, Statement: testkit.Patience}

func newRig(t *testing.T) rig { t.Helper(); return newRigWith(t, patient) }

func newRigWith(t *testing.T, limits oauth.Limits) rig {
	t.Helper()
	pool := dbtest.New(t)
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String() + "/sandbox"
	simulated := map[string]sandbox.App{}
	r := rig{
		t:         t,
		limits:    limits,
		pool:      pool,
		accounts:  auth.New(pool, "test", auth.Options{}),
		providers: map[string]*oauth.Provider{},
	}
	for key, make := range makers {
		app := sandbox.App{
			ClientID:     key + "-client",
			ClientSecret: key + "-s3cr3t",
			RedirectURI:  "http://cairn.test/" + key,
		}
		simulated[key] = app
		r.providers[key] = make(oauth.App{
			ClientID:     app.ClientID,
			ClientSecret: app.ClientSecret,
			RedirectURL:  app.RedirectURI,
			Endpoints:    oauth.Endpoints(sandbox.EndpointsOf(base, key)),
		})
	}
	r.client = oauth.NewClient(pool, oauth.Options{Limits: limits})
	r.Store = r.storeIn(pool, newSealer(t, 1), oauth.Options{Limits: limits})
	s, err := sandbox.New(t.Context(), sandbox.Options{
		Pool:    pool,
		BaseURL: base,
		Apps:    simulated,
		Log:     slog.New(slog.NewTextHandler(t.Output(), nil)),
		Limits:  sandbox.Limits{Slow: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.sandbox, server.Config.Handler = s, s.Handler()
	server.Start()
	r.browser = server.Client()
	t.Cleanup(server.Close)
	return r
}

// storeIn returns the store of another server, with its own connections to the database, keys and limits.
func (r rig) storeIn(pool *pgxpool.Pool, sealer *seal.Sealer, o oauth.Options) *connection.Store {
	var providers oauth.Registry
	for _, p := range r.providers {
		providers = append(providers, p)
	}
	return connection.New(connection.Deps{
		Pool: pool, Sealer: sealer, Client: oauth.NewClient(pool, o), Providers: providers,
	})
}

// tryDisconnect is Store.Disconnect in a transaction of its own.
func (r rig) tryDisconnect(p *oauth.Provider, userID int64) (revoking bool, err error) {
	err = pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		revoking, err = r.Disconnect(r.t.Context(), tx, p, userID, 0)
		return err
	})
	return revoking && err == nil, err
}

func newSealer(t testing.TB, keys ...byte) *seal.Sealer {
	t.Helper()
	var all [][]byte
	for _, b := range keys {
		all = append(all, []byte(strings.Repeat(string(b), 32)))
	}
	sealer, err := seal.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// owner returns a new user with a session.
func (r rig) owner() oauth.Owner {
	r.t.Helper()
	var o oauth.Owner
	err := r.pool.QueryRow(r.t.Context(), `
		WITH u AS (INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id)
		INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		SELECT gen_random_uuid(), '{}', now() + interval '1 day', id, 'password' FROM u
		RETURNING user_id, id`).Scan(&o.UserID, &o.SessionID)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

// begin begins an attempt and returns the consent page's address.
func (r rig) begin(provider string, owner oauth.Owner) string {
	r.t.Helper()
	consent, err := r.Begin(r.t.Context(), r.providers[provider], owner, "/")
	if err != nil {
		r.t.Fatal(err)
	}
	return consent
}

// decide answers a consent page and returns the query the browser comes back with.
func (r rig) decide(consent, person, decision string, scopes ...string) url.Values {
	r.t.Helper()
	form := url.Values{"person": {person}, "decision": {decision}, "scope": scopes, "permission": scopes}
	if scopes == nil {
		form["scope"] = []string{"read", "activity:read_all"}
		form["permission"] = []string{"ACTIVITY_EXPORT", "HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"}
	}
	body := strings.NewReader(form.Encode())
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, consent, body)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := r.browser.Transport.RoundTrip(request)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	back, err := resp.Location()
	if err != nil || resp.StatusCode != http.StatusSeeOther {
		r.t.Fatalf("the consent page answered %d, Location %v, error %v", resp.StatusCode, back, err)
	}
	return back.Query()
}

// finish consumes the attempt of a browser that came back, and exchanges its code.
func (r rig) finish(provider string, owner oauth.Owner, callback url.Values) (oauth.Grant, error) {
	attempt, err := r.client.Consume(r.t.Context(), r.providers[provider], callback.Get("state"), owner)
	if err != nil {
		return oauth.Grant{}, err
	}
	return r.client.Exchange(r.t.Context(), attempt, callback, func(string) error { return nil })
}

func (r rig) store(owner oauth.Owner, grant oauth.Grant) error {
	return pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		identity, err := r.accounts.Link(r.t.Context(), tx, owner.UserID, grant.Provider.Key, grant.Subject,
			auth.Recent)
		if err != nil {
			return err
		}
		return r.Connect(r.t.Context(), tx, grant, owner.UserID, identity)
	})
}

// connect connects an owner to a provider as one of its people.
func (r rig) connect(provider string, owner oauth.Owner, person string, scopes ...string) {
	r.t.Helper()
	grant, err := r.finish(provider, owner, r.decide(r.begin(provider, owner), person, "allow", scopes...))
	if err == nil {
		err = r.store(owner, grant)
	}
	if err != nil {
		r.t.Fatalf("connect %s as %s: %v", provider, person, err)
	}
}

func (r rig) connection(provider string, owner oauth.Owner) connection.Connection {
	r.t.Helper()
	all, err := r.Overview(r.t.Context(), owner.UserID)
	if err != nil {
		r.t.Fatal(err)
	}
	return all.Connections[provider]
}

func (r rig) pending(provider string) []int64 {
	r.t.Helper()
	ids, err := r.PendingRevocations(r.t.Context(), provider)
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

// revoke carries out the pending revocations, and returns their errors.
func (r rig) revoke() (err error) {
	r.t.Helper()
	for key := range r.providers {
		for _, id := range r.pending(key) {
			err = errors.Join(err, r.Revoke(r.t.Context(), id))
		}
	}
	return err
}

// set sets a switch of the sandbox. It also ends every wait that a provider has asked for (later).
func (r rig) set(provider, name, value string) {
	r.t.Helper()
	if err := r.sandbox.SetSwitch(r.t.Context(), provider, name, value); err != nil {
		r.t.Fatal(err)
	}
	r.later()
}

// later ends the quarter hour, the day and every wait that a provider has asked for.
func (r rig) later() {
	r.t.Helper()
	r.exec(`
		UPDATE cairn.budgets
		SET paused_until = NULL, quarter = quarter - interval '15 minutes', day = day - interval '1 day'`)
	r.exec(`UPDATE cairn.connections SET retry_at = NULL`)
}

func (r rig) exec(sql string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), sql, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r rig) requests(provider, grantType string) int {
	r.t.Helper()
	counts, err := r.sandbox.TokenRequests(r.t.Context(), provider)
	if err != nil {
		r.t.Fatal(err)
	}
	return counts[grantType]
}

func (r rig) grants(provider string) []sandbox.Grant {
	r.t.Helper()
	grants, err := r.sandbox.Grants(r.t.Context(), provider)
	if err != nil {
		r.t.Fatal(err)
	}
	return grants
}

// kindOf names the kind of an error for tables.
func kindOf(err error) string {
	for _, kind := range []error{
		connection.ErrReconnect, oauth.ErrRefused, oauth.ErrRateLimited, oauth.ErrUnavailable, oauth.ErrAttempt,
		oauth.ErrOtherBrowser, oauth.ErrDenied, connection.ErrNotFound, connection.ErrOtherAccount, auth.ErrLinked,
	} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return fmt.Sprint(err)
}

// instances returns the stores of n servers, each with its own few connections to the rig's database.
func (r rig) instances(n int) (all []*connection.Store) {
	r.t.Helper()
	for range n {
		config := r.pool.Config()
		config.MaxConns = 4
		pool, err := pgxpool.NewWithConfig(r.t.Context(), config)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(pool.Close)
		all = append(all, r.storeIn(pool, newSealer(r.t, 1), oauth.Options{Limits: r.limits}))
	}
	return all
}
