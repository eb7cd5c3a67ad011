package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cairn/internal/sandbox"
)

// meta is "code errorType" of the answer's envelope.
func meta(a answer) string {
	m, _ := a.json["meta"].(map[string]any)
	return fmt.Sprint(m["code"], " ", m["errorType"])
}

func TestFoursquareAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, change := range []string{
		"client_id=other",
		"redirect_uri",
		"redirect_uri=http://cairn.test/",
		"response_type=token",
	} {
		for _, method := range []string{"GET", "POST"} {
			form := url.Values{"person": {"ada"}, "decision": {"allow"}}
			a := r.do(method, r.authorizeURL(sandbox.Foursquare, change), form)
			if a.status != http.StatusBadRequest || a.header.Get("Location") != "" ||
				!strings.Contains(a.body, "this is not Foursquare") {
				t.Errorf("%s %s: %d to %q: %.200s", method, change, a.status, a.header.Get("Location"), a.body)
			}
		}
	}
	other := strings.Replace(r.authorizeURL(sandbox.Foursquare), "/authenticate?", "/authorize?", 1)
	r.wantStatus("the page that always asks", r.do("GET", other, nil), http.StatusOK)
}

func TestFoursquareToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first := r.connect(sandbox.Foursquare, "ada")
	if len(first.json) != 1 || len(first.text("access_token")) != 48 {
		t.Errorf("token answer %s", first.body)
	}
	code := r.allow(sandbox.Foursquare, "ada").Get("code")
	query := tokenForm(sandbox.Foursquare, "grant_type=authorization_code",
		"code="+code, "redirect_uri="+redirectURIs[sandbox.Foursquare]).Encode()
	again := r.do("GET", r.at(sandbox.Foursquare).Token+"?"+query, nil)
	if again.status != http.StatusOK || again.text("access_token") != first.text("access_token") {
		t.Errorf("by GET, a second time: %d, the same token %t",
			again.status, again.text("access_token") == first.text("access_token"))
	}
	if err := r.ExpireTokens(t.Context(), sandbox.Foursquare); err != nil {
		t.Fatal(err)
	}
	r.wantStatus("tokens that never expire", r.userInfo(sandbox.Foursquare, first.text("access_token")), http.StatusOK)
	for change, want := range map[string]string{
		"client_id=other": "invalid_client", "client_secret": "invalid_client", "code=0": "invalid_grant",
		"redirect_uri": "redirect_uri_mismatch", "redirect_uri=http://evil.test/": "redirect_uri_mismatch",
		"grant_type=refresh_token": "unsupported_grant_type",
	} {
		a := r.exchange(sandbox.Foursquare, r.allow(sandbox.Foursquare, "ada").Get("code"), change)
		if a.status != http.StatusBadRequest || a.body != `{"error":"`+want+`"}` {
			t.Errorf("%s: %d %s, want 400 %s", change, a.status, a.body, want)
		}
	}
}

func TestFoursquareSelf(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.connect(sandbox.Foursquare, "moss").text("access_token")
	self := r.at(sandbox.Foursquare).API + "/users/self"
	a := r.do("GET", self+"?v=20261101&oauth_token="+token, nil)
	user, _ := a.json["response"].(map[string]any)["user"].(map[string]any)
	if meta(a) != "200 <nil>" || user["id"] != "42" || user["firstName"] != "Moss" || a.json["notifications"] == nil {
		t.Errorf("self: %d %s", a.status, a.body)
	}
	if _, has := user["lastName"]; has {
		t.Error("a last name for someone without")
	}
	photo, _ := user["photo"].(map[string]any)
	picture := fmt.Sprintf("%v300x300%v", photo["prefix"], photo["suffix"])
	r.wantStatus("picture", r.do("GET", picture, nil), http.StatusOK)
	for _, c := range []struct {
		query, token, want string
		status             int
	}{
		{"", token, "410 param_error", http.StatusGone},
		{"?v=20120609", token, "410 param_error", http.StatusGone},
		{"?v=soon", token, "410 param_error", http.StatusGone},
		{"?v=20261101", "nonsense", "401 invalid_auth", http.StatusUnauthorized},
		{"?v=20261101", "", "401 invalid_auth", http.StatusUnauthorized},
	} {
		if a := r.get(self+c.query, c.token); a.status != c.status || meta(a) != c.want {
			t.Errorf("%s: %d %s, want %s", c.query, a.status, a.body, c.want)
		}
	}
	if a := r.get(r.at(sandbox.Foursquare).API+"/venues/1?v=20261101", token); meta(a) != "404 endpoint_error" {
		t.Errorf("unknown path: %d %s", a.status, a.body)
	}
}

type checkin struct {
	ID        string
	CreatedAt int64
}

func (r rig) checkins(token, query string) (int, []checkin) {
	r.t.Helper()
	a := r.get(r.at(sandbox.Foursquare).API+"/users/self/checkins?v=20261101&"+query, token)
	var body struct {
		Response struct {
			Checkins struct {
				Count int
				Items []checkin
			}
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || a.status != http.StatusOK {
		r.t.Fatalf("checkins?%s: %d %.200s", query, a.status, a.body)
	}
	return body.Response.Checkins.Count, body.Response.Checkins.Items
}

func TestFoursquareCheckins(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.connect(sandbox.Foursquare, "max").text("access_token")
	count, all := r.checkins(token, "limit=250")
	newestFirst := func(a, b checkin) int { return int(b.CreatedAt - a.CreatedAt) }
	if count != len(all) || count < 20 || !slices.IsSortedFunc(all, newestFirst) {
		t.Fatalf("%d of %d check-ins, or not newest first", len(all), count)
	}
	if n, got := r.checkins(token, "limit=5&offset=3"); n != count || !slices.Equal(got, all[3:8]) {
		t.Errorf("limit and offset: %d of %d", len(got), n)
	}
	middle := all[7].CreatedAt
	if _, got := r.checkins(token, fmt.Sprintf("limit=250&afterTimestamp=%d", middle)); !slices.Equal(got, all[:7]) {
		t.Errorf("after: %d, want 7", len(got))
	}
	if _, got := r.checkins(token, fmt.Sprintf("limit=250&beforeTimestamp=%d", middle)); !slices.Equal(got, all[8:]) {
		t.Errorf("before: %d, want %d", len(got), count-8)
	}
	_, oldest := r.checkins(token, "limit=250&sort=oldestfirst")
	if slices.Reverse(oldest); !slices.Equal(oldest, all) {
		t.Error("oldestfirst is not the reverse")
	}
	for _, query := range []string{"limit=251", "offset=-1", "sort=upwards", "afterTimestamp=x"} {
		a := r.get(r.at(sandbox.Foursquare).API+"/users/self/checkins?v=20261101&"+query, token)
		if meta(a) != "400 param_error" {
			t.Errorf("%s: %s", query, a.body)
		}
	}
}
