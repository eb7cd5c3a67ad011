package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

// stravaCause is resource/field/code of the answer's only error.
func stravaCause(a answer) string {
	var body struct {
		Errors []struct{ Resource, Field, Code string }
	}
	if err := json.Unmarshal([]byte(a.body), &body); err != nil || len(body.Errors) != 1 {
		return "no single Strava error: " + a.body
	}
	e := body.Errors[0]
	return e.Resource + "/" + e.Field + "/" + e.Code
}

func TestStravaAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct{ change, want string }{
		{"client_id=other", "Application/client_id/invalid"},
		{"client_id", "Application/client_id/invalid"},
		{"redirect_uri", "Application/redirect_uri/invalid"},
		{"redirect_uri=http://evil.test/", "Application/redirect_uri/invalid"},
		{"redirect_uri=http://evilcairn.test/", "Application/redirect_uri/invalid"},
		{"redirect_uri=http://cairn.test@evil.test/", "Application/redirect_uri/invalid"},
		{"redirect_uri=javascript://cairn.test/%0aalert(1)", "Application/redirect_uri/invalid"},
		{"response_type=token", "Authorize/response_type/invalid"},
		{"scope", "Authorize/scope/invalid"},
		{"scope=read activity:read", "Authorize/scope/invalid"},
		{"scope=read,everything", "Authorize/scope/invalid"},
	} {
		for _, method := range []string{"GET", "POST"} {
			form := url.Values{"person": {"ada"}, "decision": {"allow"}}
			a := r.do(method, r.authorizeURL(sandbox.Strava, c.change), form)
			if a.status != http.StatusBadRequest || stravaCause(a) != c.want || a.header.Get("Location") != "" {
				t.Errorf("%s %s: %d %s to %q, want 400 %s",
					method, c.change, a.status, stravaCause(a), a.header.Get("Location"), c.want)
			}
		}
	}
	for _, fine := range []string{
		"http://cairn.test/elsewhere",
		"https://www.cairn.test/",
		"http://localhost:4000/x",
		"http://127.0.0.1/x",
	} {
		r.wantStatus(fine, r.do("GET", r.authorizeURL(sandbox.Strava, "redirect_uri="+fine), nil), http.StatusOK)
	}
}

func TestStravaCallback(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	back := redirectURIs[sandbox.Strava] + "?state=st%26te+%C3%BC"
	for _, c := range []struct {
		name, form, want string // want: what follows the state, with CODE for 40 hex digits
	}{
		{
			"all",
			"decision=allow&person=ada&scope=read&scope=activity:read_all&scope=profile:read_all",
			"&code=CODE&scope=read,profile:read_all,activity:read_all",
		},
		{
			"one unticked",
			"decision=allow&person=ada&scope=activity:read_all",
			"&code=CODE&scope=read,activity:read_all",
		},
		{"all unticked", "decision=allow&person=ada", "&code=CODE&scope=read"},
		{"more than was asked for", "decision=allow&person=ada&scope=activity:write", "&code=CODE&scope=read"},
		{"denied", "decision=deny&person=ada&scope=activity:read_all", "&error=access_denied"},
	} {
		form, _ := url.ParseQuery(c.form)
		a := r.do("POST", r.authorizeURL(sandbox.Strava), form)
		got := a.header.Get("Location")
		_, code, found := strings.Cut(got, "&code=")
		if found && len(code) >= 40 && strings.Trim(code[:40], "0123456789abcdef") == "" {
			got = strings.Replace(got, code[:40], "CODE", 1)
		}
		if a.status != http.StatusSeeOther || got != back+c.want {
			t.Errorf("%s: %d to %s\nwant %s", c.name, a.status, got, back+c.want)
		}
	}
	withQuery := r.authorizeURL(sandbox.Strava, "state", "redirect_uri=http://cairn.test/x?y=1")
	a := r.do("POST", withQuery, url.Values{"decision": {"deny"}})
	if got, want := a.header.Get("Location"), "http://cairn.test/x?y=1?state=&error=access_denied"; got != want {
		t.Errorf("without state and behind a query: %s, want %s", got, want)
	}
}

