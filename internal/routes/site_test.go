package routes_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/internal/testkit"
	"cairn/web"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const webhookKey = "k3y-of-the-webhooks"

// webhookSecrets authenticate the providers' webhooks.
var webhookSecrets = map[string]string{"foursquare": "push-s3cr3t", "strava": "verify-me"}

const password = "granite lichen and slow rain"

// site is one instance: the real router on a real database, with the three providers simulated
// beside it.
type site struct {
	url     string // as browsers know it, on localhost; the sandbox is on 127.0.0.1
	pool    *pgxpool.Pool
	sandbox *sandbox.Sandbox
	log     *logBuffer
	handler http.Handler
	server  *httptest.Server

	connections *connection.Store
	entries     *activity.Store
	providers   oauth.Registry
}

type options struct {
	pool    *pgxpool.Pool // nil: a database of its own
	public  string        // PUBLIC_URL; "": where it really is
	proxies []netip.Prefix
	ready   func(context.Context) error
	works   bool          // does background work
	calls   oauth.Limits  // zero: patient
	pages   routes.Limits // zero: patient
	limits  auth.Limits   // zero: untiring
	hooked  bool          // the providers send it webhooks
	// more makes another provider for a site at public; nil: there are three.
	more func(public string) *oauth.Provider
	// heard records what goes to the providers and comes back; nil: nothing does.
	heard func(sandbox http.Handler) http.Handler
}

// untiring are the default limits, but for those that a test would reach at once.
func untiring() auth.Limits {
	l := auth.DefaultLimits()
	for _, often := range []*auth.Limit{
		&l.CallPause, &l.CallHour, &l.FinishBrowser, &l.FinishAccount, &l.FinishNetwork,
	} {
		often.Max = 1000
	}
	return l
}

// The time limits of tests that are about something else: they are not reached on a busy machine.
var (
	patientCalls = oauth.Limits{Call: testkit.Patience, Queue: testkit.Patience, Statement: testkit.Patience}
	patientPages = routes.Limits{Probe: testkit.Patience, Page: testkit.Patience, Provider: testkit.Patience,
		Webhook: testkit.Patience, Bulk: testkit.Patience}
	patientPlayers = sandbox.Limits{Strava: testkit.Patience, Garmin: testkit.Patience, Foursquare: testkit.Patience,
		Slow: testkit.Patience, Retry: 50 * time.Millisecond}
	hastyJobs = jobs.Limits{
		PollIdle: 200 * time.Millisecond,
		PollBusy: 100 * time.Millisecond,
	}
	cheap = auth.Cost{Memory: 64, Passes: 1}
)

func newSite(t testing.TB) site { t.Helper(); return newSiteWith(t, options{}) }

