package routes_test

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"cairn/internal/sandbox"
)

func TestConnectCheckDisconnect(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		provider, name, account, subject, permission, gone string
	}{
		{"strava", "Strava", "Ada Example", "5000000101", "including those only you can see", "asking it to remove"},
		{"garmin", "Garmin", "", "d3315b1072e84c1f9a7c1f0e5b6a9c01", "Receive your activities", "asking it to remove"},
		{"foursquare", "Foursquare", "Ada Example", "1234567", "check-ins", "Only you can remove Cairn there"},
	} {
		t.Run(tt.provider, func(t *testing.T) {
			t.Parallel()
			b := signedUp(t, newSite(t), "ada@example.org")
			selector := "#card-" + tt.provider
			b.get("/").want(200, selector+"[data-state=none] button", "Connect")
			b.connect(tt.provider, "ada").to("/")
			page := b.get("/connections").want(200, selector+" > #notice", tt.name+" is connected")
			page.want(200, selector+"[data-state=active]", "")
			for _, text := range []string{tt.account, tt.subject, tt.permission} {
				page.want(200, selector, text)
			}
			if page.Find("[href*='/people/'], [src*='/people/']").Length() != 0 {
				t.Error("the card leads to the picture at the provider")
			}
			if page.Find(selector+" time").Length() == 0 {
				t.Error("the card does not say when it was connected")
			}
			b.post("/connections/" + tt.provider + "/check").to("/connections#card-" + tt.provider)
			b.get("/connections").want(200, selector+" > #notice", "the connection works")
			b.connect(tt.provider, "ada").to("/") // again
			b.get("/connections").want(200, selector+"[data-state=active]", "")
			b.post("/connections/" + tt.provider + "/disconnect").to("/connections#card-" + tt.provider)
			page = b.get("/connections").want(200, selector+" #notice", tt.gone).want(200, selector+" form.connect", "")
			leads := page.Find("#notice a[href='https://foursquare.com/settings/connections']").Length() == 1
			if leads != (tt.provider == "foursquare") {
				t.Errorf("the notice leads to where the person takes the access back: %t", leads)
			}
			b.post("/connections/"+tt.provider+"/disconnect").want(404, "h1", "")
		})
	}
}

func TestCallbackProblems(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	other := signedUp(t, s, "moss@example.org")
	fresh := func() string { return b.decide(b.consent("/connect/strava"), "ada", "allow") }
	used := fresh()
	b.get(used).to("/")
	b.post("/connections/strava/disconnect").to("/connections#card-strava")
	old := fresh()
	_, err := s.pool.Exec(t.Context(), `
		UPDATE cairn.oauth_attempts SET created_at = now() - interval '11 minutes'`)
	if err != nil {
		t.Fatal(err)
	}
	without := func(callback, name string) string {
		u, _ := url.Parse(callback)
		q := u.Query()
		q.Del(name)
		return u.Path + "?" + q.Encode()
	}
	tests := []struct {
		name     string
		by       browser
		callback string
		text     string
	}{
		{"bare", b, "/api/strava/auth/callback", "no longer valid"},
		{"no state", b, without(fresh(), "state"), "no longer valid"},
		{"wrong state", b, "/api/strava/auth/callback?code=x&state=AAAAAAAAAAAAAAAAAAAAAAAAAA", "no longer valid"},
		{"used", b, used, "no longer valid"},
		{"old", b, old, "no longer valid"},
		{"other provider's path", b,
			strings.Replace(fresh(), "/api/strava/auth/callback", "/api/garmin/callback", 1), "no longer valid"},
		{"other user", other, fresh(), "started in another browser"},
		{"nobody", newBrowser(t, s), fresh(), "started in another browser"},
	}
	for _, tt := range tests {
		a := tt.by.failed(tt.callback).want(200, "#notice.bad", tt.text)
		forms := a.Find("form[action='/connect/strava'], form[action='/login/strava']").Length()
		if !strings.Contains(a.Find("#notice").Text(), "Nothing was changed") || forms != 1 {
			t.Errorf("%s: the page lacks what to do, or that nothing was changed", tt.name)
		}
		if regexp.MustCompile(`[?&;](state|code)=`).MatchString(a.body) {
			t.Errorf("%s: the page repeats the query", tt.name)
		}
	}
	b.get("/connections").want(200, "#card-strava[data-state=revoking]", "") // since the person disconnected it
	other.get("/connections").want(200, "#card-strava[data-state=none]", "")
}

func TestSignedOutHalfWay(t *testing.T) {
	t.Parallel()
	b := signedUp(t, newSite(t), "ada@example.org")
	callback := b.decide(b.consent("/connect/strava"), "ada", "allow")
	b.post("/logout").to("/?notice=signed-out")
	b.failed(callback).want(200, "form[action='/login']", "").want(200, "#notice", "no longer valid")
}

