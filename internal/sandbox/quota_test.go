package sandbox_test

import (
	"net/http"
	"strings"
	"testing"

	"cairn/internal/sandbox"
)

func TestStravaQuota(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, quota, value, field string }{
		{"quarter", sandbox.Quota, "2,2000", "overall rate limit"},
		{"day", sandbox.Quota, "200,2", "overall rate limit"},
		{"reads a quarter", sandbox.ReadQuota, "2,1000", "read rate limit"},
		{"reads a day", sandbox.ReadQuota, "100,2", "read rate limit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.set(sandbox.Strava, c.quota, c.value)
			access := r.connect(sandbox.Strava, "ada").text("access_token")
			var a answer
			for range 6 { // three would do, but a quarter may end on the way
				if a = r.userInfo(sandbox.Strava, access); a.status != http.StatusOK {
					break
				}
			}
			if a.status != http.StatusTooManyRequests || stravaCause(a) != "Application/"+c.field+"/exceeded" {
				t.Fatalf("over the quota: %d %s", a.status, a.body)
			}
			limit := map[string]string{
				sandbox.Quota:     "X-RateLimit-Limit",
				sandbox.ReadQuota: "X-ReadRateLimit-Limit",
			}[c.quota]
			if got := a.header.Get(limit); got != c.value {
				t.Errorf("%s: %s, want %s", limit, got, c.value)
			}
			used := a.header.Get("X-RateLimit-Usage")
			if used != a.header.Get("X-ReadRateLimit-Usage") || !strings.HasSuffix(used, ",3") {
				t.Errorf("used %s, want 3 a day: refused calls count", used)
			}
			if err := r.ForgetUsage(t.Context(), sandbox.Strava); err != nil {
				t.Fatal(err)
			}
			r.wantStatus("a new day", r.userInfo(sandbox.Strava, access), http.StatusOK)
		})
	}
}

func TestStravaSays429InItsHeadersToo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Strava, sandbox.Data, "429")
	if used := r.asks1(sandbox.Strava, sandbox.Data).header.Get("X-RateLimit-Usage"); used != "200,200" {
		t.Errorf("used %s with a 429", used)
	}
	used := r.asks1(sandbox.Strava, sandbox.UserInfo).header.Get("X-RateLimit-Usage")
	if !strings.HasSuffix(used, ",2") {
		t.Errorf("used %s at a call that does not fail", used)
	}
}

func TestFoursquareQuotaIsTheTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Foursquare, sandbox.Quota, "2")
	ada := r.connect(sandbox.Foursquare, "ada").text("access_token")
	max := r.connect(sandbox.Foursquare, "max").text("access_token")
	var a answer
	for range 6 { // three would do, but an hour may end on the way
		if a = r.userInfo(sandbox.Foursquare, ada); a.status != http.StatusOK {
			break
		}
	}
	if meta(a) != "403 rate_limit_exceeded" || a.header.Get("X-RateLimit-Limit") != "2" ||
		a.header.Get("X-RateLimit-Remaining") != "0" {
		t.Errorf("over the quota: %d %s, %v", a.status, a.body, a.header)
	}
	if a := r.userInfo(sandbox.Foursquare, max); a.status != http.StatusOK ||
		a.header.Get("X-RateLimit-Remaining") != "1" {
		t.Errorf("another person: %d, remaining %s", a.status, a.header.Get("X-RateLimit-Remaining"))
	}
}

func TestStravaAthleteLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.connect(sandbox.Strava, "ada")
	r.set(sandbox.Strava, sandbox.AthleteLimit, "1")
	a := r.exchange(sandbox.Strava, r.allow(sandbox.Strava, "max").Get("code"))
	if a.status != http.StatusForbidden || !strings.Contains(a.body, "limit of connected athletes exceeded") {
		t.Errorf("the second athlete: %d %s", a.status, a.body)
	}
	r.connect(sandbox.Strava, "ada")
}