func newSiteWith(t testing.TB, o options) site {
	t.Helper()
	if o.pool == nil {
		o.pool = dbtest.New(t)
	}
	server := httptest.NewUnstartedServer(nil)
	host := server.Listener.Addr().String()
	s := site{
		url:    "http://" + strings.Replace(host, "127.0.0.1", "localhost", 1),
		pool:   o.pool,
		log:    &logBuffer{},
		server: server,
	}
	public := s.url
	if o.public != "" {
		public = o.public
	}
	publicURL, err := url.Parse(public)
	if err != nil {
		t.Fatal(err)
	}
	if o.ready == nil {
		o.ready = func(ctx context.Context) error { return db.Ready(ctx, o.pool) }
	}
	log := slog.New(slog.NewTextHandler(io.MultiWriter(s.log, outputOf(t)), nil))
	providers, simulated := newProviders(t, &s, "http://"+host+"/sandbox", public, o.hooked)
	if o.more != nil {
		providers = append(providers, o.more(public))
	}
	if o.heard != nil {
		simulated = o.heard(simulated)
	}
	sealer, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	queue, err := jobs.NewQueue(t.Context(), jobs.Options{
		Pool: o.pool, Log: log, Limits: hastyJobs, Queues: providers.Keys(),
		Serial: []string{connection.PictureQueue},
	})
	if err != nil {
		t.Fatal(err)
	}
	client := oauth.NewClient(o.pool, oauth.Options{Limits: cmp.Or(o.calls, patientCalls)})
	syncs := activity.NewSyncQueue(o.pool, queue)
	connections := connection.New(connection.Deps{
		Pool: o.pool, Sealer: sealer, Client: client, Providers: providers, Queue: queue, Syncs: syncs, Log: log,
		Pictures: avatar.New(avatar.Options{Timeout: testkit.Patience, Simulated: host}),
	})
	entries := activity.New(activity.Deps{
		Pool: o.pool, Sealer: sealer, Connections: connections, Providers: providers, Syncs: syncs,
		Rest: 200 * time.Millisecond,
	})
	s.connections, s.entries, s.providers = connections, entries, providers
	background, err := jobs.New(queue, connections, entries)
	if err != nil {
		t.Fatal(err)
	}
	if o.works {
		run(t, background.Run)
	}
	s.handler, err = routes.New(routes.Deps{
		PublicURL:      publicURL,
		TrustedProxies: o.proxies,
		Log:            log,
		Sessions: session.New(session.Options{
			Pool:             o.pool,
			Secure:           publicURL.Scheme == "https",
			LookupTimeout:    testkit.Patience,
			StatementTimeout: testkit.Patience,
		}),
		Accounts:    auth.New(o.pool, "test", auth.Options{Limits: cmp.Or(o.limits, untiring()), Cost: cheap}),
		OAuth:       client,
		Connections: connections,
		Activity:    entries,
		Providers:   providers,
		Sandbox:     &routes.Sandbox{Host: host, Handler: simulated},
		Web:         web.Files,
		Ready:       o.ready,
		WebhookKey:  webhookKey,
		Limits:      cmp.Or(o.pages, patientPages),
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler, server.Config.ConnContext = s.handler, routes.WithFraming
	server.Listener = routes.Framed{Listener: server.Listener}
	server.Start()
	t.Cleanup(server.Close)
	return s
}

// run lets something work until the test ends.
func run(t testing.TB, work func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- work(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func newProviders(t testing.TB, s *site, base, public string, hooked bool) (oauth.Registry, http.Handler) {
	t.Helper()
	apps := map[string]sandbox.App{}
	var providers oauth.Registry
	for _, p := range []struct {
		key, callback string
		make          func(oauth.App) *oauth.Provider
	}{
		{"garmin", "/api/garmin/callback", garmin.New}, {"foursquare", "/api/auth/callback", foursquare.New},
		{"strava", "/api/strava/auth/callback", strava.New},
	} {
		app := sandbox.App{ClientID: p.key + "-id", ClientSecret: p.key + "-s3cr3t", RedirectURI: public + p.callback}
		apps[p.key] = app
		providers = append(providers, p.make(oauth.App{
			ClientID:      app.ClientID,
			ClientSecret:  app.ClientSecret,
			RedirectURL:   app.RedirectURI,
			WebhookSecret: webhookSecrets[p.key],
			Endpoints:     oauth.Endpoints(sandbox.EndpointsOf(base, p.key)),
		}))
	}
	var err error
	foursquare := apps["foursquare"]
	foursquare.PushSecret = "push-s3cr3t"
	apps["foursquare"] = foursquare
	hook := func(provider string) string {
		return strings.TrimSuffix(base, "/sandbox") + routes.WebhookPath(provider, webhookKey)
	}
	o := sandbox.Options{Pool: s.pool, BaseURL: base, Apps: apps, Limits: patientPlayers}
	if hooked {
		o.Hooks = sandbox.Hooks{Strava: hook("strava"), Foursquare: hook("foursquare"),
			GarminActivities: hook("garmin"), GarminDeregistrations: hook("garmin"), GarminPermissions: hook("garmin")}
	}
	if s.sandbox, err = sandbox.New(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	return providers, s.sandbox.Handler()
}

// output writes to a test's output until the test is over, and drops the rest.
type output struct {
	mu   sync.Mutex
	test io.Writer // nil: it is over
}

func outputOf(t testing.TB) *output {
	o := &output{test: t.Output()}
	t.Cleanup(func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.test = nil
	})
	return o
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.test == nil {
		return len(p), nil
	}
	return o.test.Write(p)
}

// logBuffer keeps what was logged, for tests that look for what must not be there.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Reset()
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// browser has cookies and follows no redirects.
type browser struct {
	t    testing.TB
	site site
	*http.Client
}

func newBrowser(t testing.TB, s site) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, s, &http.Client{Jar: jar, Timeout: testkit.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// at is the same browser at another instance.
func (b browser) at(s site) browser { return browser{b.t, s, b.Client} }

type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
	*goquery.Document
}

// do sends a request to a path of the site, or to a whole address. header holds names and values in turn.
func (b browser) do(method, path string, form url.Values, header ...string) answer {
	b.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = b.site.url + path
	}
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	return b.answer(r)
}

// answer sends a request and reads what comes back.
func (b browser) answer(r *http.Request) answer {
	b.t.Helper()
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	doc, err := goquery.NewDocumentFromReader(bytes.NewReader(text))
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{b.t, resp.StatusCode, resp.Header, string(text), doc}
}

func (b browser) get(path string, header ...string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, nil, header...)
}

func (b browser) post(path string, fields ...string) answer {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, path, form)
}

// want checks the status and that the element has the text.
func (a answer) want(status int, selector, text string) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("got status %d (%q), want %d", a.status, strings.TrimSpace(a.Find("h1").Text()), status)
	}
	if selector != "" && !strings.Contains(a.Find(selector).Text(), text) {
		a.t.Fatalf("%s is %q, want %q in it", selector, a.Find(selector).Text(), text)
	}
	return a
}