func TestDeclinedAndUnticked(t *testing.T) {
	t.Parallel()
	b := signedUp(t, newSite(t), "ada@example.org")
	b.get(b.decide(b.consent("/connect/strava"), "ada", "deny")).to("/")
	b.get("/connections").want(200, "#card-strava[data-state=none] > #notice", "Strava was not connected")
	b.connect("strava", "ada", "read").to("/")
	b.get("/connections").want(200, "#card-strava > #notice", "without your activities").
		want(200, "#card-strava[data-state=limited] form[action='/connect/strava'] button", "")
	b.connect("strava", "ada").to("/")
	b.get("/connections").want(200, "#card-strava[data-state=active]", "")
}

func TestRevokedAtTheProvider(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	grants, err := s.sandbox.Grants(t.Context(), sandbox.Strava)
	if err != nil || len(grants) != 1 {
		t.Fatalf("%d grants, error %v", len(grants), err)
	}
	if err := s.sandbox.RevokeGrant(t.Context(), grants[0].ID); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/strava/check").to("/connections#card-strava")
	if notice := b.get("/").Find("#notice").Text(); notice != "" {
		t.Errorf("beside that, the page says %q", notice)
	}
	b.get("/connections").want(200, "#card-strava .banner", "Strava disconnected Cairn").
		want(200, "#card-strava[data-state=needs_reconnect] form[action='/connect/strava'] button", "econnect")
	b.connect("strava", "ada").to("/")
	page := b.get("/connections").want(200, "#card-strava[data-state=active]", "")
	var story []string
	page.Find("#card-strava .events li").Each(func(_ int, li *goquery.Selection) {
		story = append(story, strings.SplitN(li.Text(), " ·", 2)[0])
	})
	want := []string{"You reconnected Strava", "Strava refused to renew our access", "You connected Strava"}
	if !slices.Equal(story, want) {
		t.Errorf("the history is %q, want %q", story, want)
	}
}

func TestNamesFromProvidersAreEscaped(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	b.get(b.decide(b.consent("/login/strava"), "max", "allow")).to("/")
	for _, path := range []string{"/connections", "/account"} {
		a := b.get(path).want(200, "header", `Featherstonehaugh & O'Brien <of> "Llanfairpwll"`)
		a.want(200, "main", `Featherstonehaugh & O'Brien <of> "Llanfairpwll"`)
		if a.Find("of").Length() != 0 {
			t.Errorf("%s: a name became an element", path)
		}
	}
}

// A GET changes nothing, and a scanner's HEAD does not consume an attempt.
func TestSafeMethodsChangeNothing(t *testing.T) {
	t.Parallel()
	b := signedUp(t, newSite(t), "ada@example.org")
	for _, path := range []string{"/logout", "/connect/strava", "/connections/strava/check", "/login/strava"} {
		if a := b.get(path).want(405, "h1", ""); a.header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q, want POST", path, a.header.Get("Allow"))
		}
	}
	callback := b.decide(b.consent("/connect/strava"), "ada", "allow")
	a := b.do(http.MethodHead, callback, nil)
	if a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET" {
		t.Errorf("HEAD on the callback: %d, Allow %q", a.status, a.header.Get("Allow"))
	}
	b.get(callback).to("/")
	if !b.signedIn() {
		t.Error("signed out by a GET")
	}
}

func TestFormsFromOtherSitesAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"},
		{"Sec-Fetch-Site", "same-site"},
		{"Origin", "https://evil.example"},
		{"Origin", "null"},
	} {
		for _, path := range []string{
			"/logout",
			"/login",
			"/signup",
			"/connect/strava",
			"/connections/strava/disconnect",
			"/account/name",
			"/login/strava",
		} {
			a := b.do(http.MethodPost, path, url.Values{}, header...)
			a.want(403, "h1", "Request blocked")
		}
	}
	if !b.signedIn() {
		t.Error("another site signed us out")
	}
	if a := b.do(http.MethodPost, "/logout", url.Values{}, "Origin", s.url); a.status != http.StatusSeeOther {
		t.Errorf("our own origin: %d", a.status)
	}
}

func TestSandboxLivesOnAnotherSite(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := newBrowser(t, s)
	there := strings.Replace(s.url, "localhost", "127.0.0.1", 1)
	b.get("/sandbox/").to(there + "/sandbox/")
	b.get(there + "/account").to(s.url + "/account")
	b.get(there+"/sandbox/").want(200, "h1", "")
	b.post("/sandbox/control/strava/expire").want(404, "", "")
	b.get(there+"/readyz").want(200, "", "")
	b.get("/").want(200, "#sandbox", "andbox")
}
