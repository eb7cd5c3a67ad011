package sandbox_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

func TestTokenFailures(t *testing.T) {
	t.Parallel()
	for provider, causes := range map[string]map[string]string{
		sandbox.Strava: {
			"400": "RequestToken/code/invalid",
			"401": "Athlete/access_token/invalid",
			"403": "Application/Athletes/limit of connected athletes exceeded",
			"429": "Application/overall rate limit/exceeded",
		},
		sandbox.Garmin: {
			"400": "invalid_grant",
			"401": "invalid_client",
			"403": "access_denied",
			"429": "temporarily_unavailable",
			"500": "temporarily_unavailable",
		},
		sandbox.Foursquare: {
			"400": "invalid_grant",
			"401": "invalid_client",
			"403": "unauthorized_client",
			"429": "server_error",
			"500": "server_error",
		},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			code := r.allow(provider, "ada").Get("code")
			for status, want := range causes {
				r.set(provider, sandbox.Token, status)
				a := r.exchange(provider, code)
				got := a.text("error")
				if provider == sandbox.Strava {
					got = stravaCause(a)
				}
				if status != strconv.Itoa(a.status) || got != want {
					t.Errorf("%s: %d %s, want %s", status, a.status, a.body, want)
				}
			}
			r.set(provider, sandbox.Token, sandbox.ModeNone)
			r.wantStatus("the code, after all that", r.exchange(provider, code), http.StatusOK)
		})
	}
}

func TestAPIFailures(t *testing.T) {
	t.Parallel()
	for provider, causes := range map[string]map[string]string{
		sandbox.Strava: {
			"401": "Athlete/access_token/invalid",
			"403": "Application/Status/Inactive",
			"429": "Application/overall rate limit/exceeded",
		},
		sandbox.Garmin: {
			"401": "Unauthorized",
			"403": "Forbidden",
			"429": "Too Many Requests",
			"500": "Internal Server Error",
		},
		sandbox.Foursquare: {
			"400": "400 param_error",
			"401": "401 invalid_auth",
			"403": "403 rate_limit_exceeded",
			"429": "429 quota_exceeded",
			"500": "500 server_error",
		},
	} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			access := r.connect(provider, "ada").text("access_token")
			for status, want := range causes {
				r.set(provider, sandbox.API, status)
				a := r.userInfo(provider, access)
				got := map[string]func() string{
					sandbox.Strava:     func() string { return stravaCause(a) },
					sandbox.Garmin:     func() string { return a.text("errorMessage") },
					sandbox.Foursquare: func() string { return meta(a) },
				}[provider]()
				if status != strconv.Itoa(a.status) || got != want {
					t.Errorf("%s: %d %s, want %s", status, a.status, a.body, want)
				}
			}
			r.set(provider, sandbox.API, sandbox.ModeNone)
			r.wantStatus("put right again", r.userInfo(provider, access), http.StatusOK)
		})
	}
}

func TestOddAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, call := range []string{sandbox.Token, sandbox.API} {
		ask := func() answer {
			if call == sandbox.Token {
				return r.exchange(sandbox.Foursquare, "x")
			}
			return r.userInfo(sandbox.Foursquare, "x")
		}
		for mode, ok := range map[string]func(answer) bool{
			sandbox.ModeEmpty: func(a answer) bool { return a.body == "" },
			sandbox.ModeHTML: func(a answer) bool {
				return strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
			},
			sandbox.ModeHuge: func(a answer) bool { return len(a.body) > 10<<20 && a.json["padding"] != "" },
			"200": func(a answer) bool {
				return a.text("error") == "invalid_grant" || meta(a) == "400 param_error"
			},
		} {
			r.set(sandbox.Foursquare, call, mode)
			if a := ask(); a.status != http.StatusOK || !ok(a) {
				t.Errorf("%s %s: %d %.200s", call, mode, a.status, a.body)
			}
		}
		r.set(sandbox.Foursquare, call, sandbox.ModeNone)
	}
}

func TestResetCutsTheConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Garmin, sandbox.API, sandbox.ModeReset)
	_, err := r.browser.Get(r.at(sandbox.Garmin).API + "/wellness-api/rest/user/id")
	if !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection cut", err)
	}
}

func TestSlowEndsWhenTheClientLeaves(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	code := r.allow(sandbox.Strava, "ada").Get("code")
	r.set(sandbox.Strava, sandbox.Token, sandbox.ModeSlow)
	before := r.requests(sandbox.Strava)[sandbox.Exchange]
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	request := httptest.NewRequestWithContext(ctx, "POST", r.at(sandbox.Strava).Token,
		strings.NewReader(tokenForm(sandbox.Strava, "grant_type=authorization_code", "code="+code).Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer := httptest.NewRecorder()
	over := make(chan struct{})
	go func() { r.Handler().ServeHTTP(answer, request); close(over) }() // returns once the handler is really over
	testkit.Eventually(t, "it has been asked", func() bool {
		return r.requests(sandbox.Strava)[sandbox.Exchange] > before
	})
	leave()
	<-over
	if answer.Body.Len() != 0 {
		t.Errorf("answered %s before the client left", answer.Body)
	}
	r.set(sandbox.Strava, sandbox.Token, sandbox.ModeNone)
	r.wantStatus("the code is unspent", r.exchange(sandbox.Strava, code), http.StatusOK)
}

func TestSwitchesThatDoNotExist(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range [][3]string{
		{"polar", sandbox.Token, "500"}, {sandbox.Strava, "tokens", "500"}, {sandbox.Strava, sandbox.Token, "418"},
		{sandbox.Garmin, sandbox.RotateRefresh, sandbox.Off}, {sandbox.Foursquare, sandbox.KeepOldRefresh, sandbox.On},
	} {
		if err := r.SetSwitch(t.Context(), c[0], c[1], c[2]); err == nil {
			t.Errorf("%v was set", c)
		}
	}
}

func TestExpireTokens(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tokens := r.connect(provider, "ada")
			if err := r.ExpireTokens(t.Context(), provider); err != nil {
				t.Fatal(err)
			}
			r.wantStatus("expired", r.userInfo(provider, tokens.text("access_token")), http.StatusUnauthorized)
			fresh := r.refresh(provider, tokens.text("refresh_token"))
			r.wantStatus("refreshed", r.userInfo(provider, fresh.text("access_token")), http.StatusOK)
			n, err := r.TokenRequests(t.Context(), provider)
			if err != nil || n["authorization_code"] != 1 || n["refresh_token"] != 1 {
				t.Errorf("recorded %v, %v", n, err)
			}
		})
	}
}

func TestRevokeGrant(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for provider, want := range map[string]int{
		sandbox.Strava:     http.StatusUnauthorized,
		sandbox.Garmin:     http.StatusForbidden,
		sandbox.Foursquare: http.StatusUnauthorized,
	} {
		tokens := r.connect(provider, "ada")
		grants, err := r.Grants(t.Context(), provider)
		if err != nil || len(grants) != 1 || grants[0].Person != "ada" {
			t.Fatalf("%s: grants %v, %v", provider, grants, err)
		}
		if err := r.RevokeGrant(t.Context(), grants[0].ID); err != nil {
			t.Fatal(err)
		}
		r.wantStatus(provider+" access token", r.userInfo(provider, tokens.text("access_token")), want)
		r.wantStatus(provider+" refresh", r.refresh(provider, tokens.text("refresh_token")), http.StatusBadRequest)
		if err := r.RevokeGrant(t.Context(), grants[0].ID); !errors.Is(err, sandbox.ErrNoGrant) {
			t.Errorf("%s: revoked twice: %v", provider, err)
		}
	}
}
