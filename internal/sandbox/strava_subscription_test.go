package sandbox_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/sandbox"
)

func (r rig) subscriptions() string { return r.at(sandbox.Strava).API + "/push_subscriptions" }

const stravaApp = "?client_id=strava-id&client_secret=strava-secret"

// subscribe asks for events at the address, with changes as in authorizeURL.
func (r rig) subscribe(to string, changes ...string) answer {
	r.t.Helper()
	fields := []string{"callback_url=" + to, "verify_token=v€rify & me"}
	return r.do("POST", r.subscriptions(), tokenForm(sandbox.Strava, append(fields, changes...)...))
}

func TestStravaSubscription(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	asked := make(chan url.Values, 1)
	e.echo.Store(func(q url.Values) (int, string) {
		asked <- q
		return http.StatusOK, `{"hub.challenge":"` + q.Get("hub.challenge") + `"}`
	})
	if a := r.do("GET", r.subscriptions()+stravaApp, nil); a.status != http.StatusOK || a.body != "[]" {
		t.Errorf("before: %d %s", a.status, a.body)
	}
	made := r.subscribe(e.URL + "/hook?key=1")
	q := <-asked
	if q.Get("key") != "1" || q.Get("hub.mode") != "subscribe" ||
		q.Get("hub.verify_token") != "v€rify & me" || len(q.Get("hub.challenge")) != 32 {
		t.Errorf("challenged with %v", q)
	}
	if made.status != http.StatusCreated || made.text("callback_url") != e.URL+"/hook?key=1" ||
		made.text("resource_state") != "2" || made.json["application_id"] == nil ||
		made.json["created_at"] == nil || made.json["updated_at"] == nil {
		t.Fatalf("subscribe: %d %s", made.status, made.body)
	}
	again := r.subscribe(e.URL)
	if again.status != http.StatusBadRequest || stravaCause(again) != "PushSubscription//already exists" {
		t.Errorf("a second one: %d %s", again.status, again.body)
	}
	if a := r.do("GET", r.subscriptions()+stravaApp, nil); a.body != "["+made.body+"]" {
		t.Errorf("list: %s, want %s in it", a.body, made.body)
	}
	for _, bad := range []string{
		"",
		"?client_id=strava-id",
		"?client_id=strava-id&client_secret=x",
		"?client_id=x&client_secret=strava-secret",
	} {
		r.wantStatus("list with "+bad, r.do("GET", r.subscriptions()+bad, nil), http.StatusBadRequest)
		deleted := r.do("DELETE", r.subscriptions()+"/"+made.text("id")+bad, nil)
		r.wantStatus("delete with "+bad, deleted, http.StatusBadRequest)
	}
	r.wantStatus("delete another", r.do("DELETE", r.subscriptions()+"/1"+stravaApp, nil), http.StatusNotFound)
	r.wantStatus("delete nonsense", r.do("DELETE", r.subscriptions()+"/x"+stravaApp, nil), http.StatusNotFound)
	address := r.subscriptions() + "/" + made.text("id") + stravaApp
	r.wantStatus("delete", r.do("DELETE", address, nil), http.StatusNoContent)
	r.wantStatus("delete again", r.do("DELETE", address, nil), http.StatusNotFound)
	r.wantStatus("subscribe anew", r.subscribe(e.URL), http.StatusCreated)
}

