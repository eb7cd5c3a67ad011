package main

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
)

// provider is one we can speak with. Callbacks are where the Node server had them, because they are registered there.
type provider struct {
	key, prefix, callback string
	make                  func(oauth.App) *oauth.Provider
}

// known are the providers in the order in which they are shown.
var known = []provider{
	{"garmin", "GARMIN", "/api/garmin/callback", oauth.Garmin},
	{"foursquare", "FOURSQUARE", "/api/auth/callback", oauth.Foursquare},
	{"strava", "STRAVA", "/api/strava/auth/callback", oauth.Strava},
}

// apps reads our registrations at the providers. One without keys is left out.
func (c *configReader) apps(config Config) map[string]oauth.App {
	apps := map[string]oauth.App{}
	for _, p := range known {
		id, idName := c.first(p.prefix + "_CLIENT_ID")
		secret, secretName := c.first(p.prefix + "_CLIENT_SECRET")
		switch {
		case id == "" && secret == "":
			continue
		case id == "":
			c.problem("%s is missing: %s is set", idName, secretName)
		case secret == "":
			c.problem("%s is missing: %s is set", secretName, idName)
		}
		apps[p.key] = oauth.App{
			ClientID: id, ClientSecret: secret, RedirectURL: c.redirectURL(config, p.prefix),
			Endpoints: oauth.Endpoints{
				Authorize: c.address(config, p.prefix+"_AUTHORIZE_URL"),
				Token:     c.address(config, p.prefix+"_TOKEN_URL"),
				API:       c.address(config, p.prefix+"_API_URL"),
				Revoke:    c.address(config, p.prefix+"_REVOKE_URL"),
			},
		}
	}
	return apps
}

// redirectURL reads where a provider sends people back to. It must be on our own site: elsewhere, the browser has no
// cookie of ours.
func (c *configReader) redirectURL(config Config, prefix string) string {
	value, name := c.first(prefix + "_REDIRECT_URI")
	if value == "" {
		return ""
	}
	site := config.site()
	u, err := url.Parse(value)
	if err != nil || u.Scheme != site.Scheme || u.Host != site.Host || len(u.Path) < 2 ||
		strings.ContainsAny(u.Path, "{}*") || u.RawQuery != "" || u.Fragment != "" {
		c.problem("%s is not an address on PUBLIC_URL, like %s/api/callback", name, site)
	}
	return value
}

func (c *configReader) address(config Config, name string) string {
	value := strings.TrimRight(c.value(name), "/")
	u, err := url.Parse(value)
	if value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || config.Production)) {
		c.problem("%s is not an https address", name)
	}
	return value
}

func localSite(port int) *url.URL {
	return &url.URL{Scheme: "http", Host: net.JoinHostPort("localhost", strconv.Itoa(port))}
}

// makeProviders returns the providers that have keys, or the three of the sandbox and the sandbox
// that simulates them.
func makeProviders(
	ctx context.Context, config Config, log *slog.Logger, pool *pgxpool.Pool, site *url.URL, port int,
) ([]*oauth.Provider, *routes.Sandbox, error) {
	if !config.Sandbox() {
		providers, err := registered(config.Apps, site)
		return providers, nil, err
	}
	simulated, apps, err := startSandbox(ctx, pool, log, config, site, port)
	if err != nil {
		return nil, nil, err
	}
	providers, err := registered(apps, site)
	return providers, simulated, err
}

// registered makes the providers we are registered at; the sandbox's are made just like them.
func registered(apps map[string]oauth.App, site *url.URL) ([]*oauth.Provider, error) {
	var providers []*oauth.Provider
	paths := map[string]string{}
	for _, p := range known {
		app, ok := apps[p.key]
		if !ok {
			continue
		}
		app.RedirectURL = cmp.Or(app.RedirectURL, site.String()+p.callback)
		made := p.make(app)
		if other, taken := paths[made.CallbackPath()]; taken {
			return nil, fmt.Errorf("%s_REDIRECT_URI has the path of %s_REDIRECT_URI: each provider needs its own",
				p.prefix, other)
		}
		paths[made.CallbackPath()] = p.prefix
		providers = append(providers, made)
	}
	return providers, nil
}

// startSandbox simulates the three providers on 127.0.0.1, which is another site to browsers than
// localhost. Browsers reach it by the port by which they reach us; we reach it by the port we
// listen on. In a container these differ.
func startSandbox(
	ctx context.Context, pool *pgxpool.Pool, log *slog.Logger, config Config, site *url.URL, port int,
) (*routes.Sandbox, map[string]oauth.App, error) {
	host := site.Host
	if site.Hostname() == "localhost" {
		host = net.JoinHostPort("127.0.0.1", cmp.Or(site.Port(), "80"))
	}
	base := site.Scheme + "://" + host + "/sandbox"
	here := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	inside := here + "/sandbox"
	hook := func(provider string) string { return here + routes.WebhookPath(provider, webhookKey(config)) }
	simulated, apps := map[string]sandbox.App{}, map[string]oauth.App{}
	for _, p := range known {
		app := oauth.App{
			ClientID: "sandbox-" + p.key, ClientSecret: config.derive("sandbox client secret " + p.key),
			RedirectURL: site.String() + p.callback,
		}
		app.Authorize = sandbox.EndpointsOf(base, p.key).Authorize
		at := sandbox.EndpointsOf(inside, p.key)
		app.Token, app.API, app.Revoke = at.Token, at.API, at.Revoke
		simulated[p.key] = sandbox.App{
			ClientID: app.ClientID, ClientSecret: app.ClientSecret,
			RedirectURI: app.RedirectURL, PushSecret: config.FoursquarePushSecret,
		}
		apps[p.key] = app
	}
	s, err := sandbox.New(ctx, sandbox.Options{
		Pool: pool, BaseURL: base, Inside: inside, Apps: simulated, Log: log,
		Site: site.String(), Limits: config.limits.Sandbox,
		Hooks: sandbox.Hooks{
			Strava: hook("strava"), Foursquare: hook("foursquare"),
			GarminDeregistrations: hook("garmin"), GarminPermissions: hook("garmin"), GarminActivities: hook("garmin"),
		},
	})
	if err != nil {
		return nil, nil, err
	}
	return &routes.Sandbox{Host: host, Handler: s.Handler()}, apps, nil
}

// derive makes a secret for a purpose, so that instances and restarts agree on it. The secrets of development differ
// from those of production, even with the same SESSION_SECRET.
func (c Config) derive(purpose string) string {
	if !c.Production {
		purpose = "development: " + purpose
	}
	mac := hmac.New(sha256.New, []byte(c.SessionSecret))
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// webhookKey and verifyToken are what providers are given to prove themselves with, as far as that goes.
func webhookKey(config Config) string { return config.derive("webhook key") }

func verifyToken(config Config) string { return config.derive("strava verify token") }
