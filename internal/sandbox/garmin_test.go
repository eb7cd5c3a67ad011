package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

func TestGarminAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, change := range []string{
		"client_id=other",
		"redirect_uri",
		"redirect_uri=http://cairn.test/api/garmin/callback/",
		"redirect_uri=http://evil.test/",
		"response_type=token",
		"code_challenge",
		"code_challenge=short",
		"code_challenge=" + strings.Repeat("+", 43),
		"code_challenge_method",
		"code_challenge_method=plain",
	} {
		for _, method := range []string{"GET", "POST"} {
			form := url.Values{"person": {"ada"}, "decision": {"allow"}}
			a := r.do(method, r.authorizeURL(sandbox.Garmin, change), form)
			if a.status != http.StatusBadRequest || a.header.Get("Location") != "" ||
				!strings.Contains(a.body, "this is not Garmin Connect") {
				t.Errorf("%s %s: %d to %q: %.200s", method, change, a.status, a.header.Get("Location"), a.body)
			}
		}
	}
}

func TestGarminAndFoursquareCallbacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, provider := range []string{sandbox.Garmin, sandbox.Foursquare} {
		q := r.allow(provider, "ada")
		if len(q.Get("code")) < 32 || q.Get("state") != "st&te ü" || len(q) != 2 {
			t.Errorf("%s: allowed with %v", provider, q)
		}
		denied := r.do("POST", r.authorizeURL(provider), url.Values{"decision": {"deny"}})
		want := redirectURIs[provider] + "?error=access_denied&state=st%26te+%C3%BC"
		if got := denied.header.Get("Location"); got != want {
			t.Errorf("%s: denied to %s, want %s", provider, got, want)
		}
		denied = r.do("POST", r.authorizeURL(provider, "state"), url.Values{"decision": {"deny"}})
		if got, want := denied.header.Get("Location"), redirectURIs[provider]+"?error=access_denied"; got != want {
			t.Errorf("%s without state: denied to %s, want %s", provider, got, want)
		}
	}
}

func TestGarminTokenAnswer(t *testing.T) {
	t.Parallel()
	a := newRig(t).connect(sandbox.Garmin, "ada")
	access := a.text("access_token")
	if len(access) < 1000 || !strings.HasPrefix(access, "eyJ") || strings.Count(access, ".") != 2 {
		t.Errorf("access token %.60s…", access)
	}
	if !strings.HasPrefix(a.text("refresh_token"), "eyJ") || len(a.text("jti")) != 36 {
		t.Errorf("refresh token %.20s… jti %s", a.text("refresh_token"), a.text("jti"))
	}
	for field, want := range map[string]string{
		"token_type":               "bearer",
		"expires_in":               "86400",
		"refresh_token_expires_in": "7775998",
		"scope":                    "PARTNER_WRITE PARTNER_READ CONNECT_READ CONNECT_WRITE",
	} {
		if got := a.text(field); got != want {
			t.Errorf("%s %q, want %q", field, got, want)
		}
	}
	if len(a.json) != 7 {
		t.Errorf("%d fields, want 7", len(a.json))
	}
}

func TestGarminTokenRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct {
		change, want string
		status       int
	}{
		{"client_id=other", "invalid_client", http.StatusUnauthorized},
		{"client_secret", "invalid_client", http.StatusUnauthorized},
		{"code=0000", "invalid_grant", http.StatusBadRequest},
		{"redirect_uri", "invalid_grant", http.StatusBadRequest},
		{"redirect_uri=http://evil.test/", "invalid_grant", http.StatusBadRequest},
		{"code_verifier", "invalid_grant", http.StatusBadRequest},
		{"code_verifier=" + strings.Repeat("x", 43), "invalid_grant", http.StatusBadRequest},
		{"code_verifier=" + challenge, "invalid_grant", http.StatusBadRequest},
		{"grant_type=password", "unsupported_grant_type", http.StatusBadRequest},
	} {
		a := r.exchange(sandbox.Garmin, r.allow(sandbox.Garmin, "ada").Get("code"), c.change)
		if a.status != c.status || a.text("error") != c.want {
			t.Errorf("%s: %d %s, want %d %s", c.change, a.status, a.body, c.status, c.want)
		}
	}
	form := tokenForm(sandbox.Garmin, "client_id", "client_secret", "grant_type=refresh_token", "refresh_token=x")
	basic := r.do("POST", r.at(sandbox.Garmin).Token, form, "Authorization", basicAuth("garmin-id", "garmin-secret"))
	if basic.status != http.StatusUnauthorized || basic.text("error") != "invalid_client" {
		t.Errorf("Basic alone: %d %s", basic.status, basic.body)
	}
	inQuery := r.do("POST", r.at(sandbox.Garmin).Token+"?"+form.Encode(), nil)
	r.wantStatus("credentials in the query", inQuery, http.StatusUnauthorized)
}

func TestGarminWrongVerifierSpendsTheCode(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	code := r.allow(sandbox.Garmin, "ada").Get("code")
	r.exchange(sandbox.Garmin, code, "code_verifier="+strings.Repeat("x", 43))
	r.wantStatus("right verifier, too late", r.exchange(sandbox.Garmin, code), http.StatusBadRequest)
}

func TestGarminRefresh(t *testing.T) {
	t.Parallel()
	for _, keep := range []string{sandbox.Off, sandbox.On} {
		t.Run("old one kept "+keep, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.set(sandbox.Garmin, sandbox.KeepOldRefresh, keep)
			first := r.connect(sandbox.Garmin, "ada")
			second := r.refresh(sandbox.Garmin, first.text("refresh_token"))
			if second.status != http.StatusOK || second.text("refresh_token") == first.text("refresh_token") ||
				second.text("access_token") == first.text("access_token") {
				t.Fatalf("refresh: %d, or tokens that are not new", second.status)
			}
			old := r.refresh(sandbox.Garmin, first.text("refresh_token"))
			if keep == sandbox.On {
				r.wantStatus("old refresh token", old, http.StatusOK)
				return
			}
			if old.status != http.StatusBadRequest || old.text("error") != "invalid_grant" ||
				old.text("error_description") != "Invalid refresh token: "+first.text("refresh_token") {
				t.Errorf("old refresh token: %d %s", old.status, old.body)
			}
			r.exec(`UPDATE cairn_sandbox.tokens SET expires_at = now() WHERE kind = 'refresh'`)
			r.wantStatus("after 90 days",
				r.refresh(sandbox.Garmin, second.text("refresh_token")), http.StatusBadRequest)
		})
	}
}

func TestGarminAccount(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	access := r.connect(sandbox.Garmin, "zofie", "ACTIVITY_EXPORT", "HISTORICAL_DATA_EXPORT").text("access_token")
	got := strings.TrimSpace(r.userInfo(sandbox.Garmin, access).body)
	if got != `{"userId":"8c1f0e5b-6a9c-4d33-95b1-072e84c1f9a7"}` {
		t.Errorf("user id: %s", got)
	}
	rest := r.at(sandbox.Garmin).API + "/wellness-api/rest/"
	got = r.get(rest+"user/permissions", access).body
	if got != `{"permissions":["ACTIVITY_EXPORT","HISTORICAL_DATA_EXPORT"]}` {
		t.Errorf("permissions: %s", got)
	}
	nothing := r.connect(sandbox.Garmin, "moss").text("access_token")
	if got := r.get(rest+"user/permissions", nothing).body; got != `{"permissions":[]}` {
		t.Errorf("no permissions: %s", got)
	}
	r.wantStatus("no token", r.do("GET", rest+"user/id", nil), http.StatusUnauthorized)
	r.wantStatus("unknown token", r.get(rest+"user/id", "nonsense"), http.StatusForbidden)
	if a := r.get(rest+"sleeps", access); a.status != http.StatusNotFound || a.json["errorMessage"] == nil {
		t.Errorf("unknown path: %d %s", a.status, a.body)
	}
}

