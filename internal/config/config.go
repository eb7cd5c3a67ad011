// Package config reads the environment into a value, and reports every problem at once.
//
//	config.go     the value, and the rules that involve several variables
//	variables.go  the list of all variables, and reading secrets from files
//	misspelt.go   variables that are set but not read
//	network.go    ports and addresses
//	mail.go       the mail server, the sender, and who answers for the site
//	signup.go     for whom new accounts are made
//	values.go     other values: the database, times, levels
//	providers.go  the list of providers; registration.go has what an entry means
//	guessable.go  secrets that are refused
//	secrets.go    secrets that development generates, and secrets derived from SESSION_SECRET
//	node.go       the change-over from the Node server
//
// It reads variables through a function. No other package reads any of them.
package config

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/joho/godotenv"

	"cairn/internal/oauth"
)

// Config is the configuration. It is read once, at start; .env.example explains the variables.
type Config struct {
	Production    bool
	Port          int      // 0: any free one
	ListenAddr    string   // an IP address; "": all addresses in production, else 127.0.0.1 and ::1
	PublicURL     *url.URL // nil: http://localhost with the port
	DatabaseURL   string   // "": a private PostgreSQL below DataDir
	DataDir       string
	MetricsAddr   string // "": metrics are not served
	LogLevel      slog.Level
	SessionSecret string // "": development keeps one in DataDir
	// DirectDatabaseURL leads to the same database as DatabaseURL, but not through a connection pooler; "": not set.
	DirectDatabaseURL string
	EncryptionKeys    [][]byte // the newest first; nil: development keeps one in DataDir
	Mail              Mail
	SignUp            string // for whom new accounts are made: open, invite or closed
	TrustedProxies    []netip.Prefix
	Lifetime          time.Duration // of a session, from its last visit; 0: the default
	MaxLifetime       time.Duration // of a session, from its sign-in; 0: the default
	Stop              StopTimes
	Apps              map[string]oauth.App // by provider key
	Node              Node
	providers         []Provider        // for which it was read
	pushSecretOf      map[string]string // by provider key
}

// StopTimes say how long stopping takes.
type StopTimes struct {
	Delay   time.Duration // between not being ready and closing the listener, so that balancers notice
	Timeout time.Duration // after that, for requests in flight; a callback that waits for its provider takes 30 s
}

// Sandbox reports whether the providers are simulated: in development, while no provider has keys.
func (c Config) Sandbox() bool { return !c.Production && len(c.Apps) == 0 }

// Site returns PUBLIC_URL, or else localhost with the configured port.
func (c Config) Site() *url.URL { return cmp.Or(c.PublicURL, LocalSite(c.Port)) }

// Public reports whether PUBLIC_URL is not on this machine.
func (c Config) Public() bool { return c.PublicURL != nil && !IsLoopback(c.PublicURL.Hostname()) }

// Load reads the environment. Its error lists every problem, each with the name of its variable.
func Load(getenv func(string) string) (Config, error) { return LoadFor(getenv, Providers()) }

// LoadFor is Load with these providers.
func LoadFor(getenv func(string) string, providers []Provider) (Config, error) {
	return newReader(getenv, providers).load(time.Now())
}

func (c *reader) load(now time.Time) (Config, error) {
	config := Config{
		providers:     c.providers,
		Production:    c.production(),
		DatabaseURL:   c.databaseURL("DATABASE_URL"),
		DataDir:       cmp.Or(c.value("DATA_DIR"), "data"),
		SessionSecret: c.sessionSecret(),

		DirectDatabaseURL: c.directDatabaseURL(),

		pushSecretOf:   c.pushSecrets(),
		EncryptionKeys: c.encryptionKeys(),
		TrustedProxies: c.trustedProxies(),
		Lifetime:       c.duration("SESSION_LIFETIME", time.Minute, 0),
		MaxLifetime:    c.duration("SESSION_MAX_LIFETIME", time.Minute, 0),
	}
	config.Stop = c.stopTimes(config)
	config.Port = c.port()
	config.ListenAddr = c.listenAddr()
	config.PublicURL = c.publicURL()
	config.MetricsAddr = c.metricsAddr()
	config.LogLevel = c.logLevel()
	config.Mail = c.mail(config)
	config.SignUp = c.signUp()
	config.Apps = c.apps(config)
	config.Node = c.node(config, now)
	if config.Lifetime > 0 && config.MaxLifetime > 0 && config.Lifetime > config.MaxLifetime {
		c.problem("SESSION_LIFETIME is longer than SESSION_MAX_LIFETIME")
	}
	if config.Production {
		c.checkProduction(config)
	}
	c.keepSandboxHere(config)
	return config, errors.Join(c.problems...)
}

// WithDotEnv returns a getenv that also knows the variables in the file .env. The environment wins.
func WithDotEnv(getenv func(string) string) (func(string) string, error) {
	file, err := ReadDotEnv(getenv)
	return func(name string) string { return cmp.Or(getenv(name), file[name]) }, err
}

// ReadDotEnv reads the file .env in the working directory, if there is one. In production it reads nothing: there the
// server's unit or container sets the variables.
func ReadDotEnv(getenv func(string) string) (map[string]string, error) {
	if (&reader{getenv: getenv}).production() {
		return nil, nil
	}
	file, err := godotenv.Read(".env")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New(".env can't be read: every line is NAME=value, a # comment, or empty")
	}
	return file, nil
}

func (c *reader) production() bool {
	switch value, name := c.first("APP_ENV"); {
	case value == "production":
		return true
	case name == "APP_ENV" && value != "" && value != "development":
		c.problem("APP_ENV is neither production nor development")
	}
	return false
}

// checkProduction reports variables that have a default in development only.
func (c *reader) checkProduction(config Config) {
	switch {
	case config.PublicURL == nil && c.value("PUBLIC_URL") == "":
		c.problem("PUBLIC_URL is required in production")
	case config.PublicURL != nil && config.PublicURL.Scheme != "https":
		c.problem("PUBLIC_URL has to begin with https:// in production")
	}
	for _, name := range []string{"DATABASE_URL", "SESSION_SECRET", "ENCRYPTION_KEY"} {
		if c.value(name) == "" {
			c.problem("%s is required in production", name)
		}
	}
	if c.value("TRUSTED_PROXIES") == "" {
		c.problem("TRUSTED_PROXIES is required in production: the addresses of the proxies in front, " +
			"like 127.0.0.1,10.0.0.0/8, or none. " +
			"Without it, everyone behind a proxy shares its address and one person's limits")
	}
}

// keepSandboxHere refuses a sandbox that other machines can reach, because anyone can sign in as its people.
func (c *reader) keepSandboxHere(config Config) {
	if !config.Sandbox() {
		return
	}
	if config.Public() {
		example := c.providers[len(c.providers)-1]
		c.problem("PUBLIC_URL is not on this machine, APP_ENV is not production and no provider has keys: "+
			"anyone could sign in as the sandbox's people. Set APP_ENV=production, "+
			"or %[1]s_CLIENT_ID and %[1]s_CLIENT_SECRET, or PUBLIC_URL=http://localhost:%[2]d",
			example.Prefix, cmp.Or(config.Port, 3001))
	}
	if config.SelfAddr() != "127.0.0.1" {
		c.problem("LISTEN_ADDR leaves out 127.0.0.1, where the sandbox's pages are: " +
			"set it to 127.0.0.1, or in a container to 0.0.0.0, or unset it")
	}
}
