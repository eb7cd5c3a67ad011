package main

import (
	"context"
	"net/http"

	"cairn/db"
	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/avatar"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/mail"
	"cairn/internal/metrics"
	"cairn/internal/node"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/web"
)

// assemble makes every part and hands it what it needs.
func (s server) assemble(
	ctx context.Context, ready func(context.Context) error, cut <-chan struct{}, watch *metrics.Metrics,
) (http.Handler, upkeep, error) {
	sealer, err := seal.New(s.EncryptionKeys...)
	if err != nil {
		return nil, upkeep{}, err
	}
	providers, simulated, err := s.makeProviders(ctx)
	if err != nil {
		return nil, upkeep{}, err
	}
	queue, err := s.newQueue(ctx, providers)
	if err != nil {
		return nil, upkeep{}, err
	}
	words := routes.Words{Site: s.site, Providers: providers, Operator: s.Mail.Operator}
	transport, err := s.newTransport(simulated)
	if err != nil {
		return nil, upkeep{}, err
	}
	changeOver := s.newChangeOver(watch)
	if err := changeOver.Start(ctx); err != nil {
		return nil, upkeep{}, err
	}
	own := s.newUpkeep(watch, changeOver)
	own.accounts = s.newAccounts(providers, watch, newOutbox(transport, queue), sealer)
	syncs := activity.NewSyncQueue(s.pool, queue)
	own.connections = connection.New(connection.Deps{
		Pool: s.pool, Sealer: sealer, Client: own.oauth, Providers: providers, Queue: queue, Syncs: syncs,
		Accounts: own.accounts, Pictures: newPictures(simulated.site), Log: s.log, Mirror: changeOver.Tokens(),
	})
	if own.importer, err = changeOver.Importer(own.connections); err != nil {
		return nil, upkeep{}, err
	}
	own.presence = newPresence(s.pool, s.log, sealer, s.limits.Upkeep)
	if err := own.presence.enter(ctx); err != nil {
		return nil, upkeep{}, err
	}
	own.entries = activity.New(activity.Deps{
		Pool: s.pool, Sealer: sealer, Connections: own.connections, Providers: providers, Syncs: syncs,
	})
	features := []jobs.Feature{own.connections, own.entries}
	if transport != nil {
		features = append(features, own.accounts, mail.NewWorker(mail.Deps{
			Pool: s.pool, Log: s.log, Transport: transport, Accounts: own.accounts, Words: words.Message,
			Observe: watch.Mail,
		}))
	}
	if own.jobs, err = jobs.New(queue, features...); err != nil {
		return nil, upkeep{}, err
	}
	ready = own.presence.ready(ready)
	watch.Count(own.sessions, s.pool)
	watch.Ready(ready)
	watch.Hashes(own.accounts.HashLoad)
	site, err := routes.ReadWeb(web.Files)
	if err != nil {
		return nil, upkeep{}, err
	}
	handler, err := routes.New(routes.Deps{
		PublicURL: s.site, TrustedProxies: s.TrustedProxies, Log: s.log,
		Sessions: own.sessions, Accounts: own.accounts, OAuth: own.oauth, Connections: own.connections,
		Activity: own.entries, Providers: providers.Usable(), Sandbox: simulated.site,
		Web: site, Ready: ready, Instance: own.presence.ID, WebhookKey: s.WebhookKey(),
		Observer: routes.Observer{
			Request: watch.Request, SignIn: watch.SignIn, Untrusted: noteUntrusted(s.log, own.presence.Self),
		},
		Limits: s.limits.Pages, Stop: cut, Operator: s.Mail.Operator,
		Parts: []routes.Part{changeOver.Part(own.connections, own.entries)},
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	return handler, own, nil
}

func (s server) newQueue(ctx context.Context, providers oauth.Registry) (*jobs.Queue, error) {
	listen, err := db.Direct(s.pool, s.DirectDatabaseURL)
	if err != nil {
		return nil, err
	}
	return jobs.NewQueue(ctx, jobs.Options{
		Pool: s.pool, Log: s.log, Limits: s.limits.Jobs, Listen: listen,
		Queues: append(providers.Keys(), mail.JobQueue),
		Serial: []string{connection.PictureQueue},
	})
}

func (s server) newChangeOver(watch *metrics.Metrics) *node.Node {
	return node.New(node.Deps{
		Pool: s.pool, Log: s.log, Config: s.Config, Observe: watch.NodeAdoption,
	})
}

func (s server) newAccounts(
	providers oauth.Registry, watch *metrics.Metrics, outbox *mail.Outbox, sealer *seal.Sealer,
) *auth.Accounts {
	return auth.New(s.pool, s.SessionSecret, auth.Options{
		Cost: s.limits.Passwords, Limits: s.limits.Rates, Refused: watch.Limited, Known: providers.Names(),
		Mail: outbox, Site: s.site, Sealer: sealer, Admission: auth.Admission(s.SignUp),
	})
}

// newUpkeep returns an upkeep with the parts that need no others.
func (s server) newUpkeep(watch *metrics.Metrics, changeOver *node.Node) upkeep {
	return upkeep{
		log:   s.log,
		pool:  s.pool,
		batch: s.limits.Upkeep,
		node:  changeOver,
		sessions: session.New(session.Options{
			Pool: s.pool, Secure: s.site.Scheme == "https", Lifetime: s.Lifetime, MaxLifetime: s.MaxLifetime,
			Unproven: node.Unproven, Adopter: changeOver.Sessions, Mirror: changeOver.Mirror(),
			LookupTimeout: s.limits.SessionLookup, StatementTimeout: s.limits.SessionStatement,
		}),
		oauth: oauth.NewClient(s.pool, oauth.Options{Limits: s.limits.Calls, Observe: watch.ProviderCall}),
	}
}

// newPictures returns a fetcher of people's pictures, which may call the simulated providers if there are any.
func newPictures(simulated *routes.Sandbox) *avatar.Fetcher {
	if simulated == nil {
		return avatar.New(avatar.Options{})
	}
	return avatar.New(avatar.Options{Simulated: simulated.Host})
}
