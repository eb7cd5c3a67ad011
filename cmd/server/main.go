// Command server is Cairn: it signs people in, connects their accounts at Garmin, Foursquare and Strava, and keeps them
// signed in.
//
//	server           migrates the database and serves
//	server migrate   migrates the database and stops
//	server rekey     seals all tokens with the newest encryption key
//	server sessions  lists or ends sessions: list|end --user E-MAIL | --all
//	server webhooks  prints the addresses that providers are given
//	server strava    manages Strava's events: subscribe | show | unsubscribe
//	server notices   shows what owners of connections that need them are to be told by mail; --each COMMAND hands it over
//	server jobs      counts the background work by kind and state
//	server doctor    checks everything a server needs, and explains what it finds
//	server health    asks the server that listens on PORT whether it is ready, for images without a shell
//
//	main.go       what happens, in order
//	variables.go  the one list of variables, and secrets from files
//	config.go     the environment, read once; guessable.go has the secrets that are refused
//	listen.go     the socket: PORT's, or one that systemd passes
//	log.go        where log lines go
//	stop.go       stopping so that nobody notices
//	providers.go  our registrations at providers, and the sandbox that stands in for them
//	secrets.go    secrets that development makes for itself
//	rekey.go      sealing anew after a change of keys
//	operator.go   what an operator does with sessions
//	notices.go    messages to people whose connection needs them
//	strava.go     the subscription to Strava's events
//	doctor.go     what the doctor looks at, in order; doctor_database.go and doctor_providers.go have the checks
//	metrics.go    the listener where Prometheus asks
//	upkeep.go     what is done off the requests' path
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"

	"cairn/db"
	"cairn/db/embedded"
	"cairn/internal/auth"
	"cairn/internal/jobs"
	"cairn/internal/latest"
	"cairn/internal/metrics"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/web"
)

func main() {
	embedded.Supervise()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	if err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cairn:", err)
		os.Exit(1)
	}
}

// gcPercent is GOGC unless the environment sets it. Little lives long here and each request leaves some kilobytes, so that Go's
// 100 collects dozens of times a second under load (make bench); more than 200 is felt in memory when many people sign in.
const gcPercent = 200

var errUsage = errors.New("usage: server [migrate | rekey | jobs | webhooks | doctor | health | strava subscribe|show|unsubscribe | notices [--each COMMAND] | sessions list|end --user E-MAIL|--all]")

// run is the whole program but the exit. It returns nil when it was asked to stop and everything had its end.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	command, err := parseCommand(args)
	if err != nil {
		return err
	}
	if command.name == "doctor" { // a configuration with problems is among what it explains
		return doctor(ctx, getenv, stdout)
	}
	getenv, err = withDotEnv(getenv)
	if err != nil {
		return err
	}
	config, err := loadConfig(getenv)
	if err != nil {
		return fmt.Errorf("the configuration has problems:\n%w", err)
	}
	log, flush := newLogger(stderr)
	defer flush()
	switch command.name {
	case "migrate":
		return withDatabase(ctx, config, log, func(*pgxpool.Pool) error { return nil })
	case "health":
		return health(ctx, config)
	case "rekey":
		return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error { return rekey(ctx, config, pool, stdout) })
	case "jobs":
		return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error { return listJobs(ctx, pool, stdout) })
	case "webhooks":
		return listWebhooks(config, stdout)
	case "strava":
		return stravaCommand(ctx, config, command.verb, stdout)
	case "notices":
		return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error {
			return notices(ctx, config, pool, command.each, stdout, stderr)
		})
	case "sessions":
		return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error { return operate(ctx, config, pool, command.order, stdout) })
	}
	listener, err := listen(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = listener.Close() }()
	return withDatabase(ctx, config, log, func(pool *pgxpool.Pool) error { return serve(ctx, config, log, listener, pool) })
}

// command is what the program was called for; the zero value is to serve.
type command struct {
	name  string
	order order  // of "sessions"
	verb  string // of "strava"
	each  string // of "notices"
}

func parseCommand(args []string) (command, error) {
	switch {
	case len(args) == 0:
		return command{}, nil
	case args[0] == "sessions":
		o, err := parseOrder(args[1:])
		return command{name: "sessions", order: o}, err
	case args[0] == "notices":
		each, err := parseNotices(args[1:])
		return command{name: "notices", each: each}, err
	case args[0] == "strava":
		if len(args) != 2 || !slices.Contains([]string{"subscribe", "show", "unsubscribe"}, args[1]) {
			return command{}, errStravaUsage
		}
		return command{name: "strava", verb: args[1]}, nil
	case len(args) == 1 && slices.Contains([]string{"migrate", "rekey", "jobs", "webhooks", "doctor", "health"}, args[0]):
		return command{name: args[0]}, nil
	}
	return command{}, errUsage
}

