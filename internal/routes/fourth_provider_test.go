package routes_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"

	"golang.org/x/oauth2"

	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/testkit"
)

// fourth is a provider that the program doesn't know: OAuth 2 with PKCE, JSON, and revocation. This is all that a
// provider's folder needs.
type fourth struct{}

func newFourth(app oauth.App) *oauth.Provider {
	return oauth.Provider{
		Key: "fourth", Name: "Fourth", ManageURL: "https://fourth.example/apps", Offer: "Lets Cairn see your name.",
		PKCE:        true,
		Permissions: []oauth.Permission{{Key: "profile", Words: "See your profile", Needed: true}},
		GrantedOf:   func(url.Values, *oauth2.Token) []string { return []string{"profile"} },
		Adapter:     fourth{},
	}.For(app, oauth.Endpoints{})
}

func (fourth) UserInfo(ctx context.Context, c *oauth.Caller, accessToken string) (oauth.Account, error) {
	var me struct{ ID, Name string }
	if err := c.Get(ctx, "userinfo", "/me", nil, accessToken, &me); err != nil {
		return oauth.Account{}, err
	}
	return oauth.Account{Subject: me.ID, Name: me.Name}, nil
}

func (fourth) Revoke(ctx context.Context, c *oauth.Caller, t *oauth2.Token, _ connection.Access) error {
	r, err := c.Request("/revoke", url.Values{"token": {t.RefreshToken}}, t.AccessToken)
	if err != nil {
		return err
	}
	return c.Call(ctx, "revoke", r, nil)
}

// simulation is the fourth provider's side. Its consent page allows at once.
type simulation struct {
	mu         sync.Mutex
	challenges map[string]string // by code
	refresh    string            // the token that is valid
	pairs      int
	revoked    string
	refusing   bool // answers 429
}

func (s *simulation) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", s.authorize)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("GET /me", s.me)
	mux.HandleFunc("GET /revoke", s.revoke)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		mux.ServeHTTP(w, r)
	})
}

func (s *simulation) authorize(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	code := fmt.Sprintf("code%d", len(s.challenges))
	s.challenges[code] = query.Get("code_challenge")
	http.Redirect(w, r, query.Get("redirect_uri")+"?"+
		url.Values{"state": {query.Get("state")}, "code": {code}}.Encode(), http.StatusFound)
}

func (s *simulation) token(w http.ResponseWriter, r *http.Request) {
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	challenge, known := s.challenges[r.FormValue("code")]
	switch {
	case r.FormValue("client_id") != "id" || r.FormValue("client_secret") != "s3cr3t":
		http.Error(w, `{"error":"invalid_client"}`, http.StatusUnauthorized)
		return
	case r.FormValue("grant_type") == "refresh_token" && r.FormValue("refresh_token") == s.refresh:
	case known && challenge == base64.RawURLEncoding.EncodeToString(sum[:]):
	default:
		http.Error(w, `{"error":"invalid_grant"}`, http.StatusBadRequest)
		return
	}
	s.pairs++
	s.refresh = fmt.Sprintf("refresh%d", s.pairs)
	respond(w, map[string]any{"access_token": fmt.Sprintf("access%d", s.pairs), "token_type": "Bearer",
		"refresh_token": s.refresh, "expires_in": 3600})
}

func (s *simulation) me(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.refusing:
		w.Header().Set("Retry-After", "600")
		http.Error(w, `{}`, http.StatusTooManyRequests)
	case r.Header.Get("Authorization") != fmt.Sprintf("Bearer access%d", s.pairs):
		http.Error(w, `{}`, http.StatusUnauthorized)
	default:
		respond(w, map[string]string{"ID": "ada-4", "Name": "Ada Fourth"})
	}
}

func (s *simulation) revoke(w http.ResponseWriter, r *http.Request) {
	s.revoked = r.URL.Query().Get("token")
	respond(w, map[string]string{})
}

