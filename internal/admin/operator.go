package admin

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/mail"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// LockOutOf returns what ends access to an account by methods that package access does not know.
type LockOutOf func(config.Config, *pgxpool.Pool, *slog.Logger) access.LockOut

// operator is what acts on accounts take, as in a server.
type operator struct {
	access.Access
	config config.Config
}

// operate opens the database for acts on accounts. In their context they are the operator's (auth.Origin).
func (e Env) operate(ctx context.Context, act func(context.Context, operator) error) error {
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		c, err := c.WithSecrets()
		if err != nil {
			return err
		}
		providers, err := providersOf(c)
		if err != nil {
			return err
		}
		log, flush := e.Log(c.LogLevel)
		defer flush()
		queue, err := jobs.NewQueue(ctx, jobs.Options{
			Pool: pool, Log: log, Queues: append(providers.Keys(), mail.JobQueue),
		})
		if err != nil {
			return err
		}
		o, err := e.newOperator(ctx, c, queue)
		if err != nil {
			return err
		}
		o.Providers = providers
		return act(auth.WithOrigin(ctx, auth.Origin{Operator: true}), o)
	})
}

// providersOf returns the providers at which accounts can be connected. Those of the sandbox have keys only while it
// runs.
func providersOf(c config.Config) (oauth.Registry, error) {
	all, err := c.Registered(c.Apps, c.Site())
	if err != nil || c.Sandbox() {
		return all, err
	}
	return all.Usable(), nil
}

func (e Env) newOperator(ctx context.Context, c config.Config, queue *jobs.Queue) (operator, error) {
	pool := queue.Pool
	sealer, err := NewSealer(ctx, pool, c)
	if err != nil {
		return operator{}, err
	}
	accounts := auth.Options{}
	if c.Mail.Server != nil || c.Sandbox() {
		accounts.Mail = &mail.Outbox{Queue: queue}
	}
	o := operator{config: c}
	o.Accounts = auth.New(pool, c.SessionSecret, accounts)
	o.Connections = connection.New(connection.Deps{
		Pool: pool, Sealer: sealer, Client: oauth.NewClient(pool, oauth.Options{Limits: e.Limits.Calls}), Queue: queue,
	})
	o.Sessions = session.New(session.Options{
		Pool: pool, Lifetime: c.Lifetime, MaxLifetime: c.MaxLifetime,
		LookupTimeout: e.Limits.SessionLookup, StatementTimeout: e.Limits.SessionStatement,
	})
	if e.LockOut != nil {
		o.LockOut = []access.LockOut{e.LockOut(c, pool, queue.Log)}
	}
	return o, CheckKeys(ctx, Secrets(pool, sealer))
}
