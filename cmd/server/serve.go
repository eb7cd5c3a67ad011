package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"cairn/db"
	"cairn/internal/activity"
	"cairn/internal/admin"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/metrics"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/web"
)

const aboutServe = `
It listens on PORT, or on the socket that systemd passes, until SIGTERM or SIGINT.
Without DATABASE_URL it makes a private database below DATA_DIR.
docs/configuration.md lists the variables of the environment.
`

// serve migrates the database and serves until ctx is done.
func (l limits) serve(ctx context.Context, e admin.Env, out io.Writer) error {
	if err := admin.Parse(e.Args, nil); err != nil {
		return err
	}
	c, err := e.Config()
	if err != nil {
		return err
	}
	log, flush := e.Log(c.LogLevel)
	defer flush()
	b := readBuild()
	log.Info("starting", "version", b.Version, "revision", b.Revision, "modified", b.Modified,
		"go", b.Go, "schema", b.Schema)
	listener, err := listen(ctx, c)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	return admin.WithDatabase(ctx, c, log, func(pool *pgxpool.Pool) error {
		if c, err = c.WithSecrets(); err != nil {
			return err
		}
		s := server{Config: c, limits: l, log: log, pool: pool, listener: listener}
		s.site = cmp.Or(c.PublicURL, config.LocalSite(listener.port()))
		return s.serve(ctx, out)
	})
}

// server is what the parts of a running server are made of.
type server struct {
	config.Config
	limits   limits
	log      *slog.Logger
	pool     *pgxpool.Pool
	listener listeners
	site     *url.URL // where browsers reach it
}

// serve puts the parts together and answers requests until ctx is done. It stops in order: readiness goes off and no
// job is begun, requests in flight finish, upkeep ends.
func (s server) serve(ctx context.Context, out io.Writer) error {
	if db.Pooled(s.pool) {
		s.log.Info("a connection pooler stands before the database: statements are not prepared, " +
			"and their time limits are kept on this side; server doctor tells more")
	}
	scrapes, err := listenMetrics(ctx, s.MetricsAddr)
	if err != nil {
		return err
	}
	watch := metrics.New(s.pool, s.limits.Counting)
	watch.Build(readBuild().labels())
	defer serveMetrics(s.limits, scrapes, watch, s.log)()
	stop := newStopping(s.Stop, s.limits.SandboxWork)
	ready := stop.ready(func(ctx context.Context) error { return db.Ready(ctx, s.pool) })
	handler, own, err := s.assemble(ctx, ready, watch)
	if err != nil {
		return err
	}
	s.sayReady(out)
	answering := newHTTPServer(s.limits, stop.handler(handler), s.log)
	group, ctx := errgroup.WithContext(ctx)
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return stop.serve(answering, s.listener) })
	group.Go(func() error { return own.repeat(working) })
	group.Go(func() error { return own.presence.repeat(working) })
	worked := make(chan struct{})
	if s.Sandbox() {
		stop.worked = worked
	}
	group.Go(func() error { defer close(worked); return own.jobs.Run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		defer rest()
		s.log.Info("stopping", "cause", context.Cause(ctx))
		return stop.drain(context.WithoutCancel(ctx), answering, s.listener)
	})
	return group.Wait()
}

// assemble makes every part and hands it what it needs.
func (s server) assemble(
	ctx context.Context, ready func(context.Context) error, watch *metrics.Metrics,
) (http.Handler, upkeep, error) {
	sealer, err := seal.New(s.EncryptionKeys...)
	if err != nil {
		return nil, upkeep{}, err
	}
	providers, simulated, err := s.makeProviders(ctx)
	if err != nil {
		return nil, upkeep{}, err
	}
	listen, err := db.Direct(s.pool, s.DirectDatabaseURL)
	if err != nil {
		return nil, upkeep{}, err
	}
	queue, err := jobs.NewQueue(ctx, jobs.Options{
		Pool: s.pool, Log: s.log, Limits: s.limits.Jobs, Listen: listen, Queues: providers.Keys(),
		Serial: []string{connection.PictureQueue},
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	own := upkeep{
		log:   s.log,
		batch: s.limits.Upkeep,
		sessions: session.New(session.Options{
			Pool: s.pool, Secure: s.site.Scheme == "https", Lifetime: s.Lifetime, MaxLifetime: s.MaxLifetime,
			LookupTimeout: s.limits.SessionLookup, StatementTimeout: s.limits.SessionStatement,
		}),
		accounts: auth.New(s.pool, s.SessionSecret, auth.Options{
			Cost: s.limits.Passwords, Limits: s.limits.Rates, Refused: watch.Limited, Known: providers.Names(),
		}),
		oauth: oauth.NewClient(s.pool, oauth.Options{Limits: s.limits.Calls, Observe: watch.ProviderCall}),
	}
	syncs := activity.NewSyncQueue(s.pool, queue)
	own.connections = connection.New(connection.Deps{
		Pool: s.pool, Sealer: sealer, Client: own.oauth, Providers: providers, Queue: queue, Syncs: syncs,
		Pictures: newPictures(simulated), Log: s.log,
	})
	own.presence = newPresence(s.pool, s.log, sealer, own.connections, s.limits.Upkeep)
	if err := own.presence.enter(ctx); err != nil {
		return nil, upkeep{}, err
	}
	entries := activity.New(activity.Deps{
		Pool: s.pool, Sealer: sealer, Connections: own.connections, Providers: providers, Syncs: syncs,
	})
	own.jobs, err = jobs.New(queue, own.connections, entries)
	if err != nil {
		return nil, upkeep{}, err
	}
	ready = own.presence.ready(ready)
	watch.Count(own.sessions, s.pool)
	watch.Ready(ready)
	watch.Hashes(own.accounts.HashLoad)
	handler, err := routes.New(routes.Deps{
		PublicURL: s.site, TrustedProxies: s.TrustedProxies, Log: s.log,
		Sessions: own.sessions, Accounts: own.accounts, OAuth: own.oauth, Connections: own.connections,
		Activity: entries, Providers: providers.Usable(), Sandbox: simulated,
		Web: web.Files, Ready: ready, Instance: own.presence.ID, WebhookKey: s.WebhookKey(),
		Watch: routes.Watch{
			Request: watch.Request, SignIn: watch.SignIn, Untrusted: noteUntrusted(s.log, own.presence.Self),
		},
		Limits: s.limits.Pages,
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	return handler, own, nil
}

// newPictures fetches people's pictures, from the simulated providers too if there are.
func newPictures(simulated *routes.Sandbox) *avatar.Fetcher {
	if simulated == nil {
		return avatar.New(avatar.Options{})
	}
	return avatar.New(avatar.Options{Simulated: simulated.Host})
}

// sayReady says where browsers go. In development that is also a plain line, whichever format the log has.
func (s server) sayReady(out io.Writer) {
	s.log.Info("Cairn is ready: open " + s.site.String())
	if !s.Production {
		_, _ = fmt.Fprintln(out, "Cairn is ready: "+s.site.String())
	}
	if s.Sandbox() && s.ListenAddr != "" && !config.IsLoopback(s.ListenAddr) {
		s.log.Warn("everything that reaches LISTEN_ADDR can use the sandbox and sign in as its people: "+
			"keep it to this machine", "address", s.ListenAddr)
	}
}

func newHTTPServer(l limits, handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: l.RequestHeader,
		ReadTimeout:       l.Request,
		WriteTimeout:      l.Response,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
