// Command server is Cairn: it signs people in, connects their accounts at Garmin, Foursquare and Strava, and keeps them
// signed in.
//
// server help lists the commands.
//
//	command.go    the table of commands, and how one is called; help.go explains them,
//	              listing.go prints what they list
//	main.go       what serving is, in order
//	variables.go  the one list of variables, and secrets from files
//	config.go     the environment, read once; guessable.go has the secrets that are refused
//	limits.go     time limits and their defaults
//	listen.go     the socket: PORT's, or one that systemd passes
//	database.go   opening the database, with and without migrating it
//	log.go        where log lines go
//	stop.go       stopping so that nobody notices
//	providers.go  our registrations at providers, and the sandbox that stands in for them
//	secrets.go    secrets that development makes for itself
//	proxies.go    warnings of untrusted proxies
//	presence.go   announcing this server to the others, and following which keys they hold
//	rekey.go      sealing anew after a change of keys
//	sessions.go, instances.go, jobs.go, version.go, health.go   commands for operators
//	notices.go    messages to people whose connection needs them; hide_linux.go keeps secrets
//	              from the command that sends them
//	strava.go     the subscription to Strava's events, webhooks.go the other addresses
//	doctor.go     the doctor's checks, in order; they are in doctor_*.go
//	metrics.go    the listener where Prometheus asks
//	upkeep.go     what is done off the requests' path
package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"
	_ "time/tzdata" // a container may have none

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"cairn/db"
	"cairn/db/embedded"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/jobs"
	"cairn/internal/metrics"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/web"
)

func main() { program(limits{}) }

// program is the process of this program; only tests give it other limits.
func program(l limits) {
	embedded.Supervise()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	if err := run(ctx, l.withDefaults(), os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cairn:", err)
		os.Exit(exitCode(err))
	}
}

// gcPercent is GOGC unless the environment sets it. Little lives long here and each request leaves
// some kilobytes, so Go's default of 100 collects dozens of times a second under load (make bench).
// More than 200 costs noticeable memory when many people sign in.
const gcPercent = 200

const aboutServe = `
It listens on PORT, or on the socket that systemd passes, until SIGTERM or SIGINT.
Without DATABASE_URL it makes a private database below DATA_DIR.
docs/configuration.md lists the variables of the environment.
`

func serveCommand(ctx context.Context, e env, out io.Writer) error {
	if err := parse(e.args, nil); err != nil {
		return err
	}
	config, err := e.config()
	if err != nil {
		return err
	}
	log, flush := newLogger(e.stderr, config.LogLevel)
	defer flush()
	b := readBuild()
	log.Info("starting", "version", b.Version, "revision", b.Revision, "modified", b.Modified,
		"go", b.Go, "schema", b.Schema)
	listener, err := listen(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error {
		return serve(ctx, config, log, out, listener, pool)
	})
}

// serve puts the parts together and answers requests until ctx is done. It stops in order: readiness goes off and no
// job is begun, requests in flight finish, upkeep ends.
func serve(
	ctx context.Context, config Config, log *slog.Logger, out io.Writer, listener listeners, pool *pgxpool.Pool,
) error {
	if db.Pooled(pool) {
		log.Info("a connection pooler stands before the database: statements are not prepared, " +
			"and their time limits are kept on this side; server doctor tells more")
	}
	scrapes, err := listenMetrics(ctx, config.MetricsAddr)
	if err != nil {
		return err
	}
	watch := metrics.New(pool, config.limits.Counting)
	watch.Build(readBuild().labels())
	defer serveMetrics(config.limits, scrapes, watch, log)()
	stop := newStopping(config.Stop, config.limits.SandboxWork)
	ready := stop.ready(func(ctx context.Context) error { return db.Ready(ctx, pool) })
	handler, own, err := assemble(ctx, config, log, listener.port(), pool, ready, watch)
	if err != nil {
		return err
	}
	sayReady(config, log, out, listener.port())
	server := newHTTPServer(config.limits, stop.handler(handler), log)
	group, ctx := errgroup.WithContext(ctx)
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return stop.serve(server, listener) })
	group.Go(func() error { return own.repeat(working) })
	group.Go(func() error { return own.presence.repeat(working) })
	worked := make(chan struct{})
	if config.Sandbox() {
		stop.worked = worked
	}
	group.Go(func() error { defer close(worked); return own.jobs.Run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		defer rest()
		log.Info("stopping", "cause", context.Cause(ctx))
		return stop.drain(context.WithoutCancel(ctx), server, listener)
	})
	return group.Wait()
}