func TestStravaTokenAnswer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	a := r.connect(sandbox.Strava, "moss", "activity:read_all")
	athlete, _ := a.json["athlete"].(map[string]any)
	if fmt.Sprint(athlete["id"]) != "9007199254740993" || athlete["lastname"] != "" || athlete["username"] != nil {
		t.Errorf("athlete %v", athlete)
	}
	expires, _ := a.json["expires_at"].(json.Number).Int64()
	if left := time.Until(time.Unix(expires, 0)); left < 5*time.Hour || left > 7*time.Hour {
		t.Errorf("expires_at is %s away, want about 6 h", left)
	}
	if a.text("expires_in") != "21600" || a.text("token_type") != "Bearer" ||
		a.text("scope") != "read activity:read_all" ||
		len(a.text("access_token")) != 40 || len(a.text("refresh_token")) != 40 {
		t.Errorf("token answer %s", a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	again := r.refresh(sandbox.Strava, a.text("refresh_token"))
	if again.status != http.StatusOK || again.json["athlete"] != nil {
		t.Errorf("refresh: %d %s, want 200 without athlete", again.status, again.body)
	}
}

func TestStravaTokenRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	code := r.allow(sandbox.Strava, "ada").Get("code")
	for _, c := range []struct{ change, want string }{
		{"client_id=other", "Application/client_id/invalid"},
		{"client_secret=other", "Application/client_secret/invalid"},
		{"client_secret", "Application/client_secret/invalid"},
		{"grant_type=password", "Authorize/grant_type/invalid"},
		{"code=0000", "RequestToken/code/invalid"},
		{"code", "RequestToken/code/invalid"},
	} {
		if a := r.exchange(sandbox.Strava, code, c.change); a.status != http.StatusBadRequest ||
			stravaCause(a) != c.want {
			t.Errorf("%s: %d %s, want 400 %s", c.change, a.status, a.body, c.want)
		}
	}
	basic := r.do("POST", r.at(sandbox.Strava).Token, url.Values{"grant_type": {"authorization_code"}, "code": {code}},
		"Authorization", basicAuth("strava-id", "strava-secret"))
	if stravaCause(basic) != "Application/client_id/invalid" {
		t.Errorf("Basic alone: %d %s", basic.status, basic.body)
	}
	form := tokenForm(sandbox.Strava, "grant_type=authorization_code", "code="+code)
	inQuery := r.do("POST", r.at(sandbox.Strava).Token+"?"+form.Encode(), nil)
	r.wantStatus("everything in the query, and the code still unspent", inQuery, http.StatusOK)
}

func TestStravaRefresh(t *testing.T) {
	t.Parallel()
	for _, rotate := range []string{sandbox.On, sandbox.Off} {
		t.Run("rotation "+rotate, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.set(sandbox.Strava, sandbox.RotateRefresh, rotate)
			first := r.connect(sandbox.Strava, "ada")
			second := r.refresh(sandbox.Strava, first.text("refresh_token"))
			if second.text("access_token") != first.text("access_token") {
				t.Error("a new access token though the old one had hours left")
			}
			rotated := second.text("refresh_token") != first.text("refresh_token")
			old := r.refresh(sandbox.Strava, first.text("refresh_token"))
			if rotate == sandbox.On && (!rotated || old.status != http.StatusBadRequest ||
				stravaCause(old) != "RefreshToken/refresh_token/invalid") {
				t.Errorf("rotated %t, old one afterwards %d %s", rotated, old.status, old.body)
			}
			if rotate == sandbox.Off && (rotated || old.status != http.StatusOK) {
				t.Errorf("rotated %t, old one afterwards %d", rotated, old.status)
			}

			r.exec(`UPDATE cairn_sandbox.tokens SET expires_at = now() + interval '59 minutes' WHERE kind = 'access'`)
			third := r.refresh(sandbox.Strava, second.text("refresh_token"))
			if third.text("access_token") == first.text("access_token") || third.text("expires_in") != "21600" {
				t.Errorf("with an hour left: %s", third.body)
			}
			r.wantStatus("old access token until it ends",
				r.userInfo(sandbox.Strava, first.text("access_token")), http.StatusOK)
			r.wantStatus("new access token", r.userInfo(sandbox.Strava, third.text("access_token")), http.StatusOK)
		})
	}
}

func TestRotatedRefreshTokensAreSpentOnce(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			token := r.connect(provider, "ada").text("refresh_token")
			counts := parallel(func() answer { return r.refresh(provider, token) })
			if counts[http.StatusOK] != 1 || counts[http.StatusBadRequest] != 7 {
				t.Errorf("statuses %v, want one 200 and seven 400", counts)
			}
		})
	}
}