func TestGarminDeregister(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tokens := r.connect(sandbox.Garmin, "ada")
	end := func() answer {
		return r.do("DELETE", r.at(sandbox.Garmin).Revoke, nil, "Authorization", "Bearer "+tokens.text("access_token"))
	}
	if a := end(); a.status != http.StatusNoContent || a.body != "" {
		t.Errorf("deregister: %d %q", a.status, a.body)
	}
	r.wantStatus("once more", end(), http.StatusForbidden)
	r.wantStatus("user info", r.userInfo(sandbox.Garmin, tokens.text("access_token")), http.StatusForbidden)
	r.wantStatus("refresh", r.refresh(sandbox.Garmin, tokens.text("refresh_token")), http.StatusBadRequest)
}

func TestGarminActivities(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	access := r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT").text("access_token")
	bare := r.get(fmt.Sprintf("%s/wellness-api/rest/activities?uploadStartTimeInSeconds=%d&uploadEndTimeInSeconds=%d",
		r.at(sandbox.Garmin).API, time.Now().Unix()-3600, time.Now().Unix()), access)
	if bare.status != http.StatusBadRequest || bare.text("errorMessage") != "InvalidPullTokenException failure" {
		t.Errorf("with an access token only: %d %s", bare.status, bare.body)
	}

	pullURL := r.pullURL()
	var list []map[string]any
	a := r.do("GET", pullURL, nil)
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != http.StatusOK || len(list) == 0 {
		t.Fatalf("pull: %d %.200s", a.status, a.body)
	}
	if list[0]["summaryId"] == "" || list[0]["deviceName"] != "Garmin Forerunner 965" ||
		list[0]["startTimeInSeconds"] == nil {
		t.Errorf("summary %v", list[0])
	}
	u, _ := url.Parse(pullURL)
	for change, want := range map[string]string{
		"uploadStartTimeInSeconds":               "Missing time range parameters",
		"uploadEndTimeInSeconds=soon":            "Missing time range parameters",
		"uploadStartTimeInSeconds=1":             "Time range must be between 0 and 86400 seconds",
		"uploadStartTimeInSeconds=1790000000000": "Start time is in the future; times are in seconds",
		"token=" + strings.Repeat("0", 32):       "InvalidPullTokenException failure",
	} {
		q := u.Query()
		name, value, found := strings.Cut(change, "=")
		if q.Set(name, value); !found {
			q.Del(name)
		}
		a := r.do("GET", r.at(sandbox.Garmin).API+"/wellness-api/rest/activities?"+q.Encode(), nil)
		if a.status != http.StatusBadRequest || a.text("errorMessage") != want {
			t.Errorf("%s: %d %s, want 400 %s", change, a.status, a.body, want)
		}
	}
	r.allow(sandbox.Garmin, "ada", "HEALTH_EXPORT")
	r.wantStatus("activities no longer permitted", r.do("GET", pullURL, nil), http.StatusPreconditionFailed)
	r.exec(`UPDATE cairn_sandbox.tokens SET expires_at = now() WHERE kind = 'pull'`)
	r.wantStatus("pull token of yesterday", r.do("GET", pullURL, nil), http.StatusBadRequest)
	if _, err := r.PullURL(t.Context(), 4711); err != sandbox.ErrNoGrant {
		t.Errorf("pull URL of an unknown grant: %v", err)
	}
}

// pullURL makes one for the newest grant.
func (r rig) pullURL() string {
	r.t.Helper()
	grants, err := r.Grants(r.t.Context(), sandbox.Garmin)
	if err != nil || len(grants) == 0 {
		r.t.Fatalf("grants %v, %v", grants, err)
	}
	pullURL, err := r.PullURL(r.t.Context(), grants[0].ID)
	if err != nil {
		r.t.Fatal(err)
	}
	return pullURL
}
