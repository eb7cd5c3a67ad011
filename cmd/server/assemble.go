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
	ctx context.Context, ready func(context.Context) error, cut <-chan struct{}, observer *metrics.Metrics,
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
	changeOver := s.newChangeOver(observer)
	if err := changeOver.Start(ctx); err != nil {
		return nil, upkeep{}, err
	}
	work := s.newUpkeep(observer, changeOver)
	work.accounts = s.newAccounts(providers, observer, newOutbox(transport, queue), sealer)
	syncs := activity.NewSyncQueue(s.pool, queue)
	work.connections = connection.New(connection.Deps{
		Pool: s.pool, Sealer: sealer, Client: work.oauth, Providers: providers, Queue: queue, Syncs: syncs,
		Accounts: work.accounts, Pictures: newPictures(simulated.site), Log: s.log, Mirror: changeOver.Tokens(),
	})
	if work.importer, err = changeOver.Importer(work.connections); err != nil {
		return nil, upkeep{}, err
	}
	work.presence = newPresence(s.pool, s.log, sealer, s.limits.Upkeep)
	if err := work.presence.enter(ctx); err != nil {
		return nil, upkeep{}, err
	}
	work.entries = activity.New(activity.Deps{
		Pool: s.pool, Sealer: sealer, Connections: work.connections, Providers: providers, Syncs: syncs,
	})
	features := []jobs.Feature{work.connections, work.entries}
	if transport != nil {
		features = append(features, work.accounts, mail.NewWorker(mail.Deps{
			Pool: s.pool, Log: s.log, Transport: transport, Accounts: work.accounts, Words: words.Message,
			Observe: observer.Mail,
		}))
	}
	if work.jobs, err = jobs.New(queue, features...); err != nil {
		return nil, upkeep{}, err
	}
	ready = work.presence.ready(ready)
	observer.Count(work.sessions, s.pool)
	observer.Ready(ready)
	observer.Hashes(work.accounts.HashLoad)
	site, err := routes.ReadWeb(web.Files)
	if err != nil {
		return nil, upkeep{}, err
	}
	handler, err := routes.New(routes.Deps{
		PublicURL: s.site, TrustedProxies: s.TrustedProxies, Log: s.log,
		Sessions: work.sessions, Accounts: work.accounts, OAuth: work.oauth, Connections: work.connections,
		Activity: work.entries, Providers: providers.Usable(), Sandbox: simulated.site,
		Web: site, Ready: ready, Instance: work.presence.ID, WebhookKey: s.WebhookKey(),
		Observer: routes.Observer{
			Request: observer.Request, SignIn: observer.SignIn, Untrusted: noteUntrusted(s.log, work.presence.Self),
		},
		Limits: s.limits.Pages, Stop: cut, Operator: s.Mail.Operator,
		Parts: []routes.Part{changeOver.Part(work.connections, work.entries)},
	})
	if err != nil {
		return nil, upkeep{}, err
	}
	return handler, work, nil
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

func (s server) newChangeOver(observer *metrics.Metrics) *node.Node {
	return node.New(node.Deps{
		Pool: s.pool, Log: s.log, Config: s.Config, Observe: observer.NodeAdoption,
	})
}

func (s server) newAccounts(
	providers oauth.Registry, observer *metrics.Metrics, outbox *mail.Outbox, sealer *seal.Sealer,
) *auth.Accounts {
	return auth.New(s.pool, s.SessionSecret, auth.Options{
		Cost: s.limits.Passwords, Limits: s.limits.Rates, Refused: observer.Limited, Known: providers.Names(),
		Mail: outbox, Site: s.site, Sealer: sealer, Admission: auth.Admission(s.SignUp),
	})
}

// newUpkeep returns an upkeep with the parts that need no others.
func (s server) newUpkeep(observer *metrics.Metrics, changeOver *node.Node) upkeep {
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
		oauth: oauth.NewClient(s.pool, oauth.Options{Limits: s.limits.Calls, Observe: observer.ProviderCall}),
	}
}

// newPictures returns a fetcher of people's pictures, which may call the simulated providers if there are any.
func newPictures(simulated *routes.Sandbox) *avatar.Fetcher {
	if simulated == nil {
		return avatar.New(avatar.Options{})
	}
	return avatar.New(avatar.Options{Simulated: simulated.Host})
}
