package routes_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/connection"
)

// unconfirmed connects an account of a provider as an import does: it has a connection and does not sign in. It returns
// the path of the page that allows it to.
func (b browser) unconfirmed(provider, person string) (allow string) {
	b.t.Helper()
	b.connect(provider, person).to("/")
	var id int64
	err := b.site.pool.QueryRow(b.t.Context(), `
		UPDATE cairn.identities SET signs_in = false
		WHERE id = (SELECT max(id) FROM cairn.identities WHERE provider = $1) RETURNING id`, provider).Scan(&id)
	if err != nil {
		b.t.Fatal(err)
	}
	return fmt.Sprintf("/account/methods/%d/allow", id)
}

// unknown gives the newest user a connection to Garmin as an import does that knows neither the account nor tokens.
func unknown(t *testing.T, s site) {
	t.Helper()
	userID, subject := int64(count(t, s, `SELECT max(id) FROM cairn.users`)), auth.UnknownSubject(7)
	err := pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
		claims := []auth.Claim{{UserID: userID, Subject: subject}}
		owned, err := auth.ImportClaims(t.Context(), tx, "garmin", claims)
		if err != nil {
			return err
		}
		_, err = s.connections.Import(t.Context(), tx, "garmin", nil, []connection.ImportedConnection{{
			IdentityID: owned[subject].IdentityID, UserID: userID, Subject: subject, Cause: connection.AccountUnknown,
		}})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// withFoursquare is a browser of a new person whose only sign-in method is Foursquare.
func withFoursquare(t *testing.T, s site) browser {
	t.Helper()
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/foursquare"), "ada", "allow")).to("/")
	return b
}

// owners are new people with one sign-in method each.
var owners = map[string]func(t *testing.T, s site) browser{
	"password":   func(t *testing.T, s site) browser { return signedUp(t, s, "ada@example.org") },
	"foursquare": withFoursquare,
}

// kept is what is stored of users, their sign-in methods and their connections.
func kept(t *testing.T, s site) (rows string) {
	t.Helper()
	err := s.pool.QueryRow(t.Context(), `
		SELECT concat_ws(E'\n', (SELECT string_agg(u::text, ' ' ORDER BY id) FROM cairn.users u),
			(SELECT string_agg(i::text, ' ' ORDER BY id) FROM cairn.identities i),
			(SELECT string_agg(c::text, ' ' ORDER BY identity_id) FROM cairn.connections c))`).Scan(&rows)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// signsIn reports whether a person at a provider gets into the account of a user.
func signsIn(t testing.TB, s site, provider, person string) bool {
	t.Helper()
	b := newBrowser(t, s)
	b.get(b.decide(b.consent("/login/"+provider), person, "allow"))
	return b.signedIn()
}

const refusedWords = "Strava account can’t be used to sign in yet. Its owner has to allow it first."

// The Node server took anyone's word for whose account at Strava it is. Such a link signs nobody in.
func TestForgedLinkSignsNobodyIn(t *testing.T) {
	t.Parallel()
	for name, owner := range owners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var results []string
			s := newSiteWith(t, options{signIn: func(method, result string) {
				mu.Lock()
				defer mu.Unlock()
				results = append(results, method+" "+result)
			}})
			owner(t, s).unconfirmed("strava", "moss")
			before, sessions := kept(t, s), count(t, s, `SELECT count(*) FROM cairn.sessions`)
			forger := newBrowser(t, s)
			forger.failed(forger.decide(forger.consent("/login/strava"), "moss", "allow")).
				want(200, "#notice.bad", "This "+refusedWords).
				want(200, "#notice.bad", "Nothing was changed.")
			if kept(t, s) != before {
				t.Errorf("kept is\n%s\nbefore\n%s", kept(t, s), before)
			}
			if n := count(t, s, `SELECT count(*) FROM cairn.sessions`); n != sessions || forger.signedIn() {
				t.Errorf("%d sessions, want %d; signed in: %t", n, sessions, forger.signedIn())
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Contains(results, "strava refused") || slices.Contains(results, "strava ok") {
				t.Errorf("observed %q", results)
			}
			if !strings.Contains(s.log.String(), `msg="sign-in refused"`) {
				t.Error("the log does not say that it was refused")
			}
		})
	}
}

