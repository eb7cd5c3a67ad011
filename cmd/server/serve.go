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
	"cairn/internal/admin"
	"cairn/internal/config"
	"cairn/internal/metrics"
)

const aboutServe = `
It listens on PORT, or on the socket that systemd passes, until SIGTERM or SIGINT.
Without DATABASE_URL it makes a private database below DATA_DIR.
docs/configuration.md lists the environment variables.
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

// server has what the parts of a running server are made from.
type server struct {
	config.Config
	limits   limits
	log      *slog.Logger
	pool     *pgxpool.Pool
	listener listeners
	site     *url.URL // where browsers reach it
}

// serve puts the parts together and answers requests until ctx is done. It stops in this order: it is not ready any
// more and begins no job, requests in flight finish, upkeep ends.
func (s server) serve(ctx context.Context, out io.Writer) error {
	if db.Pooled(s.pool) {
		s.log.Info("a connection pooler stands before the database: statements are not prepared, " +
			"and this server keeps their time limits; server doctor says more")
	}
	scrapes, err := listenMetrics(ctx, s.MetricsAddr)
	if err != nil {
		return err
	}
	observer := metrics.New(s.pool, s.limits.Counting)
	observer.Build(readBuild().labels())
	defer serveMetrics(s.limits, scrapes, observer, s.log)()
	stop := newStopping(s.Stop, s.limits.SandboxWork)
	ready := stop.ready(func(ctx context.Context) error { return db.Ready(ctx, s.pool) })
	handler, work, err := s.assemble(ctx, ready, stop.cut, observer)
	if err != nil {
		return err
	}
	s.sayReady(out)
	answering := newHTTPServer(s.limits, stop.handler(handler), s.log)
	group, ctx := errgroup.WithContext(ctx)
	working, rest := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error { return stop.serve(answering, s.listener) })
	group.Go(func() error { return work.repeatSweeps(working) })
	group.Go(func() error { return work.repeatRetention(working) })
	group.Go(func() error { return work.repeatRecords(working) })
	group.Go(func() error { return work.presence.repeat(working) })
	group.Go(func() error { return work.repeatImports(working) })
	worked := make(chan struct{})
	if s.Sandbox() {
		stop.worked = worked
	}
	group.Go(func() error { defer close(worked); return work.jobs.Run(ctx) })
	group.Go(func() error {
		<-ctx.Done()
		defer rest()
		s.log.Info("stopping", "cause", context.Cause(ctx))
		return stop.drain(context.WithoutCancel(ctx), answering, s.listener)
	})
	return group.Wait()
}

// sayReady logs where browsers find the server. In development it also prints that as a plain line.
func (s server) sayReady(out io.Writer) {
	s.log.Info("Cairn is ready: open " + s.site.String())
	if !s.Production {
		_, _ = fmt.Fprintln(out, "Cairn is ready: "+s.site.String())
	}
	if s.Sandbox() && s.ListenAddr != "" && !config.IsLoopback(s.ListenAddr) {
		s.log.Warn("anyone who can reach LISTEN_ADDR can use the sandbox and sign in as its people: "+
			"let only this machine reach it", "address", s.ListenAddr)
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
