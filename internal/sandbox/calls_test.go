package sandbox_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// asks makes each of the provider's calls once, in a way that succeeds.
func (r rig) asks(provider string) map[string]func() answer {
	tokens := r.connect(provider, "ada", "activity:read_all", "ACTIVITY_EXPORT")
	access, refresh := tokens.text("access_token"), tokens.text("refresh_token")
	code := r.allow(provider, "ada", "activity:read_all", "ACTIVITY_EXPORT").Get("code")
	api := r.at(provider).API
	asks := map[string]func() answer{
		sandbox.Exchange: func() answer { return r.exchange(provider, code) },
		sandbox.Refresh:  func() answer { return r.refresh(provider, refresh) },
		sandbox.UserInfo: func() answer { return r.userInfo(provider, access) },
	}
	switch provider {
	case sandbox.Strava:
		asks[sandbox.Data] = func() answer { return r.get(api+"/athlete/activities", access) }
		asks[sandbox.Revoke] = func() answer {
			return r.do("POST", r.at(provider).Revoke, url.Values{"token": {access}},
				"Authorization", basicAuth("strava-id", "strava-secret"))
		}
		asks[sandbox.Subscriptions] = func() answer {
			return r.do("GET", api+"/push_subscriptions?client_id=strava-id&client_secret=strava-secret", nil)
		}
	case sandbox.Garmin:
		pull := r.pullURL()
		asks[sandbox.Data] = func() answer { return r.do("GET", pull, nil) }
		asks[sandbox.Permissions] = func() answer { return r.get(api+"/wellness-api/rest/user/permissions", access) }
		asks[sandbox.Revoke] = func() answer {
			return r.do("DELETE", r.at(provider).Revoke, nil, "Authorization", "Bearer "+access)
		}
	case sandbox.Foursquare:
		delete(asks, sandbox.Refresh)
		asks[sandbox.Data] = func() answer { return r.get(api+"/users/self/checkins?v=20261101", access) }
	}
	return asks
}

func (r rig) requests(provider string) map[string]int {
	r.t.Helper()
	counts, err := r.Requests(r.t.Context(), provider)
	if err != nil {
		r.t.Fatal(err)
	}
	return counts
}

func TestCallsFailOneByOne(t *testing.T) {
	t.Parallel()
	for provider := range redirectURIs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			asks := r.asks(provider)
			calls := slices.Sorted(maps.Keys(asks))
			if got := slices.Sorted(slices.Values(sandbox.Calls(provider))); !slices.Equal(got, calls) {
				t.Fatalf("calls %v, want %v", got, calls)
			}
			for _, failing := range calls {
				r.set(provider, failing, "502 html")
				before := r.requests(provider)
				a := asks[failing]()
				if a.status != http.StatusBadGateway || !strings.HasPrefix(a.body, "<!doctype html>") {
					t.Errorf("%s: %d %.100s", failing, a.status, a.body)
				}
				after := r.requests(provider)
				if after[failing] != before[failing]+1 {
					t.Errorf("%s was counted %d times", failing, after[failing]-before[failing])
				}
				for _, call := range calls {
					reads := call == sandbox.UserInfo || call == sandbox.Data || call == sandbox.Permissions
					if call != failing && reads {
						r.wantStatus(call+" while "+failing+" fails", asks[call](), http.StatusOK)
					}
				}
				r.set(provider, failing, sandbox.ModeNone)
			}
			for _, call := range []string{
				sandbox.UserInfo, sandbox.Data, sandbox.Refresh, sandbox.Exchange, sandbox.Revoke,
			} {
				if ask, has := asks[call]; has {
					if a := ask(); a.status != http.StatusOK && a.status != http.StatusNoContent {
						t.Errorf("%s, after all that: %d %s", call, a.status, a.body)
					}
				}
			}
		})
	}
}