// The last method that signs in stays, and the one that does not can't be removed as if it did.
func TestUnconfirmedIsNoSignInMethod(t *testing.T) {
	t.Parallel()
	for name, owner := range owners {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := owner(t, s)
			allow := b.unconfirmed("strava", "ada")
			remove := "/account/password/remove"
			if name == "foursquare" {
				id := count(t, s, `SELECT id FROM cairn.identities WHERE provider = 'foursquare'`)
				remove = fmt.Sprintf("/account/methods/%d/remove", id)
			}
			page := b.get("/account").want(200, "#methods", "Only one of these signs you in")
			if n := page.Find("#methods a[href$='/remove']").Length(); n != 0 {
				t.Errorf("%d buttons remove a method, want none", n)
			}
			b.get(remove).want(409, "h1", "only sign-in method")
			b.post(remove).want(409, "h1", "only sign-in method")
			strava := strings.NewReplacer("methods", "ways", "allow", "remove").Replace(allow)
			b.get(strava).want(404, "h1", "")
			b.post(strava).want(404, "h1", "")
			if strings.Contains(b.get("/connections/strava/disconnect").want(200, "h1", "").body, "still sign in") {
				t.Error("the page before a disconnection says that it still signs in")
			}
			b.get("/connections").want(200, "#card-strava[data-state=active]", "")
		})
	}
}

// An unconfirmed account confirms nobody.
func TestUnconfirmedDoesNotReauthenticate(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := withFoursquare(t, s)
	allow := b.unconfirmed("strava", "ada")
	aged(t, s)
	for _, act := range []string{allow, "/connect/garmin"} {
		page := b.asked(act)
		ways := b.get(page).want(200, "main", "Continue with Foursquare")
		if ways.Find("form[action='/login/strava']").Length() != 0 {
			t.Errorf("%s: Strava is offered", act)
		}
		next := b.carried(page)
		before := kept(t, s)
		b.get(b.decide(b.consent("/login/strava", "next", next), "ada", "allow")).to(next)
		b.get(next).want(200, "#notice.bad", refusedWords)
		b.asked("/account/password/remove")
		if after := kept(t, s); after != before {
			t.Errorf("%s: kept is\n%s\nbefore\n%s", act, after, before)
		}
	}
}

// By a password, which is a POST, it is allowed at once; by a provider's callback, the button comes first.
func TestOwnerAllowsAnAccountToSignIn(t *testing.T) {
	t.Parallel()
	for name, reauthenticate := range map[string]func(b browser, next, allow string){
		"recent": func(b browser, _, allow string) {
			b.post("/account/confirm", "next", "/", "password", password).to("/")
			b.post(allow).to("/account#methods")
		},
		"by password": func(b browser, next, _ string) {
			b.post("/account/confirm", "next", next, "password", password).to("/account#methods")
		},
		"by provider": func(b browser, next, allow string) {
			b.get(b.decide(b.consent("/login/foursquare", "next", next), "ada", "allow")).to(allow)
			if signsIn(b.t, b.site, "strava", "ada") {
				b.t.Error("a GET has allowed it")
			}
			b.get(allow).
				want(200, "#notice", "Confirmed").
				want(200, "form[action='"+allow+"'] button.go", "Sign in with Strava too")
			b.post(allow).to("/account#methods")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := withFoursquare(t, s)
			b.post("/account/password", "email", "ada@example.org", "password", password).to("/account#h-password")
			allow := b.unconfirmed("strava", "ada")
			b.get("/account").want(200, "#methods a[href='"+allow+"']", "Use it to sign in…")
			b.get(allow).want(200, "h1", "Use Strava to sign in too?").want(200, "main", "account number")
			signedUp(t, s, "moss@example.org").post(allow).want(404, "h1", "")
			aged(t, s)
			next := b.carried(b.asked(allow))
			b.get(next).want(200, "h1", "to let Strava sign you in")
			if signsIn(t, s, "strava", "ada") {
				t.Fatal("it signs in before its owner has allowed it")
			}
			reauthenticate(b, next, allow)
			b.get("/account").
				want(200, "#methods #notice", "You can now sign in with Strava too.").
				want(200, "#methods", "Signs you in as")
			b.post(allow).to("/account#methods") // again
			b.get(allow).want(404, "h1", "")
			users := count(t, s, `SELECT count(*) FROM cairn.users`)
			if !signsIn(t, s, "strava", "ada") || count(t, s, `SELECT count(*) FROM cairn.users`) != users {
				t.Error("it does not sign in to its owner's account")
			}
		})
	}
}

