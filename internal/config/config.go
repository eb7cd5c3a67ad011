// Package config reads the environment into a value, and reports everything that is wrong with it at once.
//
//	config.go     the value, and what its parts have to agree about
//	variables.go  the one list of variables, and secrets from files
//	misspelt.go   variables that are set and not read
//	network.go    ports and addresses
//	values.go     other values: the database, times, levels
//	providers.go  the list of providers; registration.go has what registering one means
//	guessable.go  secrets that are refused
//	secrets.go    secrets that development makes for itself, and those that are made from SESSION_SECRET
//
// It reads variables through a function, and no other package reads any of them.
package config

import (
	"cmp"
	"errors"
	"log/slog"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/joho/godotenv"

	"cairn/internal/oauth"
)

// Config is what the environment says. It is read once, at start; .env.example explains the variables.
type Config struct {
	Production    bool
	Port          int      // 0: any free one
	ListenAddr    string   // an IP address; "": all of them in production, else this machine's own
	PublicURL     *url.URL // nil: http://localhost with the port
	DatabaseURL   string   // "": a private PostgreSQL below DataDir
	DataDir       string
	MetricsAddr   string // "": nobody can fetch metrics
	LogLevel      slog.Level
	SessionSecret string // "" in development: kept in DataDir
	// DirectDatabaseURL leads to the same database without the connection pooler that DatabaseURL may have;
	// "": there is no such address.
	DirectDatabaseURL string
	EncryptionKeys    [][]byte      // likewise
	NoticeFrom        *mail.Address // nil: cairn at PUBLIC_URL's host
	TrustedProxies    []netip.Prefix
	Lifetime          time.Duration // of a session without a visit; 0: the default
	MaxLifetime       time.Duration // of a session at all; 0: the default
	Stop              StopTimes
	Apps              map[string]oauth.App // by the providers' keys
	pushSecretOf      map[string]string    // likewise
}

// StopTimes say how a server goes out of service.
type StopTimes struct {
	Delay   time.Duration // from readiness off to the listener closed: as long as a balancer takes to notice
	Timeout time.Duration // then, for requests in flight; a callback that waits for a provider needs the most, 30 s
}

// Sandbox tells whether the three providers are simulated here: in development, while no provider has keys.
func (c Config) Sandbox() bool { return !c.Production && len(c.Apps) == 0 }

// Site is where browsers reach us, as far as the configuration says it.
func (c Config) Site() *url.URL { return cmp.Or(c.PublicURL, LocalSite(c.Port)) }

// Public tells whether PUBLIC_URL is where others can reach it.
func (c Config) Public() bool { return c.PublicURL != nil && !IsLoopback(c.PublicURL.Hostname()) }

// Load reads the environment. Its error lists every problem by the name of the variable.
func Load(getenv func(string) string) (Config, error) {
	c := newReader(getenv)
	config := Config{
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
	config.NoticeFrom = c.noticeFrom()
	config.Apps = c.apps(config)
	if config.Lifetime > 0 && config.MaxLifetime > 0 && config.Lifetime > config.MaxLifetime {
		c.problem("SESSION_LIFETIME is longer than SESSION_MAX_LIFETIME")
	}
	if config.Production {
		c.needed(config)
	}
	c.keepSandboxHere(config)
	return config, errors.Join(c.problems...)
}

// WithDotEnv adds the variables of the file .env to those of the environment, which win.
func WithDotEnv(getenv func(string) string) (func(string) string, error) {
	file, err := ReadDotEnv(getenv)
	return func(name string) string { return cmp.Or(getenv(name), file[name]) }, err
}

// ReadDotEnv reads the file .env in the working directory, if there is one. It does not in production: there the unit
// of the server sets the variables.
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

// needed checks what may have a default only while nobody relies on us.
func (c *reader) needed(config Config) {
	switch {
	case config.PublicURL == nil && c.value("PUBLIC_URL") == "":
		c.problem("PUBLIC_URL is needed in production")
	case config.PublicURL != nil && config.PublicURL.Scheme != "https":
		c.problem("PUBLIC_URL has to begin with https:// in production")
	}
	for _, name := range []string{"DATABASE_URL", "SESSION_SECRET", "ENCRYPTION_KEY"} {
		if c.value(name) == "" {
			c.problem("%s is needed in production", name)
		}
	}
	if c.value("TRUSTED_PROXIES") == "" {
		c.problem("TRUSTED_PROXIES is needed in production: the addresses of the proxies in front, " +
			"like 127.0.0.1,10.0.0.0/8, or none. " +
			"Without it all people behind a proxy share its address, and the limits of one person")
	}
}

// keepSandboxHere refuses the sandbox, which lets anybody sign in as its people, on a site that others can reach.
func (c *reader) keepSandboxHere(config Config) {
	if !config.Sandbox() {
		return
	}
	if config.Public() {
		all := Providers()
		example := all[len(all)-1]
		c.problem("PUBLIC_URL is not on this machine, APP_ENV is not production and no provider has keys: "+
			"anybody could sign in as the sandbox's people. Set APP_ENV=production, "+
			"or %[1]s_CLIENT_ID and %[1]s_CLIENT_SECRET, or PUBLIC_URL=http://localhost:%[2]d",
			example.Prefix, cmp.Or(config.Port, 3001))
	}
	if config.SelfAddr() != "127.0.0.1" {
		c.problem("LISTEN_ADDR leaves out 127.0.0.1, where the sandbox's pages are: " +
			"set it to 127.0.0.1, or to 0.0.0.0 in a container, or not at all")
	}
}
