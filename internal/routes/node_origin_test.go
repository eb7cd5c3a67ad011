package routes_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// foreignRoutes are those that the front end calls from its own site.
var foreignRoutes = []string{
	"GET /api/auth/me", "GET /api/strava/auth/start", "GET /api/strava/status", "DELETE /api/strava/disconnect",
	"GET /api/garmin/connect", "GET /api/garmin/status", "DELETE /api/garmin/disconnect", "POST /api/strava/sync",
}

func TestFrontendOrigin(t *testing.T) {
	t.Parallel()
	for address, origin := range map[string]string{
		"https://trail.example.org":         frontAt,
		"https://trail.example.org:443":     frontAt,
		"https://Trail.example.org/app":     frontAt,
		"https://trail.example.org:443/app": frontAt,
		"http://trail.example.org:80":       "http://trail.example.org",
		"https://trail.example.org:80":      "https://trail.example.org:80",
		"http://localhost:5173":             "http://localhost:5173",
		"http://[::1]:80":                   "http://[::1]",
	} {
		t.Run(address, func(t *testing.T) {
			t.Parallel()
			s := fronted(t, func(o *options) { o.node.FrontendURL = mustParse(t, address) })
			b := newBrowser(t, s)
			for _, from := range []string{origin, "https://evil.example", "null", ""} {
				a := b.get("/api/auth/me", "Origin", from)
				if got := a.header.Values("Access-Control-Allow-Origin"); !slices.Equal(got, []string{origin}) {
					t.Errorf("%s may read: %q", from, got)
				}
				if !slices.Contains(a.header.Values("Vary"), "Origin") ||
					a.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("%s: headers %v", from, a.header)
				}
			}
		})
	}
}

func TestFrontendPreflight(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	b := newBrowser(t, s)
	for _, route := range append([]string{"GET /api/nothing"}, foreignRoutes...) {
		method, path, _ := strings.Cut(route, " ")
		a := b.do(http.MethodOptions, path, nil, "Origin", frontAt, "Access-Control-Request-Method", method,
			"Access-Control-Request-Headers", "x-auth-token")
		h := a.header
		if a.status != 204 || a.body != "" || h.Get("Access-Control-Allow-Origin") != frontAt ||
			!strings.Contains(h.Get("Access-Control-Allow-Methods"), "DELETE") ||
			!strings.Contains(h.Get("Access-Control-Allow-Headers"), "x-auth-token") ||
			!slices.Contains(h.Values("Vary"), "Origin") || h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: %d %v", route, a.status, h)
		}
	}
	b.do(http.MethodOptions, "/account", nil, "Origin", frontAt).want(405, "h1", "")
}

// Requests with a token, or from another site, look at no session, even if they bring one.
func TestFrontendReadsNoSession(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	exec(t, s, `UPDATE cairn.users SET display_name = 'Grace'`)
	b := signedUp(t, s, "ada@example.org")
	if name := b.get("/api/auth/me").want(200, "", "").field("displayName"); name != "Ada" {
		t.Errorf("on our own pages I am %v", name)
	}
	if name := b.get("/api/auth/me", "Origin", s.url).field("displayName"); name != "Ada" {
		t.Errorf("from our own origin I am %v", name)
	}
	exec(t, s, `ALTER TABLE cairn.sessions RENAME TO hidden`)
	if a := b.get("/api/auth/me"); a.status < 500 {
		t.Fatalf("a request that reads the session was answered %d", a.status)
	}
	for _, route := range foreignRoutes {
		method, path, _ := strings.Cut(route, " ")
		for _, origin := range []string{frontAt, "https://evil.example", "null"} {
			a := b.do(method, path, nil, "Origin", origin, "Sec-Fetch-Site", "cross-site")
			if a.status != 401 || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s from %s, without a token: %d %v", route, origin, a.status, a.header)
			}
			a = b.do(method, path, nil, "Origin", origin, "Sec-Fetch-Site", "cross-site", "X-Auth-Token", token)
			if a.status != 200 && !strings.Contains(a.body, "not connected") || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s from %s: %d %s %v", route, origin, a.status, a.body, a.header)
			}
		}
		a := b.do(method, path+"?token="+token, nil)
		if a.status != 200 && !strings.Contains(a.body, "not connected") || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s %v", route, a.status, a.body, a.header)
		}
	}
	if name := b.withToken(http.MethodGet, "/api/auth/me", token).field("displayName"); name != "Grace" {
		t.Errorf("with Grace's token I am %v", name)
	}
}

func TestFrontendMayCallNothingElse(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := signedUp(t, s, "ada@example.org")
	for _, r := range routesOf(t, s) {
		if slices.Contains(foreignRoutes, r.method+" "+r.pattern) || strings.HasPrefix(r.pattern, "/webhooks/") ||
			r.method == http.MethodGet || r.method == http.MethodHead {
			continue
		}
		a := b.do(r.method, r.path(""), url.Values{}, "Origin", frontAt, "X-Auth-Token", token)
		if a.status != 403 || !strings.Contains(a.Find("h1").Text(), "Request blocked") {
			t.Errorf("%s %s: %d", r.method, r.pattern, a.status)
		}
	}
	for route, want := range map[string]int{
		"POST /api/nothing": 404, "PUT /api/strava/status": 404, "DELETE /api/auth/me": 404, "POST /nothing": 403,
	} {
		method, path, _ := strings.Cut(route, " ")
		a := b.do(method, path, nil, "Origin", frontAt, "X-Auth-Token", token)
		if a.status != want || (a.body == "{\"error\":\"Not found\"}\n") != (want == 404) {
			t.Errorf("%s: got %d %s, want %d", route, a.status, a.body, want)
		}
	}
	if !b.signedIn() {
		t.Error("the front end signed us out")
	}
}