// An account whose id at the provider is not known can't be proven by signing in there.
func TestUnknownAccountIsNoSignInMethod(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := withFoursquare(t, s)
	unknown(t, s)
	allow := fmt.Sprintf("/account/methods/%d/allow", count(t, s, `SELECT max(id) FROM cairn.identities`))
	b.get(allow).want(404, "h1", "")
	b.post(allow).want(404, "h1", "")
	if text := b.get("/account").Find("#methods").Text(); strings.Contains(text, "Garmin") {
		t.Errorf("the sign-in methods are %q", text)
	}
	b.post("/connections/garmin/check").to("/connections#card-garmin")
	card := b.get("/connections").
		want(200, "#card-garmin[data-state=needs_reconnect] .problem",
			"Garmin has changed how it lets us in. Connect it again before 31 December 2026.").
		want(200, "#card-garmin .connect button", "Reconnect Garmin").
		Find("#card-garmin").Text()
	if strings.Contains(card, "Account number") {
		t.Errorf("the card is %q", card)
	}
	for _, path := range []string{"/", "/account", "/connections", "/connections/now", "/days/now", "/account/delete",
		"/connections/garmin/disconnect", "/api/auth/me"} {
		if a := b.get(path).want(200, "", ""); strings.Contains(a.body, "?7") {
			t.Errorf("%s shows the number that stands for the account", path)
		}
	}
	if text := b.get("/connections/garmin/disconnect").Find("main").Text(); strings.Contains(text, "keep asking") {
		t.Errorf("there is no token to revoke, but the page says %q", text)
	}
	b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
	b.get("/connections").want(200, "#card-garmin[data-state=none] #notice", "Garmin is disconnected")
	if n := count(t, s, `SELECT count(*) FROM cairn.identities WHERE provider = 'garmin'`); n != 0 {
		t.Error("the identity stays")
	}
}

// Connecting the account again proves it, and makes it a sign-in method if the sign-in is recent.
func TestConnectingAgainConfirms(t *testing.T) {
	t.Parallel()
	for name, recent := range map[string]bool{"recent": true, "not recent": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := signedUp(t, s, "ada@example.org")
			b.unconfirmed("strava", "ada")
			generation := count(t, s, `SELECT generation FROM cairn.connections`)
			if !recent {
				aged(t, s)
			}
			b.connect("strava", "ada").to("/")
			if count(t, s, `SELECT generation FROM cairn.connections`) == generation {
				t.Error("the connection is not renewed")
			}
			if got := signsIn(t, s, "strava", "ada"); got != recent {
				t.Errorf("Strava signs in: %t", got)
			}
		})
	}
}

// Only Garmin knows whose account it was; whichever is connected takes its place, in one click.
func TestConnectingTakesThePlaceOfAnUnknownAccount(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ recent, before bool }{
		"recent": {recent: true}, "not recent": {}, "it signed in here before": {before: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			b := signedUp(t, s, "ada@example.org")
			if tt.before {
				b.connect("garmin", "ada").to("/")
				b.post("/connections/garmin/disconnect").to("/connections#card-garmin")
			}
			unknown(t, s)
			if !tt.recent {
				aged(t, s)
			}
			b.connect("garmin", "ada").to("/")
			page := b.get("/connections").want(200, "#card-garmin[data-state=active]", "Account number")
			if strings.Contains(page.body, "?7") {
				t.Error("the number that stood for the account is still there")
			}
			if n := count(t, s, `SELECT count(*) FROM cairn.identities`); n != 1 {
				t.Errorf("%d identities, want one", n)
			}
			if got := signsIn(t, s, "garmin", "ada"); got != (tt.recent || tt.before) {
				t.Errorf("Garmin signs in: %t", got)
			}
		})
	}
}

// An account that an import gave to somebody can't be taken by its owner, who is not told to sign in with it.
func TestConnectingAnotherUsersUnconfirmedAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org").unconfirmed("strava", "moss")
	moss := signedUp(t, s, "moss@example.org")
	before := kept(t, s)
	moss.failed(moss.decide(moss.consent("/connect/strava"), "moss", "allow")).want(200, "#notice.bad", refusedWords)
	if after := kept(t, s); after != before {
		t.Errorf("kept is\n%s\nbefore\n%s", after, before)
	}
}

// Without its connection an unconfirmed account is good for nothing, and would lock its owner out.
func TestDisconnectingAnUnconfirmedAccountFreesIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.unconfirmed("strava", "moss")
	aged(t, s)
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	if n := count(t, s, `SELECT count(*) FROM cairn.identities`); n != 0 {
		t.Fatalf("%d identities are left", n)
	}
	if !signsIn(t, s, "strava", "moss") || count(t, s, `SELECT count(*) FROM cairn.users`) != 2 {
		t.Error("its owner can't sign up with it")
	}
	if !b.signedIn() {
		t.Error("the person is signed out")
	}
}