func respond(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// with changes the simulation, or reads from it.
func (s *simulation) with(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// newFourthSite is a site with the fourth provider, whose row in cairn.providers is all that the database needs.
func newFourthSite(t *testing.T) (site, *simulation) {
	t.Helper()
	simulated := &simulation{challenges: map[string]string{}}
	server := httptest.NewServer(simulated.handler())
	t.Cleanup(server.Close)
	s := newSiteWith(t, options{works: true, more: func(public string) *oauth.Provider {
		return registerFourth(t, map[string]string{
			"PUBLIC_URL": public, "FOURTH_CLIENT_ID": "id", "FOURTH_CLIENT_SECRET": "s3cr3t",
			"FOURTH_AUTHORIZE_URL": server.URL + "/authorize", "FOURTH_TOKEN_URL": server.URL + "/token",
			"FOURTH_API_URL": server.URL,
		})
	}})
	if _, err := s.pool.Exec(t.Context(), `INSERT INTO cairn.providers (key) VALUES ('fourth')`); err != nil {
		t.Fatal(err)
	}
	return s, simulated
}

// registerFourth adds an entry to those of internal/config/providers.go, and reads its variables.
func registerFourth(t *testing.T, environment map[string]string) *oauth.Provider {
	t.Helper()
	entry := config.Provider{Key: "fourth", Prefix: "FOURTH", Callback: "/api/fourth/callback", Make: newFourth}
	getenv := func(name string) string { return environment[name] }
	c, err := config.LoadFor(getenv, append(config.Providers(), entry))
	if err != nil {
		t.Fatal(err)
	}
	providers, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		t.Fatal(err)
	}
	p := providers.Get(entry.Key)
	if p == nil || p.Config.RedirectURL != environment["PUBLIC_URL"]+entry.Callback {
		t.Fatalf("the variables make %+v", p)
	}
	return p
}

// visitFourth presses a button of ours that leads to the fourth provider, and comes back.
func (b browser) visitFourth(path string) answer {
	b.t.Helper()
	consent := b.post(path).header.Get("Location")
	return b.get(b.get(consent).header.Get("Location"))
}

// A provider is its folder, one line of registration and one row: it signs people in, is connected, refreshed,
// rate-limited and revoked, and has its place on the pages.
func TestFourthProvider(t *testing.T) {
	t.Parallel()
	s, simulated := newFourthSite(t)
	b := newBrowser(t, s)
	b.get("/login").want(200, `form[action="/login/fourth"]`, "Continue with Fourth")
	b.visitFourth("/login/fourth").to("/")
	b.get("/account").want(200, ".account-name, main", "Ada Fourth")
	page := b.get("/connections").want(200, "#card-fourth h2", "Fourth")
	page.want(200, "#card-fourth", "See your profile")
	page.want(200, "#card-fourth[data-state=active]", "Ada Fourth")

	if _, err := s.pool.Exec(t.Context(), `UPDATE cairn.connections SET token_expires_at = now()`); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/fourth/check").to("/connections#card-fourth")
	simulated.with(func() {
		if simulated.pairs != 2 {
			t.Errorf("%d pairs of tokens, want one for the code and one for the refresh", simulated.pairs)
		}
		simulated.refusing = true
	})
	b.post("/connections/fourth/check").want(503, "h1", "Fourth has rate-limited us")
	b.get("/connections").want(200, "#card-fourth[data-state=degraded]", "Fourth")
	paused := `SELECT count(*) FROM cairn.budgets WHERE provider = 'fourth' AND paused_until > now()`
	if count(t, s, paused) != 1 {
		t.Error("the provider is called before the time that it named")
	}

	s.later(t)
	b.post("/connections/fourth/disconnect").to("/connections#card-fourth")
	testkit.Eventually(t, "the tokens are revoked", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.withdrawals`) == 0
	})
	simulated.with(func() {
		if simulated.revoked != "refresh2" {
			t.Errorf("revoked %q, want the newest token", simulated.revoked)
		}
	})
	b.get("/connections").want(200, "#card-fourth[data-state=none]", "Connect Fourth")
}

// Somebody with a password account connects it, and can sign in with it from then on.
func TestConnectFourthProvider(t *testing.T) {
	t.Parallel()
	s, _ := newFourthSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.get("/").want(200, "#card-fourth[data-state=none] form[action='/connect/fourth'] button", "Connect Fourth")
	b.visitFourth("/connect/fourth").to("/")
	b.get("/").want(200, "#notice", "Fourth is connected")
	b.get("/connections").want(200, "#card-fourth[data-state=active]", "Ada Fourth")
	elsewhere := newBrowser(t, s)
	elsewhere.visitFourth("/login/fourth").to("/")
	elsewhere.get("/account").want(200, "main", "ada@example.org")
}