func TestStravaConsentAgainEndsTheOldRefreshToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	first, second := r.connect(sandbox.Strava, "ada"), r.connect(sandbox.Strava, "ada")
	if first.text("access_token") != second.text("access_token") {
		t.Error("two access tokens for one grant")
	}
	r.wantStatus("first refresh token", r.refresh(sandbox.Strava, first.text("refresh_token")), http.StatusBadRequest)
	r.wantStatus("second refresh token", r.refresh(sandbox.Strava, second.text("refresh_token")), http.StatusOK)
}

func TestNewClientSecretMakesNewTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	old := r.connect(sandbox.Strava, "ada")
	o := optionsFor(t, r.pool, "")
	app := o.Apps[sandbox.Strava]
	app.ClientSecret = "another"
	o.Apps[sandbox.Strava] = app
	changed := serve(t, o)
	a := changed.do("POST", changed.at(sandbox.Strava).Token, tokenForm(sandbox.Strava, "client_secret=another",
		"grant_type=refresh_token", "refresh_token="+old.text("refresh_token")))
	changed.wantStatus("refresh with the new secret", a, http.StatusOK)
	changed.wantStatus("token it gave", changed.userInfo(sandbox.Strava, a.text("access_token")), http.StatusOK)
}

func TestStravaAthlete(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	summary := r.userInfo(sandbox.Strava, r.connect(sandbox.Strava, "zofie").text("access_token"))
	if summary.text("id") != "5000000202" || summary.text("lastname") != "Ångström-李" ||
		summary.text("resource_state") != "2" {
		t.Errorf("summary %s", summary.body)
	}
	r.wantStatus("picture", r.do("GET", summary.text("profile"), nil), http.StatusOK)
	detail := r.userInfo(sandbox.Strava, r.connect(sandbox.Strava, "zofie", "profile:read_all").text("access_token"))
	if detail.text("resource_state") != "3" || detail.json["measurement_preference"] == nil {
		t.Errorf("detail %s", detail.body)
	}
	bad := r.userInfo(sandbox.Strava, "nonsense")
	if bad.status != http.StatusUnauthorized || stravaCause(bad) != "Athlete/access_token/invalid" {
		t.Errorf("bad token: %d %s", bad.status, bad.body)
	}
	for _, a := range []answer{summary, bad} {
		if a.header.Get("X-RateLimit-Limit") != "200,2000" || a.header.Get("X-ReadRateLimit-Limit") != "100,1000" {
			t.Errorf("rate headers %v", a.header)
		}
	}
	if summary.header.Get("X-RateLimit-Usage") == bad.header.Get("X-RateLimit-Usage") {
		t.Error("usage does not grow")
	}
}

type activity struct {
	ID        int64
	StartDate time.Time `json:"start_date"`
	Private   bool
}

func (r rig) activities(token, query string) []activity {
	r.t.Helper()
	a := r.get(r.at(sandbox.Strava).API+"/athlete/activities?"+query, token)
	var list []activity
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK {
		r.t.Fatalf("activities?%s: %d %.200s", query, a.status, a.body)
	}
	return list
}

func TestStravaActivities(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	none := r.get(r.at(sandbox.Strava).API+"/athlete/activities", r.connect(sandbox.Strava, "ada").text("access_token"))
	if none.status != http.StatusUnauthorized || stravaCause(none) != "AccessToken/activity:read_permission/missing" {
		t.Errorf("without the scope: %d %s", none.status, none.body)
	}
	token := r.connect(sandbox.Strava, "ada", "activity:read_all").text("access_token")
	all := r.activities(token, "per_page=200")
	if len(all) < 31 || all[0].ID < 1<<32 || time.Since(all[0].StartDate) > 14*24*time.Hour {
		t.Fatalf("%d activities, the newest %+v", len(all), all[0])
	}
	if !slices.IsSortedFunc(all, func(a, b activity) int { return b.StartDate.Compare(a.StartDate) }) {
		t.Error("not newest first")
	}
	paged := slices.Concat(r.activities(token, ""), r.activities(token, "page=2"), r.activities(token, "page=3"))
	if !slices.Equal(paged, all) {
		t.Errorf("pages of 30 give %d activities, want the same %d", len(paged), len(all))
	}
	if got := r.activities(token, "page=99"); len(got) != 0 {
		t.Errorf("past the end: %d", len(got))
	}
	middle := all[10].StartDate.Unix()
	older := r.activities(token, fmt.Sprintf("per_page=200&before=%d", middle))
	newer := r.activities(token, fmt.Sprintf("per_page=200&after=%d", middle))
	slices.Reverse(newer)
	if !slices.Equal(newer, all[:10]) || !slices.Equal(older, all[11:]) {
		t.Errorf("after gives %d and before %d of %d; after must be oldest first", len(newer), len(older), len(all))
	}
	moss := r.connect(sandbox.Strava, "moss", "activity:read_all").text("access_token")
	if got := r.activities(moss, ""); len(got) != 0 {
		t.Errorf("Moss did %d things", len(got))
	}
}

