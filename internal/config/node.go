package config

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Node configures the change-over from the Node server. The zero value is off.
type Node struct {
	Import        bool      // NODE_IMPORT=on: import people and connections again and again
	EncryptionKey string    // NODE_ENCRYPTION_KEY, in any form that the Node server took; "": not set
	LinksUntil    time.Time // NODE_LINKS_UNTIL: private links work before then; zero: not at all
	Sessions      NodeSessions
	Both          bool     // NODE_WINDOW=both: what that server reads is written there, too
	FrontendURL   *url.URL // FRONTEND_URL: the site of the old front end, without trailing slash; nil: there is none
}

// NodeSessions says where sessions of express-session are found and how they are signed.
type NodeSessions struct {
	Until    time.Time // NODE_SESSIONS_UNTIL: sessions are adopted before then; zero: none is
	Secrets  []string  // NODE_SESSION_SECRET, or else SESSION_SECRET; empty when neither is set
	Cookie   string    // NODE_SESSION_COOKIE
	Domain   string    // NODE_SESSION_DOMAIN, of that cookie; "": it has none
	Table    []string  // NODE_SESSION_TABLE: schema and name
	UserPath []string  // NODE_SESSION_USER, split at dots; nil: the usual places
}

// The old sign-in methods come to an end, because each is weaker than ours.
const (
	mostLinkDays    = 180
	mostSessionDays = 60
)

var (
	nodeTable    = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)
	nodeDomain   = regexp.MustCompile(`^([a-z0-9-]+\.)*[a-z0-9-]+$`)
	nodeUserPath = regexp.MustCompile(`^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$`)
)

func (c *reader) node(config Config, now time.Time) Node {
	node := Node{
		Import:        c.isOn("NODE_IMPORT", "on"),
		EncryptionKey: c.value("NODE_ENCRYPTION_KEY"),
		LinksUntil:    c.lastDay("NODE_LINKS_UNTIL", mostLinkDays, now),
		Sessions: NodeSessions{
			Until:    c.lastDay("NODE_SESSIONS_UNTIL", mostSessionDays, now),
			Secrets:  c.nodeSecrets(),
			Cookie:   c.nodeCookie(),
			Domain:   c.nodeDomain(config),
			Table:    c.nodeTable(),
			UserPath: c.nodeUserPath(),
		},
		Both:        c.isOn("NODE_WINDOW", "both"),
		FrontendURL: c.frontendURL(config),
	}
	if node.Both && c.value("DATABASE_URL") == "" {
		c.problem("NODE_WINDOW is both, but DATABASE_URL is not set: set it to the Node server's database")
	}
	return node
}

// isOn reads a variable that one word turns on. It is off by default.
func (c *reader) isOn(name, on string) bool {
	value := c.value(name)
	if value != "" && value != on && value != "off" {
		c.problem("%s has to be %s or off", name, on)
	}
	return value == on
}

// lastDay reads a day, at most some days after today, and returns its end. Days are those of UTC.
func (c *reader) lastDay(name string, most int, now time.Time) time.Time {
	value := c.value(name)
	if value == "" {
		return time.Time{}
	}
	day, err := time.Parse(time.DateOnly, value)
	latest := now.UTC().Truncate(24*time.Hour).AddDate(0, 0, most)
	switch {
	case err != nil:
		c.problem("%s has to be a day like %s", name, latest.Format(time.DateOnly))
		return time.Time{}
	case day.After(latest):
		c.problem("%s is more than %d days ahead: set it to %s or earlier", name, most, latest.Format(time.DateOnly))
		return time.Time{}
	}
	return day.AddDate(0, 0, 1)
}

// nodeSecrets reads the secrets that sign cookies. The Node server took SESSION_SECRET for one secret, commas and all.
func (c *reader) nodeSecrets() (secrets []string) {
	value := c.value("NODE_SESSION_SECRET")
	if value == "" {
		if secret := c.value("SESSION_SECRET"); secret != "" {
			secrets = []string{secret}
		}
		return secrets
	}
	for part := range strings.SplitSeq(value, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			c.problem("NODE_SESSION_SECRET has an empty secret: remove the comma before or after it")
			return nil
		}
		secrets = append(secrets, part)
	}
	return secrets
}

func (c *reader) nodeCookie() string {
	name := cmp.Or(c.value("NODE_SESSION_COOKIE"), "connect.sid")
	switch {
	case (&http.Cookie{Name: name}).Valid() != nil:
		c.problem("NODE_SESSION_COOKIE has to be the name of a cookie, like connect.sid")
	case name == "session" || strings.HasPrefix(strings.ToLower(name), "__host-"):
		c.problem("NODE_SESSION_COOKIE has to be the name of the Node server's cookie, like connect.sid: " +
			"session and names that begin with __Host- are ours")
	}
	return name
}

// nodeDomain reads the domain of the cookie. Browsers take one only from a host in it.
func (c *reader) nodeDomain(config Config) string {
	domain := strings.ToLower(strings.TrimPrefix(c.value("NODE_SESSION_DOMAIN"), "."))
	host := config.Site().Hostname()
	switch {
	case domain == "":
	case !nodeDomain.MatchString(domain):
		c.problem("NODE_SESSION_DOMAIN has to be a domain like example.org")
	case domain != host && !strings.HasSuffix(host, "."+domain):
		c.problem("NODE_SESSION_DOMAIN has to be a domain with the host of PUBLIC_URL, %s, in it: browsers refuse a "+
			"cookie for another one", host)
	}
	return domain
}

func (c *reader) nodeTable() []string {
	value := cmp.Or(c.value("NODE_SESSION_TABLE"), "session")
	if !nodeTable.MatchString(value) {
		c.problem("NODE_SESSION_TABLE has to be a table like session or public.session, " +
			"with a name of letters, digits and _")
	}
	schema, name, found := strings.Cut(value, ".")
	if !found {
		schema, name = "public", value
	}
	if strings.EqualFold(schema, "cairn") {
		c.problem("NODE_SESSION_TABLE has to be a table of the Node server, like public.session: " +
			"the schema cairn is ours")
	}
	return []string{schema, name}
}

func (c *reader) nodeUserPath() []string {
	value := c.value("NODE_SESSION_USER")
	if value == "" {
		return nil
	}
	if !nodeUserPath.MatchString(value) {
		c.problem("NODE_SESSION_USER has to be names with dots between them, like passport.user.id")
	}
	return strings.Split(value, ".")
}

// frontendURL reads the site of the old front end. It is compared with what browsers send as Origin, in small letters.
func (c *reader) frontendURL(config Config) *url.URL {
	value := c.value("FRONTEND_URL")
	if value == "" {
		return nil
	}
	u, err := url.Parse(strings.TrimRight(value, "/"))
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		strings.ContainsAny(u.Host, ",*") || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		c.problem("FRONTEND_URL has to be one address like https://www.example.org, without a query; " +
			"without an old front end, unset it")
		return nil
	case config.Production && u.Scheme != "https":
		c.problem("FRONTEND_URL has to begin with https:// in production")
	}
	u.Host = strings.ToLower(u.Host)
	return u
}
