package connection_test

import (
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

func TestConnect(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tests := []struct {
		provider, person string
		scopes           []string
		subject, name    string
		granted          []string
		missing          int
	}{
		{
			provider: sandbox.Strava,
			person:   "ada",
			subject:  "5000000101",
			name:     "Ada Example",
			granted:  []string{"activity:read_all", "read"},
		},
		{
			provider: sandbox.Strava,
			person:   "moss",
			scopes:   []string{"read"},
			subject:  "9007199254740993", // beyond a float64
			name:     "Moss",
			granted:  []string{"read"},
			missing:  1,
		},
		{
			provider: sandbox.Garmin,
			person:   "ada",
			subject:  "d3315b1072e84c1f9a7c1f0e5b6a9c01",
			granted:  []string{"ACTIVITY_EXPORT", "HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"},
		},
		{
			provider: sandbox.Garmin,
			person:   "moss",
			scopes:   []string{"HEALTH_EXPORT"},
			subject:  "00000000000000000000000000000042",
			granted:  []string{"HEALTH_EXPORT"},
			missing:  1,
		},
		{
			provider: sandbox.Foursquare,
			person:   "zofie",
			subject:  "20260000123",
			name:     "Žofie Ångström-李",
			granted:  []string{"account"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.provider+" "+tt.person, func(t *testing.T) {
			r := r
			r.t = t
			owner := r.owner()
			before := r.requests(tt.provider, "authorization_code")
			r.connect(tt.provider, owner, tt.person, tt.scopes...)
			c := r.connection(tt.provider, owner)
			slices.Sort(c.Granted)
			if c.Subject != tt.subject || c.Name != tt.name || c.State != "active" ||
				!slices.Equal(c.Granted, tt.granted) {
				t.Errorf("got %+v", c)
			}
			if missing := r.providers[tt.provider].Missing(c.Granted); len(missing) != tt.missing {
				t.Errorf("missing %q, want %d", missing, tt.missing)
			}
			if n := r.requests(tt.provider, "authorization_code") - before; n != 1 {
				t.Errorf("%d token requests for one code, want 1", n)
			}
		})
	}
}

func TestConsentURL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for provider, want := range map[string]map[string]string{
		sandbox.Strava:     {"scope": "read,activity:read_all", "approval_prompt": "auto", "code_challenge": ""},
		sandbox.Garmin:     {"scope": "", "code_challenge_method": "S256"},
		sandbox.Foursquare: {"scope": "", "code_challenge": ""},
	} {
		u, err := url.Parse(r.begin(provider, r.owner()))
		if err != nil {
			t.Fatal(err)
		}
		want["response_type"], want["client_id"] = "code", provider+"-client"
		want["redirect_uri"] = "http://cairn.test/" + provider
		for name, value := range want {
			if got := u.Query().Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", provider, name, got, value)
			}
		}
		if len(u.Query().Get("state")) < 26 || strings.Contains(u.String(), "s3cr3t") {
			t.Errorf("%s: no state of 128 bits, or a secret, in the address", provider)
		}
	}
}

