package sandbox_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// post is something that a provider has posted to us.
type post struct {
	path   string
	header http.Header
	body   string
}

func (p post) decode(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(p.body), into); err != nil {
		t.Fatalf("%s: %v in %s", p.path, err, p.body)
	}
}

// ears is our side: a server that keeps what is posted to it.
type ears struct {
	*httptest.Server
	t      *testing.T
	posts  chan post
	status atomic.Int32 // to answer with; 0: 200
	fails  atomic.Int32 // so many posts are answered 500 first
	hang   atomic.Bool
	hung   atomic.Int32 // how many hang
	echo   atomic.Value // func(challenge string) (status int, body string)
}

func newEars(t *testing.T) *ears {
	t.Helper()
	e := &ears{t: t, posts: make(chan post, 100)}
	e.Server = httptest.NewServer(http.HandlerFunc(e.hear))
	t.Cleanup(e.Server.Close)
	return e
}

func (e *ears) hear(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if e.hang.Load() {
		e.hung.Add(1)
		<-r.Context().Done()
		return
	}
	if r.Method == http.MethodGet {
		status, answer := http.StatusOK, `{"hub.challenge":"`+r.URL.Query().Get("hub.challenge")+`"}`
		if echo, set := e.echo.Load().(func(url.Values) (int, string)); set {
			status, answer = echo(r.URL.Query())
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(answer))
		return
	}
	status := e.status.Load() // before the test hears of the post and sets another
	if e.fails.Add(-1) >= 0 {
		status = http.StatusInternalServerError
	}
	e.posts <- post{r.URL.RequestURI(), r.Header, string(body)}
	if status != 0 {
		w.WriteHeader(int(status))
	}
}

// next waits for something to be posted.
func (e *ears) next() post {
	e.t.Helper()
	select {
	case p := <-e.posts:
		return p
	case <-time.After(testkit.Patience):
		e.t.Fatal("nothing was posted")
		return post{}
	}
}

// hooked returns a sandbox that sends all webhooks to e, and tries again soon.
func hooked(t *testing.T, e *ears, change ...func(*sandbox.Options)) rig {
	t.Helper()
	r := newRig(t)
	o := optionsFor(t, r.pool, "")
	o.Limits.Retry = 10 * time.Millisecond
	o.Site = e.URL
	o.Hooks = sandbox.Hooks{
		GarminDeregistrations: e.URL + "/garmin/deregistrations",
		GarminPermissions:     e.URL + "/garmin/permissions",
		GarminActivities:      e.URL + "/garmin/activities",
		Foursquare:            e.URL + "/foursquare",
	}
	for _, c := range change {
		c(&o)
	}
	r = serve(t, o)
	return r
}

// settled waits until the newest delivery was accepted or given up, and returns it.
func (r rig) settled(provider string, tries int) sandbox.Delivery {
	r.t.Helper()
	var last sandbox.Delivery
	testkit.Eventually(r.t, provider+": the delivery is over", func() bool {
		deliveries, err := r.Deliveries(r.t.Context(), provider)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(deliveries) > 0 {
			last = deliveries[0]
		}
		return len(deliveries) > 0 && (last.OK() || last.Tries == tries)
	})
	return last
}

func (r rig) grant(provider string) sandbox.Grant {
	r.t.Helper()
	grants, err := r.Grants(r.t.Context(), provider)
	if err != nil || len(grants) == 0 {
		r.t.Fatalf("grants %v, %v", grants, err)
	}
	return grants[0]
}

func TestNothingIsSentWithoutAnAddress(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for provider := range redirectURIs {
		r.connect(provider, "ada", "activity:read_all", "ACTIVITY_EXPORT")
	}
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.NewCheckin(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	for provider := range redirectURIs {
		if deliveries, err := r.Deliveries(t.Context(), provider); err != nil || len(deliveries) != 0 {
			t.Errorf("%s: %v, %v", provider, deliveries, err)
		}
	}
}

func TestCloseEndsDeliveries(t *testing.T) {
	t.Parallel()
	e := newEars(t)
	e.hang.Store(true)
	r := hooked(t, e, func(o *sandbox.Options) { o.Limits.Garmin = time.Hour })
	r.connect(sandbox.Garmin, "ada", "ACTIVITY_EXPORT")
	for range 50 {
		if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "16 posts are under way", func() bool { return e.hung.Load() >= 16 })
	closed := make(chan struct{})
	go func() { r.Close(); close(closed) }()
	testkit.Eventually(t, "it is closed, though no post is answered for an hour", func() bool {
		select {
		case <-closed:
			return true
		default:
			return false
		}
	})
	if n := e.hung.Load(); n != 16 {
		t.Errorf("%d posts at once, want 16 of 50", n)
	}
	if _, err := r.NewActivity(t.Context(), "ada"); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if len(e.posts) != 0 {
		t.Errorf("%d posts", len(e.posts))
	}
}
