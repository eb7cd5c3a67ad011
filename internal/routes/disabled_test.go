package routes_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

// operate does what the operator's command does.
func (s site) operate() access.Access {
	return access.Access{
		Sessions: session.New(session.Options{Pool: s.pool}),
		Accounts: s.accounts, Connections: s.connections, Providers: s.providers,
	}
}

func disable(t *testing.T, s site, userID int) {
	t.Helper()
	if err := s.disable(t.Context(), userID); err != nil {
		t.Fatal(err)
	}
}

// disable disables an account. Unlike the function of this name, any goroutine may call it.
func (s site) disable(ctx context.Context, userID int) error {
	by := s.operate()
	_, changed, err := by.Disable(auth.WithOrigin(ctx, auth.Origin{Operator: true}), int64(userID))
	if err == nil && !changed {
		err = errors.New("it is disabled already")
	}
	return err
}

func enable(t *testing.T, s site, userID int) {
	t.Helper()
	ctx := auth.WithOrigin(t.Context(), auth.Origin{Operator: true})
	if changed, err := s.operate().Accounts.Enable(ctx, int64(userID)); err != nil || !changed {
		t.Fatalf("changed %t, error %v", changed, err)
	}
}

// While an account is disabled, nobody signs in to it, and only a right credential is told why. Then all is as before.
func TestDisabledAccountLetsNobodyIn(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{contact: "help@example.org"})
	b, other := signedUp(t, s, "ada@example.org"), newBrowser(t, s)
	b.connect("strava", "ada").to("/")
	disable(t, s, 1)
	b.get("/account").to("/login?next=%2Faccount&notice=sign-in")
	b.get("/login").want(200, "#notice", "The operator of this site signed you out")
	const told = "This account is disabled. Please ask the operator of this site: help@example.org"
	for _, b := range []browser{b, other} {
		b.post("/login", "email", "ada@example.org", "password", "not "+password).want(422, "#form-error", "Wrong")
		b.post("/login", "email", "ada@example.org", "password", password).want(403, "#form-error", told)
		b.get(b.decide(b.consent("/login/strava"), "ada", "allow")).to("/login?notice=disabled-strava")
		b.get("/login?notice=disabled-strava").want(200, "#notice", told)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != 0 {
		t.Errorf("%d sessions of a disabled account", n)
	}
	if signedUp(t, s, "moss@example.org").get("/").status != http.StatusOK {
		t.Error("others are locked out")
	}
	enable(t, s, 1)
	b.post("/login", "email", "ada@example.org", "password", password).to("/")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "")
	b.get("/account").want(200, "#activity", "The operator of this site disabled your account").
		want(200, "#activity", "The operator of this site enabled your account again")
	other.get(other.decide(other.consent("/login/strava"), "ada", "allow")).to("/")
}

// A link to a new password is refused, and is good again afterwards.
func TestDisabledAccountIsNotReset(t *testing.T) {
	t.Parallel()
	s, server := newMailSite(t)
	joined(t, s, server, "ada@example.org")
	b := newBrowser(t, s)
	b.post("/forgot", "email", "ada@example.org").to("/check-your-mail?for=reset")
	page := b.follow(server.WaitFor(t, "ada@example.org", "Choose a new password").Link())
	disable(t, s, 1)
	b.press(page, "password", newPassword).want(403, "#form-error", "This account is disabled")
	if _, err := s.operate().Accounts.MakeResetLink(t.Context(), 1); !errors.Is(err, auth.ErrDisabled) {
		t.Errorf("a link by the operator: error %v", err)
	}
	b.post("/login", "email", "ada@example.org", "password", newPassword).want(422, "#form-error", "Wrong")
	enable(t, s, 1)
	b.press(page, "password", newPassword).to("/login?notice=password-reset")
}

