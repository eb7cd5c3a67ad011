package config

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"cairn/internal/oauth"
	"cairn/internal/oauth/foursquare"
	"cairn/internal/oauth/garmin"
	"cairn/internal/oauth/strava"
)

// Provider is one that we can be registered at. Callbacks are where the Node server had them, because they are
// registered there.
type Provider struct {
	Key      string
	Prefix   string // of its variables
	Callback string // a path
	Make     func(oauth.App) *oauth.Provider
	// webhookSecret is what its webhooks prove themselves with; nil: nothing.
	webhookSecret func(Config) string
}

// Providers are all that we know, in the order in which they are shown.
func Providers() []Provider {
	return []Provider{
		{garmin.Key, "GARMIN", "/api/garmin/callback", garmin.New, nil},
		{foursquare.Key, "FOURSQUARE", "/api/auth/callback", foursquare.New,
			func(c Config) string { return c.FoursquarePushSecret }},
		{strava.Key, "STRAVA", "/api/strava/auth/callback", strava.New, Config.VerifyToken},
	}
}

func (p Provider) variables() []variable {
	id, secret := variable{name: p.Prefix + "_CLIENT_ID"}, variable{name: p.Prefix + "_CLIENT_SECRET", secret: true}
	if p.Prefix == "GARMIN" { // the names of its time of OAuth 1
		id.also, secret.also = "GARMIN_CONSUMER_KEY", "GARMIN_CONSUMER_SECRET"
	}
	return []variable{
		id, secret,
		{name: p.Prefix + "_REDIRECT_URI", also: p.Prefix + "_CALLBACK_URL"},
		{name: p.Prefix + "_AUTHORIZE_URL"},
		{name: p.Prefix + "_TOKEN_URL"},
		{name: p.Prefix + "_API_URL"},
		{name: p.Prefix + "_REVOKE_URL"},
	}
}

// apps reads our registrations at the providers. One without keys is left out.
func (c *reader) apps(config Config) map[string]oauth.App {
	apps := map[string]oauth.App{}
	for _, p := range Providers() {
		id, idName := c.first(p.Prefix + "_CLIENT_ID")
		secret, secretName := c.first(p.Prefix + "_CLIENT_SECRET")
		switch {
		case id == "" && secret == "":
			continue
		case id == "":
			c.problem("%s is missing: %s is set", idName, secretName)
		case secret == "":
			c.problem("%s is missing: %s is set", secretName, idName)
		}
		apps[p.Key] = oauth.App{
			ClientID: id, ClientSecret: secret, RedirectURL: c.redirectURL(config, p.Prefix),
			Endpoints: oauth.Endpoints{
				Authorize: c.address(config, p.Prefix+"_AUTHORIZE_URL"),
				Token:     c.address(config, p.Prefix+"_TOKEN_URL"),
				API:       c.address(config, p.Prefix+"_API_URL"),
				Revoke:    c.address(config, p.Prefix+"_REVOKE_URL"),
			},
		}
	}
	return apps
}

// redirectURL reads where a provider sends people back to. It must be on our own site: elsewhere, the browser has no
// cookie of ours.
func (c *reader) redirectURL(config Config, prefix string) string {
	value, name := c.first(prefix + "_REDIRECT_URI")
	if value == "" {
		return ""
	}
	site := config.Site()
	u, err := url.Parse(value)
	if err != nil || u.Scheme != site.Scheme || u.Host != site.Host || len(u.Path) < 2 ||
		strings.ContainsAny(u.Path, "{}*") || u.RawQuery != "" || u.Fragment != "" {
		c.problem("%s is not an address on PUBLIC_URL, like %s/api/callback", name, site)
	}
	return value
}

func (c *reader) address(config Config, name string) string {
	value := strings.TrimRight(c.value(name), "/")
	u, err := url.Parse(value)
	if value != "" && (err != nil || u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || config.Production)) {
		c.problem("%s is not an https address", name)
	}
	return value
}

// Registered makes all providers, with our registrations where we have some. The sandbox's are made just like them.
func (c Config) Registered(apps map[string]oauth.App, site *url.URL) (oauth.Registry, error) {
	var providers oauth.Registry
	paths := map[string]string{}
	for _, p := range Providers() {
		app, ok := apps[p.Key]
		if !ok {
			providers = append(providers, p.Make(oauth.App{}))
			continue
		}
		app.RedirectURL = cmp.Or(app.RedirectURL, site.String()+p.Callback)
		if p.webhookSecret != nil {
			app.WebhookSecret = p.webhookSecret(c)
		}
		made := p.Make(app)
		if other, taken := paths[made.CallbackPath()]; taken {
			return nil, fmt.Errorf("%s_REDIRECT_URI has the path of %s_REDIRECT_URI: each provider needs its own",
				p.Prefix, other)
		}
		paths[made.CallbackPath()] = p.Prefix
		providers = append(providers, made)
	}
	return providers, nil
}
