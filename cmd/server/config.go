package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
	// FoursquarePushSecret may come with Foursquare's pushes; "": it is not looked at.
	FoursquarePushSecret string
	EncryptionKeys       [][]byte      // likewise
	NoticeFrom           *mail.Address // nil: cairn at PUBLIC_URL's host
	TrustedProxies       []netip.Prefix
	Lifetime             time.Duration // of a session without a visit; 0: the default
	MaxLifetime          time.Duration // of a session at all; 0: the default
	Stop                 stopTimes
	Apps                 map[string]oauth.App

	limits limits // not the environment's
}

// Sandbox tells whether the three providers are simulated here: in development, while no provider has keys.
func (c Config) Sandbox() bool { return !c.Production && len(c.Apps) == 0 }

// site is where browsers reach us, as far as the configuration says it.
func (c Config) site() *url.URL { return cmp.Or(c.PublicURL, localSite(c.Port)) }

func (c *configReader) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf(format, args...))
}

// loadConfig reads the environment. Its error lists every problem by the name of the variable.
func loadConfig(getenv func(string) string) (Config, error) {
	c := newConfigReader(getenv)
	config := Config{
		Production:    c.production(),
		DatabaseURL:   c.databaseURL("DATABASE_URL"),
		DataDir:       cmp.Or(c.value("DATA_DIR"), "data"),
		SessionSecret: c.sessionSecret(),

		DirectDatabaseURL: c.directDatabaseURL(),

		FoursquarePushSecret: c.value("FOURSQUARE_PUSH_SECRET"),
		EncryptionKeys:       c.encryptionKeys(),
		TrustedProxies:       c.trustedProxies(),
		Lifetime:             c.duration("SESSION_LIFETIME", time.Minute, 0),
		MaxLifetime:          c.duration("SESSION_MAX_LIFETIME", time.Minute, 0),
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

// withDotEnv adds the variables of the file .env to those of the environment, which win.
func withDotEnv(getenv func(string) string) (func(string) string, error) {
	file, err := readDotEnv(getenv)
	return func(name string) string { return cmp.Or(getenv(name), file[name]) }, err
}

// readDotEnv reads the file .env in the working directory, if there is one. It does not in production: there the unit
// of the server sets the variables.
func readDotEnv(getenv func(string) string) (map[string]string, error) {
	if (&configReader{getenv: getenv}).production() {
		return nil, nil
	}
	file, err := godotenv.Read(".env")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, errors.New(".env can't be read: every line is NAME=value, a # comment, or empty")
	}
	return file, nil
}

func (c *configReader) production() bool {
	switch value, name := c.first("APP_ENV"); {
	case value == "production":
		return true
	case name == "APP_ENV" && value != "" && value != "development":
		c.problem("APP_ENV is neither production nor development")
	}
	return false
}

func (c *configReader) port() int {
	value := cmp.Or(c.value("PORT"), "3001")
	port, err := strconv.ParseUint(value, 10, 16)
	if err != nil {
		c.problem("PORT is not a number from 0 to 65535")
	}
	return int(port)
}

func (c *configReader) listenAddr() string {
	value := c.value("LISTEN_ADDR")
	if _, err := netip.ParseAddr(value); value != "" && err != nil {
		c.problem("LISTEN_ADDR is not an IP address like 0.0.0.0, :: or 127.0.0.1; the port is PORT's")
	}
	return value
}

func (c *configReader) publicURL() *url.URL {
	value, name := c.first("PUBLIC_URL")
	if value == "" {
		return nil
	}
	u, err := url.Parse(strings.TrimRight(value, "/"))
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		u.Path != "" || u.RawQuery != "" || u.User != nil {
		c.problem("%s is not an address like https://cairn.example.org, without a path", name)
		return nil
	}
	return u
}

func (c *configReader) noticeFrom() *mail.Address {
	value := c.value("NOTICE_FROM")
	if value == "" {
		return nil
	}
	from, err := mail.ParseAddress(value)
	if err != nil {
		c.problem("NOTICE_FROM is not an e-mail address like cairn@example.org, or Cairn <cairn@example.org>")
	}
	return from
}

func (c *configReader) databaseURL(name string) string {
	value := c.value(name)
	if _, err := pgxpool.ParseConfig(value); value != "" && err != nil {
		c.problem("%s is not an address like postgres://user:password@host:5432/database", name)
	}
	return value
}

// directDatabaseURL reads how to reach the database around a connection pooler.
func (c *configReader) directDatabaseURL() string {
	value := c.databaseURL("DIRECT_DATABASE_URL")
	if value != "" && c.value("DATABASE_URL") == "" {
		c.problem("DIRECT_DATABASE_URL is the way around a connection pooler in DATABASE_URL, which is not set")
	}
	return value
}

// noProxies is the value of TRUSTED_PROXIES for a server with no proxy in front.
const noProxies = "none"

func (c *configReader) trustedProxies() (prefixes []netip.Prefix) {
	value := c.value("TRUSTED_PROXIES")
	if value == noProxies {
		return nil
	}
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(part)
		if addr, addrErr := netip.ParseAddr(part); addrErr == nil {
			prefix, err = addr.Prefix(addr.BitLen())
		}
		if err == nil && prefix.Bits() == 0 {
			c.problem("TRUSTED_PROXIES: %s is everybody, "+
				"so that anybody could name any client and escape all limits", part)
			continue
		}
		if err != nil {
			c.problem("TRUSTED_PROXIES: %q is neither an address nor a range like 10.0.0.0/8, "+
				"nor all of it the word none", part)
			continue
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}

// stopTimes reads how long stopping takes. The delay is for balancers, which development does not have.
func (c *configReader) stopTimes(config Config) stopTimes {
	var delay time.Duration
	if config.Production {
		delay = 5 * time.Second
	}
	return stopTimes{
		delay:   c.duration("SHUTDOWN_DELAY", 0, delay),
		timeout: c.duration("SHUTDOWN_TIMEOUT", time.Second, 35*time.Second),
	}
}

// duration reads Go's notation and, because sessions last long, days: "30d".
func (c *configReader) duration(name string, least, fallback time.Duration) time.Duration {
	value := c.value(name)
	if value == "" {
		return fallback
	}
	d, err := time.ParseDuration(value)
	if days, isDays := strings.CutSuffix(value, "d"); isDays {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 12)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d < least {
		c.problem("%s is not a time of %v or more, like 30d, 12h or 90s", name, least)
	}
	return d
}

// needed checks what may have a default only while nobody relies on us.
func (c *configReader) needed(config Config) {
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
func (c *configReader) keepSandboxHere(config Config) {
	if !config.Sandbox() {
		return
	}
	if config.public() {
		c.problem("PUBLIC_URL is not on this machine, APP_ENV is not production and no provider has keys: "+
			"anybody could sign in as the sandbox's people. Set APP_ENV=production, "+
			"or STRAVA_CLIENT_ID and STRAVA_CLIENT_SECRET, or PUBLIC_URL=http://localhost:%d",
			cmp.Or(config.Port, 3001))
	}
	if config.selfAddr() != "127.0.0.1" {
		c.problem("LISTEN_ADDR leaves out 127.0.0.1, where the sandbox's pages are: " +
			"set it to 127.0.0.1, or to 0.0.0.0 in a container, or not at all")
	}
}

// public tells whether PUBLIC_URL is where others can reach it.
func (c Config) public() bool { return c.PublicURL != nil && !isLoopback(c.PublicURL.Hostname()) }

// isLoopback tells whether a name or address of a URL always means the machine it is used on.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return err == nil && addr.Unmap().IsLoopback() || host == "localhost" || strings.HasSuffix(host, ".localhost")
}