// to checks that the answer redirects to an address.
func (a answer) to(location string) answer {
	a.t.Helper()
	if a.status != http.StatusSeeOther || a.header.Get("Location") != location {
		heading := strings.TrimSpace(a.Find("h1").Text())
		a.t.Fatalf("got %d to %q (%q), want 303 to %q", a.status, a.header.Get("Location"), heading, location)
	}
	return a
}

// sessionCookie is the header that sets it, "" if none does.
func (a answer) sessionCookie() string {
	for _, value := range a.header.Values("Set-Cookie") {
		if strings.HasPrefix(value, "session=") || strings.HasPrefix(value, "__Host-session=") {
			return value
		}
	}
	return ""
}

// later begins the next quarter of an hour and day of the providers' budgets, and ends all waits.
func (s site) later(t testing.TB) {
	t.Helper()
	for _, sql := range []string{
		`UPDATE cairn.budgets
		 SET paused_until = NULL, quarter = quarter - interval '15 minutes', day = day - interval '1 day'`,
		`UPDATE cairn.connections SET retry_at = NULL`,
	} {
		if _, err := s.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
}

// signedUp is a browser of a new person.
func signedUp(t testing.TB, s site, email string) browser {
	t.Helper()
	b := newBrowser(t, s)
	b.post("/signup", "name", "Ada", "email", email, "password", password).to("/")
	return b
}

// consent presses a button of ours that leads to a provider and returns the address of its consent page.
func (b browser) consent(path string, fields ...string) string {
	b.t.Helper()
	a := b.post(path, fields...)
	if a.status != http.StatusSeeOther || !strings.Contains(a.header.Get("Location"), "/sandbox/") {
		b.t.Fatalf("%s answered %d to %q", path, a.status, a.header.Get("Location"))
	}
	return a.header.Get("Location")
}

// decide answers a consent page and returns the address that the provider sends the browser back to.
func (b browser) decide(consent, person, decision string, scopes ...string) string {
	b.t.Helper()
	form := url.Values{"person": {person}, "decision": {decision}, "scope": {"read", "activity:read_all"},
		"permission": {"ACTIVITY_EXPORT", "HEALTH_EXPORT", "HISTORICAL_DATA_EXPORT"}}
	if scopes != nil {
		form["scope"], form["permission"] = scopes, scopes
	}
	a := b.do(http.MethodPost, consent, form)
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("the consent page answered %d: %s", a.status, a.Find("main").Text())
	}
	back, err := url.Parse(a.header.Get("Location"))
	if err != nil {
		b.t.Fatal(err)
	}
	return back.RequestURI()
}

// connect connects a provider account, the whole way.
func (b browser) connect(provider, person string, scopes ...string) answer {
	b.t.Helper()
	return b.get(b.decide(b.consent("/connect/"+provider), person, "allow", scopes...))
}

// failed comes back from a provider without success, and returns the page that says so. Its address
// has neither code nor state.
func (b browser) failed(callback string) answer {
	b.t.Helper()
	a := b.get(callback)
	location := a.header.Get("Location")
	if a.status != http.StatusSeeOther || strings.Contains(location, "state") || strings.Contains(location, "code") {
		b.t.Fatalf("%d leads to %q, want a page whose address has neither code nor state", a.status, location)
	}
	return b.get(location)
}

func (b browser) signedIn() bool {
	b.t.Helper()
	return b.get("/").Find("header a[href='/account']").Length() > 0
}

func count(t testing.TB, s site, sql string, args ...any) int {
	t.Helper()
	var n int
	if err := s.pool.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