// The links of people from the Node server don't sign in, and its old front end shows nothing.
func TestDisabledAccountHasNoLinks(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	userID, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	b.get("/?token=" + token).to("/link")
	disable(t, s, userID)
	b.post("/link", "about", about(token)).want(403, "h1", "This account is disabled")
	for method, path := range map[string]string{
		http.MethodGet: "/api/auth/me", http.MethodDelete: "/api/strava/disconnect",
		http.MethodPost: "/api/strava/sync",
	} {
		b.withToken(method, path, token).want(403, "", "")
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != 0 {
		t.Errorf("%d sessions of a disabled account", n)
	}
	enable(t, s, userID)
	b.get("/?token=" + token).to("/link")
	b.post("/link", "about", about(token)).to("/")
}

// A session of the Node server goes on here only once the account is enabled.
func TestDisabledAccountAdoptsNoSession(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	userID := imported(t, s.site, 7)
	b, ended := s.atExpress(t, 7), s.atExpress(t, 7)
	if !ended.signedIn() {
		t.Fatal("it was not adopted")
	}
	disable(t, s.site, userID)
	for _, browser := range []browser{b, ended} {
		if browser.signedIn() {
			t.Error("signed in to a disabled account")
		}
	}
	enable(t, s.site, userID)
	if !b.signedIn() || ended.signedIn() {
		t.Error("afterwards the session that had ended came back, or the other one did not")
	}
}

// Nothing is fetched or refreshed for a disabled account, and webhooks about it are dropped.
func TestDisabledAccountIsLeftAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.connect("garmin", "ada").to("/")
	forgetSyncs(t, s)
	exec(t, s, `UPDATE cairn.connections SET tokens_at = now() - interval '31 days', token_expires_at = now()`)
	exec(t, s, `UPDATE cairn.avatars SET tried_at = now() - interval '2 days'`)
	due := func() (tokens, pictures int) {
		t.Helper()
		for _, p := range s.providers {
			idle, err := s.connections.Idle(t.Context(), p)
			subjects, more := s.connections.PicturesDue(t.Context(), p)
			if err := errors.Join(err, more); err != nil {
				t.Fatal(err)
			}
			tokens, pictures = tokens+len(idle), pictures+len(subjects)
		}
		return tokens, pictures
	}
	if tokens, pictures := due(); tokens != 1 || pictures != 1 { // Garmin's tokens end unused, Strava has a picture
		t.Fatalf("before, %d tokens are to be refreshed and %d pictures to be fetched, want one each", tokens, pictures)
	}
	disable(t, s, 1)
	if tokens, pictures := due(); tokens != 0 || pictures != 0 {
		t.Errorf("%d tokens are to be refreshed and %d pictures to be fetched", tokens, pictures)
	}
	before := count(t, s, `SELECT sum(generation) FROM cairn.connections`)
	for _, p := range s.providers {
		if err := s.connections.Check(t.Context(), p, 1); !errors.Is(err, connection.ErrNotFound) {
			t.Errorf("%s: a check: error %v", p.Key, err)
		}
	}
	identity := count(t, s, `SELECT identity_id FROM cairn.connections WHERE provider = 'strava'`)
	err := s.entries.Fetch(t.Context(), s.providers.Get("strava"), int64(identity))
	if !errors.Is(err, connection.ErrNotFound) {
		t.Errorf("a fetch: error %v", err)
	}
	athlete := ask(t, s, `SELECT subject FROM cairn.connections WHERE provider = 'strava'`)
	if status := postWebhook(t, s, stravaPath, deauthorized(athlete)); status != http.StatusOK {
		t.Errorf("the webhook is answered %d", status)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.sync_requests`); n != 0 || syncs(t, s) != 0 {
		t.Errorf("%d requests and %d jobs", n, syncs(t, s))
	}
	if after := count(t, s, `SELECT sum(generation) FROM cairn.connections`); after != before {
		t.Error("tokens were refreshed")
	}
	enable(t, s, 1)
	for _, key := range []string{"strava", "garmin"} {
		if err := s.connections.Check(t.Context(), s.providers.Get(key), 1); err != nil {
			t.Errorf("%s, afterwards: error %v", key, err)
		}
	}
}

func ask(t *testing.T, s site, sql string) (text string) {
	t.Helper()
	if err := s.pool.QueryRow(t.Context(), sql).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return text
}

// Sign-ins that overlap with the disabling, on two instances, leave no session, whichever comes first.
func TestRaceDisableAgainstSignIns(t *testing.T) {
	t.Parallel()
	one := linked(t)
	links := config.Node{LinksUntil: time.Now().Add(24 * time.Hour)}
	sites := [2]site{one, newSiteWith(t, options{pool: one.pool, node: links})}
	for round := range testkit.Rounds(t) {
		unlimited(t, one)
		b := signedUp(t, one, "ada@example.org")
		userID := count(t, one, `SELECT max(id) FROM cairn.users`)
		b.connect("strava", "ada").to("/")
		token := giveLink(t, one, 1000+round, userID)
		var err error
		acts := []func(){func() { err = one.disable(t.Context(), userID) }}
		for _, s := range sites {
			byPassword, byProvider, byLink := newBrowser(t, s), newBrowser(t, s), newBrowser(t, s)
			consent := byProvider.decide(byProvider.consent("/login/strava"), "ada", "allow")
			byLink.get("/?token=" + token).to("/link")
			acts = append(acts,
				func() { byPassword.post("/login", "email", "ada@example.org", "password", password) },
				func() { byProvider.get(consent) },
				func() { byLink.post("/link", "about", about(token)) })
		}
		together(acts...)
		if n := count(t, one, `SELECT count(*) FROM cairn.sessions WHERE user_id = $1`, userID); n != 0 || err != nil {
			t.Fatalf("round %d: %d sessions of a disabled account (error %v)", round, n, err)
		}
		exec(t, one, `DELETE FROM cairn.users`)
	}
	if strings.Contains(sites[0].log.String()+sites[1].log.String(), "40P01") {
		t.Error("a deadlock")
	}
}

// A sign-in that has checked its credential, and waits for something else, keeps the account from being disabled under
// it. So the session is there to be ended.
func TestRaceDisableWaitsForASignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org")
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if err := auth.KeepUser(t.Context(), tx, 1); err != nil {
		t.Fatal(err)
	}
	var disabling sync.WaitGroup
	disabling.Go(func() { err = s.disable(t.Context(), 1) })
	awaitWaiting(t, s, 1)
	begin(t, tx)
	disabling.Wait()
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != 0 || err != nil {
		t.Errorf("%d sessions of a disabled account (error %v)", n, err)
	}
}

// begin begins a session in a transaction, as a sign-in does, and commits.
func begin(t *testing.T, tx pgx.Tx) {
	t.Helper()
	_, err := tx.Exec(t.Context(), `
		INSERT INTO cairn.sessions (token, data, expiry, user_id, method)
		VALUES ('late', '{}', now() + interval '1 day', 1, 'password')`)
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
}
