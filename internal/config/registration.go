package config

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"cairn/internal/oauth"
)

// Provider is the entry of one provider.
type Provider struct {
	Key      string
	Prefix   string // of its variables
	Callback string // a path
	Make     func(oauth.App) *oauth.Provider

	earlierID, earlierSecret string // older names of its variables; "": none
	// Its webhooks may carry a secret. pushSecret names the variable that has it, and verifyToken the purpose for which
	// it is derived; "": not so.
	pushSecret, verifyToken string
}

func (p Provider) variables() []variable {
	list := []variable{
		{name: p.Prefix + "_CLIENT_ID", also: p.earlierID},
		{name: p.Prefix + "_CLIENT_SECRET", also: p.earlierSecret, secret: true},
		{name: p.Prefix + "_REDIRECT_URI", also: p.Prefix + "_CALLBACK_URL"},
		{name: p.Prefix + "_AUTHORIZE_URL"},
		{name: p.Prefix + "_TOKEN_URL"},
		{name: p.Prefix + "_API_URL"},
		{name: p.Prefix + "_REVOKE_URL"},
	}
	if p.pushSecret != "" {
		list = append(list, variable{name: p.pushSecret, secret: true})
	}
	return list
}

// pushSecrets reads the secrets that providers send with their webhooks, by provider key.
func (c *reader) pushSecrets() map[string]string {
	secrets := map[string]string{}
	for _, p := range c.providers {
		if p.pushSecret != "" {
			secrets[p.Key] = c.value(p.pushSecret)
		}
	}
	return secrets
}

// WebhookSecret returns the secret that the webhooks of a provider carry; "": none, or it is not configured.
func (c Config) WebhookSecret(p Provider) string {
	if p.verifyToken != "" {
		return c.Derive(p.verifyToken)
	}
	return c.pushSecretOf[p.Key]
}

// apps reads our applications at the providers, by provider key. A provider without keys is left out.
func (c *reader) apps(config Config) map[string]oauth.App {
	apps := map[string]oauth.App{}
	for _, p := range c.providers {
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

// redirectURL reads where a provider sends people back to. It must be on our own site, because browsers send our cookie
// nowhere else.
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

// Registered makes all providers, each with its application if apps has one. Simulated providers are made the same way.
// It fails if two callbacks have the same path, and returns the providers even then.
func (c Config) Registered(apps map[string]oauth.App, site *url.URL) (providers oauth.Registry, err error) {
	paths := map[string]string{}
	for _, p := range c.providers {
		app, ok := apps[p.Key]
		if ok {
			app.RedirectURL = cmp.Or(app.RedirectURL, site.String()+p.Callback)
			app.WebhookSecret = c.WebhookSecret(p)
		}
		made := p.Make(app)
		providers = append(providers, made)
		if other, taken := paths[made.CallbackPath()]; ok && taken {
			err = fmt.Errorf("%s_REDIRECT_URI has the path of %s_REDIRECT_URI: each provider needs its own",
				p.Prefix, other)
		}
		if ok {
			paths[made.CallbackPath()] = p.Prefix
		}
	}
	return providers, err
}