func health(ctx context.Context, config Config) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(config.selfAddr(), strconv.Itoa(config.Port))+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s", resp.Status)
	}
	return nil
}

// withDatabase opens and migrates the database, starting a private one if none is configured, and closes it after use.
func withDatabase(ctx context.Context, config Config, log *slog.Logger, use func(*pgxpool.Pool) error) error {
	address := config.DatabaseURL
	if address == "" {
		server, err := embedded.Start(ctx, embedded.Options{Dir: config.DataDir, Log: log})
		if err != nil {
			return err
		}
		defer func() { _ = server.Stop() }()
		address = server.URL()
	}
	pool, err := db.Open(ctx, address, log)
	if err != nil {
		return err
	}
	defer pool.Close()
	if err := db.Migrate(ctx, pool, log); err != nil {
		return err
	}
	return use(pool)
}

// serve puts the parts together and answers requests until ctx is done. It stops in order: readiness goes off and no job is
// begun, requests in flight finish, upkeep ends.
func serve(ctx context.Context, config Config, log *slog.Logger, listener listeners, pool *pgxpool.Pool) error {
	scrapes, err := listenMetrics(ctx, config.MetricsAddr)
	if err != nil {
		return err
	}
	watch := metrics.New(pool)
	defer serveMetrics(scrapes, watch, log)()
	stop := newStopping(config.Stop)
	ready := stop.ready(func(ctx context.Context) error { return db.Ready(ctx, pool) })
	handler, own, err := assemble(ctx, config, log, listener.port(), pool, ready, watch)
	if err != nil {
		return err
	}
	server := newHTTPServer(stop.handler(handler), log)
	group, ctx := errgroup.WithContext(ctx)
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return stop.serve(server, listener) })
	group.Go(func() error { return own.repeat(working) })
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
func assemble(ctx context.Context, config Config, log *slog.Logger, port int, pool *pgxpool.Pool, ready func(context.Context) error, watch *metrics.Metrics) (http.Handler, upkeep, error) {
	config, err := withSecrets(config)
	if err != nil {
		return nil, upkeep{}, err
	}
	sealer, err := seal.New(config.EncryptionKeys...)
	if err != nil {
		return nil, upkeep{}, err
	}
	site := cmp.Or(config.PublicURL, localSite(port))
	providers, played, err := makeProviders(ctx, config, log, pool, site, port)
	if err != nil {
		return nil, upkeep{}, err
	}
	own := upkeep{
		log: log,
		sessions: session.New(session.Options{
			Pool: pool, Lifetime: config.Lifetime, MaxLifetime: config.MaxLifetime, Secure: site.Scheme == "https",
		}),
		accounts:    auth.New(pool, config.SessionSecret),
		connections: oauth.New(pool, sealer, oauth.Limits{}),
	}
	own.connections.Observe = watch.ProviderCall
	if err := needKeys(ctx, own.connections); err != nil {
		return nil, upkeep{}, err
	}
	entries := latest.New(pool, sealer, own.connections)
	own.jobs, err = jobs.New(jobs.Deps{Pool: pool, Log: log, Connections: own.connections, Latest: entries, Providers: providers})
	if err != nil {
		return nil, upkeep{}, err
	}
	own.connections.Later, own.connections.Made, own.connections.Telling = own.jobs.Withdraw, own.jobs.VisitNew, own.jobs.VisitLater
	watch.Count(own.sessions, own.connections, pool)
	handler, err := routes.New(routes.Deps{
		PublicURL: site, TrustedProxies: config.TrustedProxies, Log: log,
		Sessions: own.sessions, Accounts: own.accounts, Connections: own.connections, Latest: entries, Jobs: own.jobs,
		Providers: providers, Sandbox: played, Web: web.Files, Ready: ready,
		Webhooks: routes.Webhooks{Key: webhookKey(config), VerifyToken: verifyToken(config), PushSecret: config.FoursquarePushSecret},
		Watch:    routes.Watch{Request: watch.Request, SignIn: watch.SignIn},
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	log.Info("Cairn is ready: open " + site.String())
	return handler, own, nil
}

func newHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      45 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}
