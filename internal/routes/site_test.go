package routes_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/export"
	"cairn/internal/jobs"
	"cairn/internal/mail"
	"cairn/internal/node"
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

	accounts    *auth.Accounts
	connections *connection.Store
	entries     *activity.Store
	providers   oauth.Registry
	changeOver  *node.Node
}

type options struct {
	pool    *pgxpool.Pool // nil: a database of its own
	public  string        // PUBLIC_URL; "": where it really is
	proxies []netip.Prefix
	ready   func(context.Context) error
	works   bool                        // does background work
	calls   oauth.Limits                // zero: patient
	pages   routes.Limits               // zero: patient
	limits  auth.Limits                 // zero: untiring
	hooked  bool                        // the providers send it webhooks
	signIn  func(method, result string) // is told of every sign-in; nil: nothing is
	answer  time.Duration               // the server's limit for a whole answer; 0: none
	stop    <-chan struct{}             // closed: downloads end
	conn    func(net.Conn) net.Conn     // puts something around a connection; nil: nothing does
	exports []export.Part               // more of them, in the archive of a person's data
	node    config.Node                 // the change-over from the Node server
	mail    *testkit.MailServer         // nil: no mail is sent
	clock   func() time.Duration        // of authenticator apps; nil: the database's
	mailed  func(kind, result string)   // is told what became of each message; nil: nothing is
	cost    auth.Cost                   // of a password's hash; zero: cheap
	without string                      // providers of which the operator has no keys
	contact string                      // OPERATOR_CONTACT
	admits  auth.Admission              // SIGNUP; "": open
	// more makes another provider for a site at public; nil: there are three.
	more func(public string) *oauth.Provider
	// heard records what goes to the providers and comes back; nil: nothing does.
	heard func(sandbox http.Handler) http.Handler
}

// untiring are the default limits, but for those that a test would reach at once.
func untiring() auth.Limits {
	l := auth.DefaultLimits()
	for _, often := range []*auth.Limit{
		&l.CallPause, &l.CallHour, &l.CallNetwork, &l.FinishBrowser, &l.FinishAccount, &l.FinishNetwork,
		&l.MailNetwork, &l.ConfirmNetwork,
	} {
		often.Max = 1000
	}
	return l
}

// The time limits of tests that are about something else: they are not reached on a busy machine.
var (
	patientCalls = oauth.Limits{Call: testkit.Patience, Queue: testkit.Patience, Statement: testkit.Patience}
	patientPages = routes.Limits{Probe: testkit.Patience, Page: testkit.Patience, Provider: testkit.Patience,
		Webhook: testkit.Patience, Bulk: testkit.Patience, Write: testkit.Patience}
	patientPlayers = sandbox.Limits{Strava: testkit.Patience, Garmin: testkit.Patience, Foursquare: testkit.Patience,
		Slow: testkit.Patience, Retry: 50 * time.Millisecond}
	patientEntries = activity.Limits{Rest: 200 * time.Millisecond, Fresh: testkit.Patience, Fetching: testkit.Patience}
	hastyJobs      = jobs.Limits{
		PollIdle: 200 * time.Millisecond,
		PollBusy: 100 * time.Millisecond,
	}
	cheap = auth.Cost{Memory: 64, Passes: 1}
)

// parsedWeb is shared by all sites: parsing is most of what this process does to make one.
var parsedWeb = sync.OnceValues(func() (*routes.Web, error) { return routes.ReadWeb(web.Files) })

func readWeb(t testing.TB) *routes.Web {
	t.Helper()
	read, err := parsedWeb()
	if err != nil {
		t.Fatal(err)
	}
	return read
}

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
	providers = slices.DeleteFunc(providers, func(p *oauth.Provider) bool {
		return slices.Contains(strings.Fields(o.without), p.Key)
	})
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
		Pool: o.pool, Log: log, Limits: hastyJobs, Queues: append(providers.Keys(), mail.JobQueue),
		Serial: []string{connection.PictureQueue},
	})
	if err != nil {
		t.Fatal(err)
	}
	changeOver := node.New(node.Deps{
		Pool: o.pool, Log: log, Config: config.Config{Node: o.node, SessionSecret: "s3cr3t"},
	})
	s.changeOver = changeOver
	if err := changeOver.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	client := oauth.NewClient(o.pool, oauth.Options{Limits: cmp.Or(o.calls, patientCalls)})
	syncs := activity.NewSyncQueue(o.pool, queue)
	accounts, post := newAccounts(t, o, sealer, queue, routes.Words{Site: publicURL, Providers: providers})
	connections := connection.New(connection.Deps{
		Pool: o.pool, Accounts: accounts, Sealer: sealer, Client: client, Providers: providers, Queue: queue,
		Syncs: syncs, Log: log,
		Pictures: avatar.New(avatar.Options{Timeout: testkit.Patience, Simulated: host}), Mirror: changeOver.Tokens(),
	})
	entries := activity.New(activity.Deps{
		Pool: o.pool, Sealer: sealer, Connections: connections, Providers: providers, Syncs: syncs,
		Limits: patientEntries,
	})
	s.accounts, s.connections, s.entries, s.providers = accounts, connections, entries, providers
	background, err := jobs.New(queue, append(post, connections, entries)...)
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
			Adopter:          changeOver.Sessions,
			Mirror:           changeOver.Mirror(),
			Secure:           publicURL.Scheme == "https",
			Unproven:         node.Unproven,
			LookupTimeout:    testkit.Patience,
			StatementTimeout: testkit.Patience,
		}),
		Accounts:    accounts,
		OAuth:       client,
		Connections: connections,
		Activity:    entries,
		Providers:   providers,
		Sandbox:     &routes.Sandbox{Host: host, Handler: simulated},
		Web:         readWeb(t),
		Ready:       o.ready,
		WebhookKey:  webhookKey,
		Observer:    routes.Observer{SignIn: o.signIn},
		Limits:      cmp.Or(o.pages, patientPages),
		Stop:        o.stop,
		Operator:    o.contact,
		Parts:       []routes.Part{changeOver.Part(connections, entries), {Exports: o.exports}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Config.Handler, server.Config.ConnContext = s.handler, routes.WithFraming
	server.Config.WriteTimeout = o.answer
	server.Listener = routes.Framed{Listener: tight{server.Listener, o.conn}}
	server.Start()
	t.Cleanup(server.Close)
	return s
}

// newAccounts returns the accounts of a site, and what does their background work.
func newAccounts(
	t testing.TB, o options, sealer *seal.Sealer, queue *jobs.Queue, words routes.Words,
) (*auth.Accounts, []jobs.Feature) {
	t.Helper()
	settings := auth.Options{Limits: cmp.Or(o.limits, untiring()), Cost: cmp.Or(o.cost, cheap),
		Admission: o.admits, Site: words.Site, Sealer: sealer, CodeClock: o.clock}
	if o.mail == nil {
		return auth.New(o.pool, "test", settings), nil
	}
	settings.Mail = &mail.Outbox{Queue: queue}
	accounts := auth.New(o.pool, "test", settings)
	sender, err := mail.New(mail.Options{URL: o.mail.URL, From: &netmail.Address{Address: "cairn@example.org"},
		Site: words.Site, Timeout: testkit.Patience})
	if err != nil {
		t.Fatal(err)
	}
	if o.mailed == nil {
		o.mailed = func(string, string) {}
	}
	return accounts, []jobs.Feature{accounts, mail.NewWorker(mail.Deps{
		Pool: o.pool, Log: slog.New(slog.DiscardHandler), Transport: sender, Accounts: accounts, Words: words.Message,
		Observe: o.mailed,
	})}
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