func TestRefusedAttempts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	tests := []struct {
		name string
		want error
		// change makes a good callback bad, or another user's.
		change func(r rig, owner oauth.Owner, back url.Values) (provider string, by oauth.Owner)
	}{
		{"no state", oauth.ErrAttempt, func(_ rig, o oauth.Owner, back url.Values) (string, oauth.Owner) {
			back.Del("state")
			return sandbox.Strava, o
		}},
		{"empty state", oauth.ErrAttempt, func(_ rig, o oauth.Owner, back url.Values) (string, oauth.Owner) {
			back.Set("state", "")
			return sandbox.Strava, o
		}},
		{"wrong state", oauth.ErrAttempt, func(_ rig, o oauth.Owner, back url.Values) (string, oauth.Owner) {
			back.Set("state", back.Get("state")+"A")
			return sandbox.Strava, o
		}},
		{"used", oauth.ErrAttempt, func(r rig, o oauth.Owner, back url.Values) (string, oauth.Owner) {
			if _, err := r.finish(sandbox.Strava, o, back); err != nil {
				r.t.Fatal(err)
			}
			return sandbox.Strava, o
		}},
		{"old", oauth.ErrAttempt, func(r rig, o oauth.Owner, _ url.Values) (string, oauth.Owner) {
			r.exec(`UPDATE cairn.oauth_attempts SET created_at = now() - interval '10 minutes 1 second'`)
			return sandbox.Strava, o
		}},
		{"other provider's", oauth.ErrAttempt, func(_ rig, o oauth.Owner, _ url.Values) (string, oauth.Owner) {
			return sandbox.Garmin, o
		}},
		{"other user", oauth.ErrOtherBrowser, func(r rig, _ oauth.Owner, _ url.Values) (string, oauth.Owner) {
			return sandbox.Strava, r.owner()
		}},
		{
			"same user, other session", oauth.ErrOtherBrowser,
			func(r rig, o oauth.Owner, _ url.Values) (string, oauth.Owner) {
				o.SessionID = r.owner().SessionID
				return sandbox.Strava, o
			},
		},
		{"not signed in", oauth.ErrOtherBrowser, func(rig, oauth.Owner, url.Values) (string, oauth.Owner) {
			return sandbox.Strava, oauth.Owner{}
		}},
		{"session ended", oauth.ErrAttempt, func(r rig, o oauth.Owner, _ url.Values) (string, oauth.Owner) {
			r.exec(`DELETE FROM cairn.sessions WHERE id = $1`, o.SessionID)
			return sandbox.Strava, o
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := r
			r.t = t
			owner := r.owner()
			back := r.decide(r.begin(sandbox.Strava, owner), "ada", "allow")
			provider, by := tt.change(r, owner, back)
			before := r.requests(sandbox.Strava, "authorization_code")
			if _, err := r.finish(provider, by, back); kindOf(err) != tt.want.Error() {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if n := r.requests(sandbox.Strava, "authorization_code"); n != before {
				t.Error("the code was sent for an attempt that was refused")
			}
			if tt.want == oauth.ErrOtherBrowser { // and a state that was shown to us is spent
				if _, err := r.finish(sandbox.Strava, owner, back); kindOf(err) != oauth.ErrAttempt.Error() {
					t.Errorf("after it was refused, the owner got %v, want ErrAttempt", err)
				}
			}
		})
	}
}

func TestSignInAttemptBelongsToItsBrowser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	mine := oauth.Owner{Browser: "AAAAAAAAAAAAAAAAAAAAAAAAAA"}
	theirs := oauth.Owner{Browser: "BBBBBBBBBBBBBBBBBBBBBBBBBB"}
	for name, by := range map[string]oauth.Owner{
		"another browser":              theirs,
		"no cookie":                    {},
		"a person signed in elsewhere": r.owner(),
	} {
		back := r.decide(r.begin(sandbox.Strava, mine), "ada", "allow")
		if _, err := r.finish(sandbox.Strava, by, back); kindOf(err) != oauth.ErrOtherBrowser.Error() {
			t.Errorf("%s: got %v, want ErrOtherBrowser", name, err)
		}
	}
	back := r.decide(r.begin(sandbox.Strava, mine), "ada", "allow")
	if _, err := r.finish(sandbox.Strava, mine, back); err != nil {
		t.Errorf("the browser itself: %v", err)
	}
}

// A state is good once, even when several requests bring it at the same moment.
func TestRaceAttemptIsTakenOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner := r.owner()
	for range testkit.Rounds(t) {
		u, err := url.Parse(r.begin(sandbox.Strava, owner))
		if err != nil {
			t.Fatal(err)
		}
		var taken atomic.Int64
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				_, err := r.client.Consume(t.Context(), r.providers[sandbox.Strava], u.Query().Get("state"), owner)
				if err == nil {
					taken.Add(1)
				}
			})
		}
		wg.Wait()
		if taken.Load() != 1 {
			t.Fatalf("taken %d times, want 1", taken.Load())
		}
	}
}