func TestStravaHidesPrivateActivities(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.connect(sandbox.Strava, "ada", "activity:read_all").text("access_token")
	all := r.activities(token, "per_page=200")
	public := slices.DeleteFunc(slices.Clone(all), func(a activity) bool { return a.Private })
	if len(public) == len(all) {
		t.Fatal("nothing is private")
	}
	a := r.do("POST", r.authorizeURL(sandbox.Strava, "scope=read,activity:read"),
		url.Values{"person": {"ada"}, "decision": {"allow"}, "scope": {"activity:read"}})
	r.wantStatus("consent to less", a, http.StatusSeeOther)
	if got := r.activities(token, "per_page=200"); !slices.Equal(got, public) {
		t.Errorf("%d activities, want the %d public ones", len(got), len(public))
	}
}

func TestStravaActivitiesRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := r.connect(sandbox.Strava, "ada", "activity:read_all").text("access_token")
	for query, want := range map[string]string{
		fmt.Sprintf("after=%d", time.Now().UnixMilli()): "Application/after/future",
		"after=yesterday": "Application/after/invalid",
		"per_page=201":    "Application/per_page/invalid",
		"page=0":          "Application/page/invalid",
	} {
		a := r.get(r.at(sandbox.Strava).API+"/athlete/activities?"+query, token)
		if a.status != http.StatusBadRequest || stravaCause(a) != want {
			t.Errorf("%s: %d %s, want 400 %s", query, a.status, a.body, want)
		}
	}
	r.wantStatus("unknown path", r.get(r.at(sandbox.Strava).API+"/clubs/1", token), http.StatusNotFound)
}

func TestStravaRevoke(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	revoke := r.at(sandbox.Strava).Revoke
	good := basicAuth("strava-id", "strava-secret")
	for _, kind := range []string{"access_token", "refresh_token"} {
		tokens := r.connect(sandbox.Strava, "ada")
		form := url.Values{"token": {tokens.text(kind)}}
		r.wantStatus("without Basic", r.do("POST", revoke, form), http.StatusUnauthorized)
		wrong := r.do("POST", revoke, form, "Authorization", basicAuth("strava-id", "x"))
		r.wantStatus("wrong secret", wrong, http.StatusUnauthorized)
		r.wantStatus("not yet revoked", r.userInfo(sandbox.Strava, tokens.text("access_token")), http.StatusOK)
		r.wantStatus(kind, r.do("POST", revoke, form, "Authorization", good), http.StatusOK)
		r.wantStatus("access token afterwards",
			r.userInfo(sandbox.Strava, tokens.text("access_token")), http.StatusUnauthorized)
		r.wantStatus("refresh token afterwards",
			r.refresh(sandbox.Strava, tokens.text("refresh_token")), http.StatusBadRequest)
		r.wantStatus("once more", r.do("POST", revoke, form, "Authorization", good), http.StatusOK)
	}
}

func TestStravaDeauthorize(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Strava, sandbox.RevokeEndpoint, sandbox.Off)
	tokens := r.connect(sandbox.Strava, "ada")
	access := tokens.text("access_token")
	revoke := r.at(sandbox.Strava).Revoke
	r.wantStatus("revoke that does not exist", r.do("POST", revoke, url.Values{"token": {access}},
		"Authorization", basicAuth("strava-id", "strava-secret")), http.StatusNotFound)
	old := strings.TrimSuffix(revoke, "/revoke") + "/deauthorize"
	a := r.do("POST", old, nil, "Authorization", "Bearer "+access)
	if a.status != http.StatusOK || a.text("access_token") != access {
		t.Errorf("deauthorize: %d %s", a.status, a.body)
	}
	r.wantStatus("with a dead token", r.do("POST", old, url.Values{"access_token": {access}}), http.StatusUnauthorized)
	r.wantStatus("refresh afterwards", r.refresh(sandbox.Strava, tokens.text("refresh_token")), http.StatusBadRequest)
}

func basicAuth(user, password string) string {
	request := http.Request{Header: http.Header{}}
	request.SetBasicAuth(user, password)
	return request.Header.Get("Authorization")
}
