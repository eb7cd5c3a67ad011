package config

import (
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// late is the time in tests of the change-over: in New York 28 November 2026, but in UTC the 29th.
func late() time.Time {
	return time.Date(2026, 11, 28, 23, 30, 0, 0, time.FixedZone("EST", -5*60*60))
}

func loadNode(t *testing.T, env map[string]string) (Node, error) {
	t.Helper()
	c, err := newReader(func(name string) string { return env[name] }, Providers()).load(late())
	return c.Node, err
}

func utc(year int, month time.Month, day int) time.Time {
	return time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
}

// standardNode is what the change-over is without a variable: off.
func standardNode() Node {
	return Node{Sessions: NodeSessions{Cookie: "connect.sid", Table: []string{"public", "session"}}}
}

func TestNode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		env  map[string]string
		want func(*Node)
	}{
		{name: "nothing", want: func(*Node) {}},
		{
			name: "off by name",
			env:  map[string]string{"NODE_IMPORT": "off", "NODE_WINDOW": "off"},
			want: func(*Node) {},
		},
		{
			name: "import, with a key in words",
			env:  map[string]string{"NODE_IMPORT": "on", "NODE_ENCRYPTION_KEY": "any, words"},
			want: func(n *Node) { n.Import, n.EncryptionKey = true, "any, words" },
		},
		{
			name: "a way back",
			env:  map[string]string{"NODE_WINDOW": "both", "DATABASE_URL": "postgres://db/cairn"},
			want: func(n *Node) { n.Both = true },
		},
		{
			name: "the last days that are allowed",
			env:  map[string]string{"NODE_LINKS_UNTIL": "2027-05-28", "NODE_SESSIONS_UNTIL": "2027-01-28"},
			want: func(n *Node) { n.LinksUntil, n.Sessions.Until = utc(2027, 5, 29), utc(2027, 1, 29) },
		},
		{
			name: "today, to its end, and a day in the past",
			env:  map[string]string{"NODE_LINKS_UNTIL": "2026-11-29", "NODE_SESSIONS_UNTIL": "2020-02-28"},
			want: func(n *Node) { n.LinksUntil, n.Sessions.Until = utc(2026, 11, 30), utc(2020, 2, 29) },
		},
		{
			name: "secrets of its own",
			env: map[string]string{"SESSION_SECRET": testkit.Secret,
				"NODE_SESSION_SECRET": "keyboard cat , changeme"},
			want: func(n *Node) { n.Sessions.Secrets = []string{"keyboard cat", "changeme"} },
		},
		{
			name: "the same secret, with a comma in it",
			env:  map[string]string{"SESSION_SECRET": testkit.Secret + ",9"},
			want: func(n *Node) { n.Sessions.Secrets = []string{testkit.Secret + ",9"} },
		},
		{
			name: "sessions elsewhere",
			env: map[string]string{"NODE_SESSION_COOKIE": "__Secure-sid!", "NODE_SESSION_TABLE": "App_2.user_sessions",
				"NODE_SESSION_USER": "passport.user.id"},
			want: func(n *Node) {
				n.Sessions.Cookie = "__Secure-sid!"
				n.Sessions.Table = []string{"App_2", "user_sessions"}
				n.Sessions.UserPath = []string{"passport", "user", "id"}
			},
		},
		{
			name: "a cookie with a domain",
			env:  map[string]string{"NODE_SESSION_DOMAIN": ".Localhost", "PUBLIC_URL": "http://trail.localhost:3001"},
			want: func(n *Node) { n.Sessions.Domain = "localhost" },
		},
		{
			name: "a table without a schema, a user without a dot",
			env:  map[string]string{"NODE_SESSION_TABLE": "_cairn", "NODE_SESSION_USER": "userId"},
			want: func(n *Node) {
				n.Sessions.Table, n.Sessions.UserPath = []string{"public", "_cairn"}, []string{"userId"}
			},
		},
		{
			name: "a front end",
			env:  map[string]string{"FRONTEND_URL": "HTTP://WWW.Example.org:8080/Trail/"},
			want: func(n *Node) {
				n.FrontendURL = &url.URL{Scheme: "http", Host: "www.example.org:8080", Path: "/Trail"}
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			want := standardNode()
			tt.want(&want)
			if got, err := loadNode(t, tt.env); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestNodeSecretsFromFiles(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("one,two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := loadNode(t, map[string]string{"NODE_SESSION_SECRET_FILE": file, "NODE_ENCRYPTION_KEY_FILE": file})
	want := standardNode()
	want.EncryptionKey, want.Sessions.Secrets = "one,two", []string{"one", "two"}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

func TestNodeProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		variable string
		values   []string
		want     string // in the message, after the variable
	}{
		{variable: "NODE_IMPORT", values: []string{"yes", "ON", "both"}, want: "has to be on or off"},
		{variable: "NODE_WINDOW", values: []string{"on", "Both"}, want: "has to be both or off"},
		{variable: "NODE_WINDOW", values: []string{"both"}, want: "is both, but DATABASE_URL is not set"},
		{
			variable: "NODE_LINKS_UNTIL",
			values:   []string{"soon", "180d", "2027-02-30", "2026-12-01T00:00:00Z", "01.12.2026", "2026-12-1"},
			want:     "has to be a day like 2027-05-28",
		},
		{
			variable: "NODE_LINKS_UNTIL",
			values:   []string{"2027-05-29", "9999-12-31"},
			want:     "is more than 180 days ahead: set it to 2027-05-28 or earlier",
		},
		{
			variable: "NODE_SESSIONS_UNTIL",
			values:   []string{"2027-01-29"},
			want:     "is more than 60 days ahead: set it to 2027-01-28 or earlier",
		},
		{
			variable: "NODE_SESSION_SECRET",
			values:   []string{",", "hunter2,", ",hunter2", "hunter2, ,hunter3"},
			want:     "has an empty secret",
		},
		{
			variable: "NODE_SESSION_COOKIE",
			values:   []string{"a cookie", "a=b", "a;b", "a,b", `"sid"`, "sïd", "sid\x00"},
			want:     "has to be the name of a cookie",
		},
		{
			variable: "NODE_SESSION_COOKIE",
			values:   []string{"session", "__Host-session", "__host-sid"},
			want:     "has to be the name of the Node server's cookie",
		},
		{
			variable: "NODE_SESSION_TABLE",
			values: []string{".session", "public.", "db.public.session", `"session"`, "2fa", "a-b",
				"sessión", "a b"},
			want: "has to be a table like session or public.session",
		},
		{
			variable: "NODE_SESSION_DOMAIN",
			values:   []string{"https://example.org", "example.org/", "a b", "a;b", "example..org"},
			want:     "has to be a domain like example.org",
		},
		{
			variable: "NODE_SESSION_DOMAIN",
			values:   []string{"example.org", "host"},
			want:     "has to be a domain with the host of PUBLIC_URL",
		},
		{
			variable: "NODE_SESSION_TABLE",
			values:   []string{"cairn.session", "CAIRN.sessions"},
			want:     "has to be a table of the Node server",
		},
		{
			variable: "NODE_SESSION_USER",
			values:   []string{".", "user.", ".id", "a..b", "a-b", "user id", "$.user"},
			want:     "has to be names with dots between them",
		},
		{
			variable: "FRONTEND_URL",
			values: []string{"www.example.org", "ftp://www.example.org", "https://", "https:www", "https://:443", "/",
				"https://x.example/?a=b", "https://x.example/?", "https://x.example/#a", "https://ada@x.example",
				"https://*.x.example",
				"https://a.example,https://b.example", "*"},
			want: "has to be one address like https://www.example.org",
		},
	} {
		for _, value := range tt.values {
			_, err := loadNode(t, map[string]string{tt.variable: value})
			if err == nil || !strings.Contains(err.Error(), tt.variable+" "+tt.want) {
				t.Errorf("%s=%s: got %v, want %q", tt.variable, value, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "hunter") {
				t.Errorf("%s: the message contains a secret: %v", tt.variable, err)
			}
		}
	}
}

func TestFrontendInProduction(t *testing.T) {
	t.Parallel()
	env := map[string]string{"APP_ENV": "production", "PUBLIC_URL": "https://cairn.example.org",
		"DATABASE_URL":   "postgres://db/cairn",
		"SESSION_SECRET": testkit.Secret, "ENCRYPTION_KEY": testkit.Key1, "TRUSTED_PROXIES": "none"}
	for site, want := range map[string]string{
		"https://www.example.org": "",
		"http://www.example.org":  "FRONTEND_URL has to begin with https:// in production",
		"http://localhost:5173":   "FRONTEND_URL has to begin with https:// in production",
	} {
		env["FRONTEND_URL"] = site
		_, err := loadNode(t, env)
		if ok := err == nil && want == "" || err != nil && err.Error() == want; !ok {
			t.Errorf("%s: got %v, want %q", site, err, want)
		}
	}
}

// The names of the Node server's variables for Garmin still work, each beside the new one of the other.
func TestNodeNamesForGarmin(t *testing.T) {
	t.Parallel()
	for _, env := range []map[string]string{
		{"GARMIN_CONSUMER_KEY": "key", "GARMIN_CONSUMER_SECRET": "word"},
		{"GARMIN_CLIENT_ID": "key", "GARMIN_CONSUMER_SECRET": "word"},
		{"GARMIN_CONSUMER_KEY": "key", "GARMIN_CLIENT_SECRET": "word"},
	} {
		c, err := load(t, env)
		if app := c.Apps["garmin"]; err != nil || app.ClientID != "key" || app.ClientSecret != "word" {
			t.Errorf("%v: got %+v, %v", env, app, err)
		}
	}
}