func TestEveryStatusInEveryShape(t *testing.T) {
	t.Parallel()
	for provider := range redirectURIs {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			asks := r.asks(provider)
			for _, call := range sandbox.Calls(provider) {
				for _, mode := range sandbox.Modes(call) {
					status, _, _ := strings.Cut(mode, " ")
					if status < "301" || status > "503" {
						continue
					}
					r.set(provider, call, mode)
					a := asks[call]()
					page := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
					got := http.StatusText(a.status)
					if status[:1] != string('0'+byte(a.status/100)) || got == "" ||
						page != strings.HasSuffix(mode, "html") {
						t.Errorf("%s %s: %d %s", call, mode, a.status, a.header.Get("Content-Type"))
					}
					retry := a.header.Get("Retry-After")
					if (retry != "") != (mode == sandbox.ModeRetryAfter || status == "503") {
						t.Errorf("%s %s: Retry-After %q", call, mode, retry)
					}
					if a.status >= 400 && !page && len(a.json) == 0 {
						t.Errorf("%s %s: %s", call, mode, a.body)
					}
				}
				r.set(provider, call, sandbox.ModeNone)
			}
		})
	}
}

func TestRealShapes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, c := range []struct{ provider, call, mode, want string }{
		{sandbox.Strava, sandbox.Refresh, "400", `"field":"refresh_token","resource":"RefreshToken"`},
		{sandbox.Strava, sandbox.Exchange, "400", `"resource":"RequestToken"`},
		{sandbox.Strava, sandbox.Exchange, "403", `limit of connected athletes exceeded`},
		{sandbox.Strava, sandbox.Data, "403", `"code":"Inactive"`},
		{sandbox.Strava, sandbox.Data, "404", `"message":"Record Not Found"`},
		{sandbox.Strava, sandbox.Revoke, "429", `"field":"overall rate limit"`},
		{sandbox.Garmin, sandbox.Data, "412", `{"errorMessage":"User has not granted the required ACTIVITY_EXPORT"}`},
		{sandbox.Garmin, sandbox.Revoke, "404", `{"errorMessage":"Not Found"}`},
		{sandbox.Garmin, sandbox.Refresh, "400", `"error":"invalid_grant"`},
		{sandbox.Foursquare, sandbox.Data, "410", `"errorType":"param_error"`},
		{sandbox.Foursquare, sandbox.Data, "404", `"errorType":"endpoint_error"`},
		{sandbox.Foursquare, sandbox.UserInfo, "200", `"errorType":"param_error"`},
		{sandbox.Foursquare, sandbox.Exchange, "200", `{"error":"invalid_grant"}`},
	} {
		r.set(c.provider, c.call, c.mode)
		if a := r.asks1(c.provider, c.call); !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s %s: %s, want %s", c.provider, c.call, c.mode, a.body, c.want)
		}
		r.set(c.provider, c.call, sandbox.ModeNone)
	}
}

// asks1 makes one call with nonsense, which is enough to meet a failure.
func (r rig) asks1(provider, call string) answer {
	r.t.Helper()
	switch call {
	case sandbox.Exchange:
		return r.exchange(provider, "x")
	case sandbox.Refresh:
		return r.refresh(provider, "x")
	case sandbox.UserInfo:
		return r.userInfo(provider, "x")
	case sandbox.Revoke:
		method := map[string]string{sandbox.Strava: "POST", sandbox.Garmin: "DELETE"}[provider]
		return r.do(method, r.at(provider).Revoke, nil)
	}
	path := map[string]string{sandbox.Strava: "/athlete/activities", sandbox.Garmin: "/wellness-api/rest/activities",
		sandbox.Foursquare: "/users/self/checkins"}[provider]
	return r.get(r.at(provider).API+path, "x")
}

func TestCallGoesBeforeItsGroup(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Garmin, sandbox.API, "500")
	r.set(sandbox.Garmin, sandbox.Revoke, "404")
	r.wantStatus("own switch", r.asks1(sandbox.Garmin, sandbox.Revoke), http.StatusNotFound)
	r.wantStatus("group's switch", r.asks1(sandbox.Garmin, sandbox.Data), http.StatusInternalServerError)
	r.set(sandbox.Garmin, sandbox.Revoke, sandbox.ModeNone)
	r.wantStatus("group's switch again", r.asks1(sandbox.Garmin, sandbox.Revoke), http.StatusInternalServerError)
}