// assemble makes every part and hands it what it needs. port is the one that is listened on.
func assemble(
	ctx context.Context, config Config, log *slog.Logger, port int, pool *pgxpool.Pool,
	ready func(context.Context) error, watch *metrics.Metrics,
) (http.Handler, upkeep, error) {
	config, err := withSecrets(config)
	if err != nil {
		return nil, upkeep{}, err
	}
	sealer, err := seal.New(config.EncryptionKeys...)
	if err != nil {
		return nil, upkeep{}, err
	}
	site := cmp.Or(config.PublicURL, localSite(port))
	providers, simulated, err := makeProviders(ctx, config, log, pool, site, port)
	if err != nil {
		return nil, upkeep{}, err
	}
	listen, err := db.Direct(pool, config.DirectDatabaseURL)
	if err != nil {
		return nil, upkeep{}, err
	}
	queue, err := jobs.NewQueue(ctx, jobs.Options{Pool: pool, Log: log, Limits: config.limits.Jobs, Listen: listen})
	if err != nil {
		return nil, upkeep{}, err
	}
	limited := config.limits.accounts()
	limited.Refused = watch.Limited
	own := upkeep{
		log:      log,
		batch:    config.limits.Upkeep,
		sessions: session.New(config.sessions(session.Options{Pool: pool, Secure: site.Scheme == "https"})),
		accounts: auth.New(pool, config.SessionSecret, limited),
		connections: oauth.New(pool, sealer, oauth.Options{
			Limits: config.limits.Calls, Queue: queue, Observe: watch.ProviderCall,
		}),
	}
	own.presence = newPresence(pool, log, sealer, own.connections, config.limits.Upkeep)
	if err := own.presence.enter(ctx); err != nil {
		return nil, upkeep{}, err
	}
	entries := activity.New(pool, sealer, own.connections)
	own.jobs, err = jobs.New(jobs.Deps{
		Queue: queue, Connections: own.connections, Activity: entries, Providers: providers,
		Pictures: newPictures(simulated),
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	ready = own.presence.ready(ready)
	watch.Count(own.sessions, own.connections, pool)
	watch.Ready(ready)
	watch.Hashes(own.accounts.HashLoad)
	handler, err := routes.New(routes.Deps{
		PublicURL: site, TrustedProxies: config.TrustedProxies, Log: log,
		Sessions: own.sessions, Accounts: own.accounts, Connections: own.connections, Activity: entries, Jobs: queue,
		Providers: providers, Sandbox: simulated, Web: web.Files, Ready: ready, Instance: own.presence.ID,
		Webhooks: routes.Webhooks{
			Key: webhookKey(config), VerifyToken: verifyToken(config), PushSecret: config.FoursquarePushSecret,
		},
		Watch: routes.Watch{
			Request: watch.Request, SignIn: watch.SignIn, Untrusted: noteUntrusted(log, own.presence.Self),
		},
		Limits: config.limits.Pages,
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
func sayReady(config Config, log *slog.Logger, out io.Writer, port int) {
	site := cmp.Or(config.PublicURL, localSite(port)).String()
	log.Info("Cairn is ready: open " + site)
	if !config.Production {
		_, _ = fmt.Fprintln(out, "Cairn is ready: "+site)
	}
	if config.Sandbox() && config.ListenAddr != "" && !isLoopback(config.ListenAddr) {
		log.Warn("everything that reaches LISTEN_ADDR can use the sandbox and sign in as its people: "+
			"keep it to this machine", "address", config.ListenAddr)
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