func TestStravaSubscribesByMultipartToo(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for field, value := range map[string]string{
		"client_id":     "strava-id",
		"client_secret": "strava-secret",
		"callback_url":  e.URL,
		"verify_token":  "x",
	} {
		_ = form.WriteField(field, value)
	}
	_ = form.Close()
	resp, err := r.browser.Post(r.subscriptions(), form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestStravaSubscriptionRefuses(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	echo := func(status int, body string) func(url.Values) (int, string) {
		return func(url.Values) (int, string) { return status, body }
	}
	for name, c := range map[string]struct {
		answer func(url.Values) (int, string)
		want   string
	}{
		"not found":       {echo(404, "no"), "PushSubscription/callback url/GET to callback URL does not return 200"},
		"wrong challenge": {echo(200, `{"hub.challenge":"0"}`), "PushSubscription/callback url/not verifiable"},
		"no challenge":    {echo(200, `{}`), "PushSubscription/callback url/not verifiable"},
		"a page":          {echo(200, `<!doctype html>`), "PushSubscription/callback url/not verifiable"},
		"redirect":        {echo(302, ``), "PushSubscription/callback url/GET to callback URL does not return 200"},
	} {
		e.echo.Store(c.answer)
		if a := r.subscribe(e.URL); a.status != http.StatusBadRequest || stravaCause(a) != c.want {
			t.Errorf("%s: %d %s, want %s", name, a.status, a.body, c.want)
		}
	}
	e.hang.Store(true)
	hasty := optionsFor(t, r.pool, "")
	hasty.Site, hasty.Limits.Strava = e.URL, 200*time.Millisecond
	began := time.Now()
	if a := serve(t, hasty).subscribe(e.URL); stravaCause(a) != "PushSubscription/callback url/not verifiable" {
		t.Errorf("no answer: %d %s", a.status, a.body)
	}
	if took := time.Since(began); took < hasty.Limits.Strava {
		t.Errorf("gave up after %s, want %s", took, hasty.Limits.Strava)
	}
	for _, bad := range []string{
		"callback_url",
		"callback_url=ftp://a.test/",
		"callback_url=/hook",
		"callback_url=http://a.test/" + strings.Repeat("x", 255),
		"verify_token",
	} {
		r.wantStatus(bad, r.subscribe(e.URL, bad), http.StatusBadRequest)
	}
	if a := r.do("GET", r.subscriptions()+stravaApp, nil); a.body != "[]" {
		t.Errorf("subscribed all the same: %s", a.body)
	}
}

func TestStravaSubscriptionIsOne(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e)
	var asked atomic.Int32
	two := make(chan struct{})
	e.echo.Store(func(q url.Values) (int, string) { // the first two are let go together
		if asked.Add(1) == 2 {
			close(two)
		}
		<-two
		return http.StatusOK, `{"hub.challenge":"` + q.Get("hub.challenge") + `"}`
	})
	counts := parallel(func() answer { return r.subscribe(e.URL) })
	if counts[http.StatusCreated] != 1 || counts[http.StatusBadRequest] != 7 {
		t.Errorf("statuses %v, want one 201 and seven 400", counts)
	}
}

func TestStravaSubscribedFromTheStart(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	r := hooked(t, e, func(o *sandbox.Options) { o.Hooks.Strava = e.URL + "/first" })
	o := optionsFor(t, r.pool, "")
	o.Hooks.Strava, o.Site = e.URL+"/second", e.URL
	r = serve(t, o)
	r.connect(sandbox.Strava, "ada")
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Strava).ID); err != nil {
		t.Fatal(err)
	}
	if p := e.next(); p.path != "/second" {
		t.Errorf("the event was sent to %s", p.path)
	}
	if again := r.subscribe(e.URL); stravaCause(again) != "PushSubscription//already exists" {
		t.Errorf("one more: %d %s", again.status, again.body)
	}
}

// The sandbox posts to our own site only: who reaches it must not have this machine call others, now or later.
func TestStravaEventsStayOnOurSite(t *testing.T) {
	t.Parallel()
	ours, other := newEars(t), newEars(t)
	r := hooked(t, ours)
	for _, e := range []*ears{ours, other} {
		e.echo.Store(func(q url.Values) (int, string) {
			if e == other {
				t.Error("it asks another site")
			}
			return http.StatusOK, `{"hub.challenge":"` + q.Get("hub.challenge") + `"}`
		})
	}
	for _, to := range []string{
		other.URL + "/hook",
		"http://127.0.0.1:1/",
		strings.Replace(ours.URL, "127.0.0.1", "localhost", 1),
		ours.URL + ".evil.test/",
		ours.URL + "@evil.test/",
	} {
		if a := r.subscribe(to); stravaCause(a) != "PushSubscription/callback url/invalid" {
			t.Errorf("%s: %d %s", to, a.status, a.body)
		}
	}
	made := r.subscribe(ours.URL + "/hook")
	r.wantStatus("our own", made, http.StatusCreated)
	_, err := r.pool.Exec(t.Context(), `UPDATE cairn_sandbox.subscriptions SET callback_url = $1`, other.URL+"/stored")
	if err != nil {
		t.Fatal(err)
	}
	r.connect(sandbox.Strava, "ada")
	if err := r.RevokeGrant(t.Context(), r.grant(sandbox.Strava).ID); err != nil {
		t.Fatal(err)
	}
	if deliveries, err := r.Deliveries(t.Context(), sandbox.Strava); err != nil || len(deliveries) != 0 {
		t.Errorf("sent %+v, %v", deliveries, err)
	}
}