func TestFailNext(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	other := rigOn(t, r.pool)
	access := r.connect(sandbox.Strava, "ada").text("access_token")
	if err := r.FailNext(t.Context(), sandbox.Strava, sandbox.UserInfo, "500", 3); err != nil {
		t.Fatal(err)
	}
	r.wantStatus("first", r.userInfo(sandbox.Strava, access), http.StatusInternalServerError)
	counts := parallel(func() answer { return other.userInfo(sandbox.Strava, access) })
	if counts[http.StatusInternalServerError] != 2 || counts[http.StatusOK] != 6 {
		t.Errorf("after the first: %v, want two more failures", counts)
	}
	for _, bad := range [][2]string{{sandbox.Quota, "500"}, {sandbox.UserInfo, "418"}, {sandbox.Permissions, "500"}} {
		if err := r.FailNext(t.Context(), sandbox.Strava, bad[0], bad[1], 1); err == nil {
			t.Errorf("%v was set", bad)
		}
	}
}

func TestRedirectsLeadToAnotherHost(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		r.set(sandbox.Strava, sandbox.Exchange, status)
		a := r.asks1(sandbox.Strava, sandbox.Exchange)
		to, err := url.Parse(a.header.Get("Location"))
		if err != nil || to.Hostname() != "localhost" || a.body != "" {
			t.Errorf("%s: to %q, %s", status, a.header.Get("Location"), a.body)
		}
	}
	if n := r.requests(sandbox.Strava)[sandbox.Elsewhere]; n != 0 {
		t.Errorf("%d requests elsewhere before a client followed", n)
	}
	form := tokenForm(sandbox.Strava, "grant_type=authorization_code", "code=x")
	resp, err := r.browser.PostForm(r.at(sandbox.Strava).Token, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	n := r.requests(sandbox.Strava)[sandbox.Elsewhere]
	if !strings.Contains(string(body), `"access_token":"elsewhere"`) || n != 1 {
		t.Errorf("a client that follows: %s, counted %d", body, n)
	}
}

func TestHangAndDripEndWithTheClient(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for mode, want := range map[string]int{sandbox.ModeHang: 0, sandbox.ModeDrip: 1} {
		r.set(sandbox.Garmin, sandbox.UserInfo, mode)
		before := r.requests(sandbox.Garmin)[sandbox.UserInfo]
		ctx, leave := context.WithCancel(t.Context())
		request, _ := http.NewRequestWithContext(ctx, "GET", r.at(sandbox.Garmin).API+"/wellness-api/rest/user/id", nil)
		var begun atomic.Int32 // bytes of the answer
		over := make(chan error, 1)
		go func() {
			resp, err := r.browser.Transport.RoundTrip(request)
			for b := make([]byte, 1); err == nil; {
				var n int
				n, err = resp.Body.Read(b)
				begun.Add(int32(n))
			}
			over <- err
		}()
		testkit.Eventually(t, "it has begun", func() bool {
			return r.requests(sandbox.Garmin)[sandbox.UserInfo] > before && int(begun.Load()) >= want
		})
		leave()
		if err := <-over; !errors.Is(err, context.Canceled) || int(begun.Load()) < want {
			t.Errorf("%s: %d bytes, %v", mode, begun.Load(), err)
		}
	} // the server's Close waits for handlers, so that one that stays is seen
}

func TestCloseEndsHangingResponses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.set(sandbox.Strava, sandbox.UserInfo, sandbox.ModeHang)
	gone := make(chan error, 1)
	go func() {
		resp, err := r.browser.Get(r.at(sandbox.Strava).API + "/athlete")
		if err == nil {
			resp.Body.Close()
		}
		gone <- err
	}()
	testkit.Eventually(t, "it has been asked", func() bool { return r.requests(sandbox.Strava)[sandbox.UserInfo] > 0 })
	r.Close()
	if err := <-gone; !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection cut", err)
	}
}

func TestLostAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	code := r.allow(sandbox.Strava, "ada").Get("code")
	r.set(sandbox.Strava, sandbox.Exchange, sandbox.ModeLost)
	form := tokenForm(sandbox.Strava, "grant_type=authorization_code", "code="+code)
	_, err := r.browser.PostForm(r.at(sandbox.Strava).Token, form)
	if !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want the connection cut", err)
	}
	r.set(sandbox.Strava, sandbox.Exchange, sandbox.ModeNone)
	r.wantStatus("the code is spent", r.exchange(sandbox.Strava, code), http.StatusBadRequest)
}
