package main

import (
	"cmp"
	"context"
	"net"
	"strconv"

	"cairn/internal/config"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
)

// simulation is the sandbox that simulates the providers, and where it is. Both are nil if the providers are real.
type simulation struct {
	*sandbox.Sandbox
	site *routes.Sandbox
}

// makeProviders returns the real providers, or the simulated ones and their sandbox.
func (s server) makeProviders(ctx context.Context) (oauth.Registry, simulation, error) {
	if !s.Sandbox() {
		providers, err := s.Registered(s.Apps, s.site)
		return providers, simulation{}, err
	}
	simulated, apps, err := s.startSandbox(ctx)
	if err != nil {
		return nil, simulation{}, err
	}
	providers, err := s.Registered(apps, s.site)
	return providers, simulated, err
}

// startSandbox simulates the three providers at 127.0.0.1, which to browsers is another site than localhost. Browsers
// use the port of our site, and we use the port we listen on. In a container these differ.
func (s server) startSandbox(ctx context.Context) (simulation, map[string]oauth.App, error) {
	site, host := s.site, s.site.Host
	if site.Hostname() == "localhost" {
		host = net.JoinHostPort("127.0.0.1", cmp.Or(site.Port(), "80"))
	}
	base := site.Scheme + "://" + host + "/sandbox"
	here := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(s.listener.port()))
	inside := here + "/sandbox"
	simulated, apps := map[string]sandbox.App{}, map[string]oauth.App{}
	for _, p := range config.Providers() {
		app := oauth.App{
			ClientID: "sandbox-" + p.Key, ClientSecret: s.Derive("sandbox client secret " + p.Key),
			RedirectURL: site.String() + p.Callback,
		}
		app.Authorize = sandbox.EndpointsOf(base, p.Key).Authorize
		at := sandbox.EndpointsOf(inside, p.Key)
		app.Token, app.API, app.Revoke = at.Token, at.API, at.Revoke
		simulated[p.Key] = sandbox.App{
			ClientID: app.ClientID, ClientSecret: app.ClientSecret,
			RedirectURI: app.RedirectURL, PushSecret: s.WebhookSecret(p),
		}
		apps[p.Key] = app
	}
	made, err := sandbox.New(ctx, sandbox.Options{
		Pool: s.pool, BaseURL: base, Inside: inside, Apps: simulated, Log: s.log,
		Site: site.String(), Limits: s.limits.Sandbox,
		Hooks: sandbox.HooksAt(func(provider string) string {
			return here + routes.WebhookPath(provider, s.WebhookKey())
		}),
	})
	if err != nil {
		return simulation{}, nil, err
	}
	return simulation{made, &routes.Sandbox{Host: host, Handler: made.Handler(), TakesMail: s.Mail.Server == nil}},
		apps, nil
}