// Attempts in several tabs and at several providers don't disturb each other, in whatever order they come back.
func TestManyAttemptsAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner := r.owner()
	var states []string
	var providers []string
	for range 3 {
		for key := range makers {
			u, err := url.Parse(r.begin(key, owner))
			if err != nil {
				t.Fatal(err)
			}
			states, providers = append(states, u.Query().Get("state")), append(providers, key)
		}
	}
	for i := len(states) - 1; i >= 0; i-- {
		if _, err := r.client.Consume(t.Context(), r.providers[providers[i]], states[i], owner); err != nil {
			t.Errorf("attempt %d at %s: %v", i, providers[i], err)
		}
	}
	first := r.begin(sandbox.Strava, owner)
	for range 10 {
		r.begin(sandbox.Strava, owner)
	}
	var n int
	err := r.pool.QueryRow(t.Context(), `
		SELECT count(*) FROM cairn.oauth_attempts WHERE session_id = $1`, owner.SessionID).Scan(&n)
	if err != nil || n != 10 {
		t.Errorf("%d attempts are kept (error %v), want the newest 10", n, err)
	}
	u, _ := url.Parse(first)
	_, err = r.client.Consume(t.Context(), r.providers[sandbox.Strava], u.Query().Get("state"), owner)
	if kindOf(err) != oauth.ErrAttempt.Error() {
		t.Errorf("the oldest attempt: %v, want ErrAttempt", err)
	}
}

func TestDeniedAndIncompleteCallbacks(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner := r.owner()
	for provider := range makers {
		_, err := r.finish(provider, owner, r.decide(r.begin(provider, owner), "ada", "deny"))
		if kindOf(err) != oauth.ErrDenied.Error() {
			t.Errorf("%s: declined: got %v, want ErrDenied", provider, err)
		}
		for name, change := range map[string]url.Values{
			"error of another kind": {"error": {"server_error"}, "code": {""}},
			"endless code":          {"code": {strings.Repeat("a", 5000)}},
			"made-up code":          {"code": {"made-up"}},
		} {
			back := r.decide(r.begin(provider, owner), "ada", "allow")
			maps.Copy(back, change)
			_, err := r.finish(provider, owner, back)
			if kind := kindOf(err); kind != oauth.ErrUnavailable.Error() && kind != oauth.ErrRefused.Error() {
				t.Errorf("%s: %s: got %v", provider, name, err)
			}
		}
	}
}

// What a token answer may look like, beyond what the failure matrix of internal/routes has.
func TestTokenAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, answer string
		ok           bool
	}{
		{"complete", `{"access_token":"a","refresh_token":"r","token_type":"Bearer","expires_in":3600}`, true},
		{"no access token", `{"refresh_token":"r"}`, false},
		{"line break in the token", `{"access_token":"a\r\nX-Evil: 1","refresh_token":"r"}`, false},
		{"line break in the refresh token", `{"access_token":"a","refresh_token":"r\n"}`, false},
		{"endless token", `{"access_token":"` + strings.Repeat("a", 9000) + `"}`, false},
	}
	r := newRig(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := r
			r.t = t
			mux := http.NewServeMux()
			mux.HandleFunc("/token", func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(tt.answer))
			})
			mux.HandleFunc("/athlete", func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(`{"id":7}`))
			})
			server := httptest.NewServer(mux)
			t.Cleanup(server.Close)
			p := strava.New(oauth.App{
				ClientID:     "c",
				ClientSecret: "s",
				Endpoints:    oauth.Endpoints{Token: server.URL + "/token", API: server.URL},
			})
			owner := r.owner()
			consent, err := r.Begin(t.Context(), p, owner, "/")
			if err != nil {
				t.Fatal(err)
			}
			u, _ := url.Parse(consent)
			attempt, err := r.client.Consume(t.Context(), p, u.Query().Get("state"), owner)
			if err != nil {
				t.Fatal(err)
			}
			callback := url.Values{"code": {"c"}, "scope": {"read"}}
			grant, err := r.client.Exchange(t.Context(), attempt, callback, func(string) error { return nil })
			if err == nil {
				err = r.store(owner, grant)
			}
			if (err == nil) != tt.ok {
				t.Fatalf("got error %v, want success %t", err, tt.ok)
			}
			if !tt.ok {
				return
			}
			var ends bool
			err = r.pool.QueryRow(t.Context(), `
				SELECT token_expires_at > now() FROM cairn.connections WHERE user_id = $1`,
				owner.UserID).Scan(&ends)
			if err != nil || !ends {
				t.Errorf("the token does not expire in the future (error %v): it would never be refreshed", err)
			}
			if _, err := r.tryDisconnect(p, owner.UserID); err != nil {
				t.Error(err)
			}
			r.exec(`DELETE FROM cairn.identities WHERE user_id = $1`, owner.UserID)
		})
	}
}

func TestAttemptsAreSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner := r.owner()
	r.begin(sandbox.Strava, owner)
	r.exec(`UPDATE cairn.oauth_attempts SET created_at = now() - interval '11 minutes'`)
	r.begin(sandbox.Garmin, owner)
	if more, err := r.client.Sweep(t.Context()); more || err != nil {
		t.Fatalf("more %t, error %v", more, err)
	}
	var n int
	if err := r.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.oauth_attempts`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d attempts are left (error %v), want 1", n, err)
	}
}

// Strava's answer to a code names the athlete, so it is not asked again, unless that id can't be used. The id is exact:
// a float would lose the last digit of 2^53 + 1.
func TestAthleteInTokenAnswerSavesACall(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, tt := range []struct {
		name, call, mode, athlete string
		asked                     int
	}{
		{"named", sandbox.Exchange, "none", sandbox.On, 0},
		{"named as text", sandbox.Exchange, sandbox.ModeIDString, sandbox.On, 0},
		{"not named", sandbox.Exchange, "none", sandbox.Off, 1},
	} {
		owner := r.owner()
		r.set(sandbox.Strava, sandbox.NamesAthlete, tt.athlete)
		r.set(sandbox.Strava, tt.call, tt.mode)
		before := r.asked(sandbox.Strava, sandbox.UserInfo)
		var asked []string
		callback := r.decide(r.begin(sandbox.Strava, owner), "moss", "allow")
		attempt, err := r.client.Consume(t.Context(), r.providers[sandbox.Strava], callback.Get("state"), owner)
		if err != nil {
			t.Fatal(err)
		}
		grant, err := r.client.Exchange(t.Context(), attempt, callback, func(subject string) error {
			asked = append(asked, subject)
			return nil
		})
		if err != nil || grant.Subject != "9007199254740993" || grant.Name == "" {
			t.Errorf("%s: %s, %q, error %v", tt.name, grant.Subject, grant.Name, err)
		}
		n := r.asked(sandbox.Strava, sandbox.UserInfo) - before
		if n != tt.asked || len(asked) != 2-tt.asked || asked[0] != "" {
			t.Errorf("%s: Strava was asked %d times, the caller for %q", tt.name, n, asked)
		}
	}
}

// If the caller refuses an attempt, no call is made.
func TestExchangeAsksItsCaller(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	refused := errors.New("one too many")
	owner := r.owner()
	callback := r.decide(r.begin(sandbox.Strava, owner), "ada", "allow")
	attempt, err := r.client.Consume(t.Context(), r.providers[sandbox.Strava], callback.Get("state"), owner)
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.client.Exchange(t.Context(), attempt, callback, func(string) error { return refused })
	if !errors.Is(err, refused) {
		t.Errorf("got %v", err)
	}
	if n := r.requests(sandbox.Strava, "authorization_code"); n != 0 {
		t.Errorf("%d codes were sent", n)
	}
}
