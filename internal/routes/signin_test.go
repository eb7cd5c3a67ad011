package routes_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
)

func TestSignUpSignInSignOut(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	b.get("/").want(200, "a[href='/signup']", "")
	b.post("/signup", "name", "Ada", "email", "Ada@example.org", "password", password, "next", "/account").
		to("/account")
	b.get("/account").want(200, "#notice", "Your account is ready")
	if b.get("/account").Find("#notice").Length() != 0 {
		t.Error("the notice is shown twice")
	}
	b.get("/login").to("/")
	b.get("/signup?next=/account").to("/account")
	b.post("/logout").to("/?notice=signed-out")
	b.get("/?notice=signed-out").want(200, "#notice", "signed out")
	b.post("/logout").to("/?notice=signed-out") // pressed twice
	b.get("/account").to("/login?next=%2Faccount&notice=sign-in")
	b.post("/account/name", "name", "x").to("/login?next=%2Faccount&notice=sign-in")
	b.post("/connect/strava").to("/login?next=%2F&notice=sign-in")
	b.post("/login", "email", "ada@EXAMPLE.org", "password", password, "next", "/account").to("/account")
	if !b.signedIn() {
		t.Error("not signed in")
	}
}

func TestFormsAreFilledByPasswordManagers(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	for path, fields := range map[string]map[string]string{
		"/signup": {"name": "name", "email": "username", "password": "new-password"},
		"/login":  {"email": "username", "password": "current-password"},
	} {
		page := b.get(path)
		for field, autocomplete := range fields {
			input := page.Find("form[action='" + path + "'] input[name=" + field + "]")
			if got := input.AttrOr("autocomplete", ""); !strings.Contains(got, autocomplete) {
				t.Errorf("%s: %s has autocomplete %q, want %q", path, field, got, autocomplete)
			}
			if page.Find("label[for='"+input.AttrOr("id", "none")+"']").Length() != 1 {
				t.Errorf("%s: %s has no label", path, field)
			}
		}
	}
}

func TestFormProblemsKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "taken@example.org")
	b := newBrowser(t, s)
	tests := []struct{ name, path, email, password, selector, text string }{
		{"short", "/signup", "ada@example.org", "short", "#password-error", "12 characters"},
		{"common", "/signup", "ada@example.org", "password1234", "#password-error", "too common"},
		{"no e-mail", "/signup", "ada", password, "#email-error", "e-mail"},
		{"taken", "/signup", "taken@example.org", password, "#email-error", "already an account"},
		{"wrong password", "/login", "taken@example.org", "wrong", "#form-error", "Wrong e-mail or password"},
		{"unknown", "/login", "nobody@example.org", password, "#form-error", "Wrong e-mail or password"},
	}
	for _, tt := range tests {
		a := b.post(tt.path, "name", "A<b>da", "email", tt.email, "password", tt.password, "next", "/account").
			want(422, tt.selector, tt.text)
		form := a.Find("form[action='" + tt.path + "']")
		if got := form.Find("input[name=email]").AttrOr("value", ""); got != tt.email {
			t.Errorf("%s: the e-mail became %q", tt.name, got)
		}
		if got := form.Find("input[name=next]").AttrOr("value", ""); got != "/account" {
			t.Errorf("%s: next became %q", tt.name, got)
		}
		if form.Find("input[name=password]").AttrOr("value", "") != "" {
			t.Errorf("%s: the password is on the page", tt.name)
		}
		if tt.path == "/signup" && form.Find("input[name=name]").AttrOr("value", "") != "A<b>da" {
			t.Errorf("%s: the name is lost", tt.name)
		}
		field := strings.TrimSuffix(strings.TrimPrefix(tt.selector, "#"), "-error")
		input := form.Find("input[name=" + field + "]")
		if field != "form" && (input.AttrOr("aria-invalid", "") != "true" ||
			!strings.Contains(input.AttrOr("aria-describedby", ""), field+"-error")) {
			t.Errorf("%s: a screen reader does not learn that %s is wrong", tt.name, field)
		}
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 1 {
		t.Errorf("%d users, want 1", n)
	}
}

// A failed sign-in answers the same, byte for byte, whether the account exists or not.
func TestSignInDoesNotRevealWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org")
	b := newBrowser(t, s)
	known := b.post("/login", "email", "ada@example.org", "password", "wrong wrong wrong")
	unknown := b.post("/login", "email", "bob@example.org", "password", "wrong wrong wrong")
	asBob := strings.NewReplacer("ada@", "bob@", "ada%40", "bob%40").Replace(known.body)
	if known.status != unknown.status || asBob != unknown.body {
		t.Error("the two answers differ")
	}
}

func TestSignInIsLimited(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	other := newSiteWith(t, options{pool: s.pool})
	signedUp(t, s, "ada@example.org")
	b := newBrowser(t, s)
	for i := range 10 {
		b.at([]site{s, other}[i%2]).post("/login", "email", "ada@example.org", "password", "wrong").
			want(422, "#form-error", "")
	}
	a := b.post("/login", "email", "ada@example.org", "password", password).
		want(429, "#form-error", "Too many attempts")
	if a.header.Get("Retry-After") == "" || a.Find("input[name=email]").AttrOr("value", "") != "ada@example.org" {
		t.Error("no Retry-After, or what was typed is lost")
	}
}

func TestNextStaysOnTheSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	signedUp(t, s, "ada@example.org")
	for _, evil := range []string{
		"https://evil.example", "//evil.example", "/\\evil.example", "/\t/evil.example", "/%09/evil.example",
		"/%5cevil.example", "\\\\evil.example", "javascript:alert(1)", "https:evil.example", "///evil.example",
		"/%2F/evil.example/..;@", "",
	} {
		b := newBrowser(t, s)
		a := b.post("/login", "email", "ada@example.org", "password", password, "next", evil)
		location := a.header.Get("Location")
		u, err := url.Parse(location)
		if err != nil || u.Host != "" || !strings.HasPrefix(location, "/") ||
			strings.HasPrefix(location, "//") || strings.ContainsAny(location, "\\\t") {
			t.Errorf("next=%q leads to %q", evil, location)
		}
		page := newBrowser(t, s).get("/login?next=" + url.QueryEscape(evil))
		got := page.Find("form[action='/login'] input[name=next]").AttrOr("value", "/")
		if strings.Contains(got, "evil") && got != evil {
			t.Errorf("next=%q becomes %q in the form", evil, got)
		}
	}
}

func TestSignInWithAProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for provider, person := range map[string]string{"strava": "ada", "foursquare": "zofie", "garmin": "moss"} {
		b := newBrowser(t, s)
		b.get(b.decide(b.consent("/login/"+provider, "next", "/account"), person, "allow")).to("/account")
		b.get("/connections").want(200, "#card-"+provider+"[data-state=active]", "")
		before := count(t, s, `SELECT count(*) FROM cairn.users`)
		again := newBrowser(t, s)
		again.get(again.decide(again.consent("/login/"+provider), person, "allow")).to("/")
		if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != before {
			t.Errorf("%s: the second sign-in made another user", provider)
		}
	}
	if name := count(t, s, `SELECT count(*) FROM cairn.users WHERE display_name = 'Žofie Ångström-李'`); name != 1 {
		t.Error("the name at the provider is not the name here")
	}
}

// The provider's account alone is the identity: an e-mail or a name that another user has here signs no one in.
func TestProviderAccountOfAnotherUser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ada, moss := signedUp(t, s, "ada@example.org"), signedUp(t, s, "moss@example.org")
	ada.connect("strava", "ada").to("/")
	taken := moss.decide(moss.consent("/connect/strava"), "ada", "allow")
	moss.failed(taken).
		want(200, "#notice.bad", "belongs to another user here").
		want(200, "#notice", "Nothing was changed")
	moss.get("/connections").want(200, "#card-strava[data-state=none]", "")
	ada.get("/connections").want(200, "#card-strava[data-state=active]", "Ada Example")
	ada.post("/connections/strava/check").to("/connections#card-strava")
	ada.get("/").want(200, "#notice", "works")
}

// Signing in with a second account of a provider, whose first one is connected, still signs in.
func TestSignInWithAnotherAccountThanTheConnectedOne(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	b.connect("strava", "moss").to("/")
	other := newBrowser(t, s)
	other.get(other.decide(other.consent("/login/strava"), "ada", "allow")).to("/")
	other.get("/connections").
		want(200, "#card-strava[data-state=active]", "Moss").want(200, "#notice", "stays the connected one")
	if n := count(t, s, `SELECT count(*) FROM cairn.users`); n != 1 {
		t.Errorf("%d users, want 1", n)
	}
}

func TestSignInAttemptsNeedTheirBrowser(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	attacker, victim := newBrowser(t, s), newBrowser(t, s)
	callback := attacker.decide(attacker.consent("/login/strava"), "ada", "allow")
	a := victim.failed(callback).want(200, "#notice.bad", "started in another browser")
	if victim.signedIn() || len(a.header.Values("Set-Cookie")) != 0 {
		t.Error("the victim is signed in as the attacker")
	}
	attacker.failed(callback).want(200, "#notice.bad", "no longer valid") // and it is spent

	b := newBrowser(t, s) // several tabs
	first, second := b.consent("/login/strava"), b.consent("/login/garmin")
	b.get(b.decide(first, "moss", "allow")).to("/")
	b.get(b.decide(second, "moss", "allow")).to("/")
}

func TestDeclinedSignIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	b.get(b.decide(b.consent("/login/strava"), "ada", "deny")).to("/login?notice=declined-strava")
	b.get("/login?notice=declined-strava").want(200, "#notice", "You declined at Strava")
	if b.get("/login?notice=declined-evil").Find("#notice").Length() != 0 {
		t.Error("a made-up notice is shown")
	}
}

func TestSignInCookieOverHTTPS(t *testing.T) {
	t.Parallel()
	s := newSiteWith(t, options{public: "https://cairn.example.org"})
	a := newBrowser(t, s).post("/login/strava")
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"__Host-signin=", "Path=/", "HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("Set-Cookie is %q, want %s in it", cookie, want)
		}
	}
	location, err := url.Parse(a.header.Get("Location"))
	if err != nil || location.Query().Get("redirect_uri") != "https://cairn.example.org/api/strava/auth/callback" {
		t.Errorf("redirect_uri is %q", location.Query().Get("redirect_uri"))
	}
}

func TestAddressesBehindProxies(t *testing.T) {
	t.Parallel()
	s := newSite(t) // trusts no proxy
	b := newBrowser(t, s)
	form := url.Values{"email": {"ada@example.org"}, "password": {password}}
	b.do(http.MethodPost, "/signup", form,
		"X-Forwarded-For", "203.0.113.9", "True-Client-IP", "203.0.113.9", "X-Real-IP", "203.0.113.9")
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions WHERE address = '203.0.113.9'`); n != 0 {
		t.Error("a client chose its own address")
	}
	s = newSiteWith(t, options{proxies: []netip.Prefix{
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("::1/128"),
	}})
	b = newBrowser(t, s)
	b.do(http.MethodPost, "/signup", form, "X-Forwarded-For", "198.51.100.1, 203.0.113.9")
	if n := count(t, s, `SELECT count(*) FROM cairn.sessions WHERE address = '203.0.113.9'`); n != 1 {
		t.Error("the address that the trusted proxy names is not used")
	}
}
