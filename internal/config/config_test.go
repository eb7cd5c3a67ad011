package config

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

func load(t *testing.T, env map[string]string) (Config, error) {
	t.Helper()
	return Load(func(name string) string { return env[name] })
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := load(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Port != 3001 || c.PublicURL != nil || c.DataDir != "data" || c.Production || !c.Sandbox() || len(c.Apps) != 0 {
		t.Errorf("got %+v", c)
	}
	if want := (StopTimes{Timeout: 35 * time.Second}); c.Stop != want {
		t.Errorf("it stops in %v, want %v", c.Stop, want)
	}
}

func TestProductionConfig(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"NODE_ENV":               "production",
		"PORT":                   "8080",
		"API_URL":                "https://cairn.example.org/",
		"DATABASE_URL":           "postgres://db/cairn",
		"SESSION_SECRET":         testkit.Secret,
		"ENCRYPTION_KEY":         testkit.Key1 + ", " + testkit.Key2,
		"TRUSTED_PROXIES":        "10.0.0.0/8, 192.0.2.7",
		"GARMIN_CONSUMER_KEY":    "g",
		"GARMIN_CONSUMER_SECRET": "gs",
		"STRAVA_CLIENT_ID":       "s",
		"STRAVA_CLIENT_SECRET":   "ss",
		"STRAVA_CALLBACK_URL":    "https://cairn.example.org/strava/back",
		"SESSION_LIFETIME":       "7d",
		"SESSION_MAX_LIFETIME":   "720h",
		"SHUTDOWN_TIMEOUT":       "1m",
	}
	c, err := load(t, env)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Production || c.PublicURL.String() != "https://cairn.example.org" ||
		len(c.EncryptionKeys) != 2 || len(c.TrustedProxies) != 2 || c.Sandbox() {
		t.Errorf("got %+v", c)
	}
	if c.Lifetime != 7*24*time.Hour || c.MaxLifetime != 720*time.Hour {
		t.Errorf("lifetimes %v and %v", c.Lifetime, c.MaxLifetime)
	}
	if want := (StopTimes{Delay: 5 * time.Second, Timeout: time.Minute}); c.Stop != want {
		t.Errorf("it stops in %v, want %v", c.Stop, want)
	}
	providers, err := c.Registered(c.Apps, c.PublicURL)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range providers.Usable() {
		got = append(got, p.Key+" "+p.Config.RedirectURL)
	}
	want := []string{
		"garmin https://cairn.example.org/api/garmin/callback",
		"strava https://cairn.example.org/strava/back",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: Foursquare has no keys", got, want)
	}
}

func TestConfigProblems(t *testing.T) {
	t.Parallel()
	production := map[string]string{"APP_ENV": "production"}
	tests := []struct {
		name string
		env  map[string]string
		want []string // names in the message
	}{
		{"production with nothing", production, []string{"PUBLIC_URL", "DATABASE_URL", "SESSION_SECRET",
			"ENCRYPTION_KEY", "TRUSTED_PROXIES is required in production"}},
		{"http in production", map[string]string{"APP_ENV": "production", "PUBLIC_URL": "http://x.example"},
			[]string{"PUBLIC_URL has to begin with https"}},
		{"everything wrong", map[string]string{
			"PORT":                 "99999",
			"PUBLIC_URL":           "localhost",
			"DATABASE_URL":         "postgres://u:hunter2hunter2@h:x/db",
			"SESSION_SECRET":       "hunter2hunter2",
			"ENCRYPTION_KEY":       "hunter2hunter2",
			"APP_ENV":              "prod",
			"TRUSTED_PROXIES":      "proxy",
			"SESSION_LIFETIME":     "soon",
			"STRAVA_CLIENT_ID":     "1",
			"SHUTDOWN_DELAY":       "5",
			"SHUTDOWN_TIMEOUT":     "0s",
			"GARMIN_CLIENT_SECRET": "hunter2hunter2",
			"GARMIN_API_URL":       "ftp://x",
		}, []string{
			"PORT", "PUBLIC_URL", "DATABASE_URL", "SESSION_SECRET", "ENCRYPTION_KEY", "APP_ENV", "TRUSTED_PROXIES",
			"SESSION_LIFETIME", "SHUTDOWN_DELAY", "SHUTDOWN_TIMEOUT",
			"STRAVA_CLIENT_SECRET", "GARMIN_CLIENT_ID", "GARMIN_API_URL",
		}},
		{"well-known secret", map[string]string{"SESSION_SECRET": "this-is-a-very-long-secret-0123456789"},
			[]string{"SESSION_SECRET"}},
		{"repetition", map[string]string{"SESSION_SECRET": strings.Repeat("ab", 20)}, []string{"SESSION_SECRET"}},
		{"secret that is the key",
			map[string]string{"SESSION_SECRET": testkit.Key1, "ENCRYPTION_KEY": testkit.Key2 + "," + testkit.Key1},
			[]string{"SESSION_SECRET is in ENCRYPTION_KEY"}},
		{"key of zeros", map[string]string{"ENCRYPTION_KEY": strings.Repeat("0", 64)},
			[]string{"ENCRYPTION_KEY can be guessed"}},
		{"same key twice", map[string]string{"ENCRYPTION_KEY": testkit.Key1 + "," + strings.ToUpper(testkit.Key1)},
			[]string{"ENCRYPTION_KEY has the same key twice"}},
		{"no proxies and one", map[string]string{"TRUSTED_PROXIES": "none,10.0.0.1"}, []string{"TRUSTED_PROXIES"}},
		{"every proxy", map[string]string{"TRUSTED_PROXIES": "10.0.0.0/8,0.0.0.0/0"},
			[]string{"TRUSTED_PROXIES: 0.0.0.0/0 trusts every address"}},
		{"a name to listen on", map[string]string{"LISTEN_ADDR": "localhost:3001"}, []string{"LISTEN_ADDR"}},
		{"sandbox off this machine", map[string]string{"LISTEN_ADDR": "192.0.2.7"}, []string{"LISTEN_ADDR"}},
		{"sandbox in public", map[string]string{"PUBLIC_URL": "https://cairn.example.org"},
			[]string{"PUBLIC_URL", "APP_ENV=production", "STRAVA_CLIENT_ID"}},
		{"sandbox in a local network", map[string]string{"PUBLIC_URL": "http://192.168.1.5:3001"},
			[]string{"PUBLIC_URL", "APP_ENV"}},
		{"public url with a path", map[string]string{"PUBLIC_URL": "https://x.example/cairn"}, []string{"PUBLIC_URL"}},
		{"redirect to a pattern", map[string]string{
			"STRAVA_CLIENT_ID":     "1",
			"STRAVA_CLIENT_SECRET": "2",
			"STRAVA_REDIRECT_URI":  "http://localhost:3001/{cb",
		}, []string{"STRAVA_REDIRECT_URI"}},
		{"redirect elsewhere", map[string]string{
			"STRAVA_CLIENT_ID":     "1",
			"STRAVA_CLIENT_SECRET": "2",
			"STRAVA_REDIRECT_URI":  "https://evil.example/cb",
		}, []string{"STRAVA_REDIRECT_URI"}},
		{"http endpoint in production", map[string]string{
			"APP_ENV":              "production",
			"STRAVA_CLIENT_ID":     "1",
			"STRAVA_CLIENT_SECRET": "2",
			"STRAVA_TOKEN_URL":     "http://x.example",
		}, []string{"STRAVA_TOKEN_URL"}},
		{"lifetimes crossed", map[string]string{"SESSION_LIFETIME": "30d", "SESSION_MAX_LIFETIME": "7d"},
			[]string{"SESSION_LIFETIME"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, tt.env)
			for _, name := range tt.want {
				if err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s is not named in: %v", name, err)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the message contains a secret: %v", err)
			}
		})
	}
	t.Run("two providers on one path", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, map[string]string{
			"STRAVA_CLIENT_ID":     "1",
			"STRAVA_CLIENT_SECRET": "2",
			"GARMIN_CLIENT_ID":     "1",
			"GARMIN_CLIENT_SECRET": "2",
			"STRAVA_REDIRECT_URI":  "http://localhost:3001/cb",
			"GARMIN_REDIRECT_URI":  "http://localhost:3001/cb",
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Registered(c.Apps, LocalSite(3001))
		if err == nil || !strings.Contains(err.Error(), "STRAVA_REDIRECT_URI") {
			t.Errorf("got %v", err)
		}
	})
}

// A site without a proxy says so with TRUSTED_PROXIES=none.
func TestProductionWithoutProxies(t *testing.T) {
	t.Parallel()
	env := map[string]string{"APP_ENV": "production", "PUBLIC_URL": "https://cairn.example.org",
		"DATABASE_URL":   "postgres://db/cairn",
		"SESSION_SECRET": testkit.Secret, "ENCRYPTION_KEY": testkit.Key1, "TRUSTED_PROXIES": "none"}
	if c, err := load(t, env); err != nil || len(c.TrustedProxies) != 0 {
		t.Errorf("got %v, %v", c.TrustedProxies, err)
	}
}

func TestSandboxStaysOnThisMachine(t *testing.T) {
	t.Parallel()
	for _, here := range []string{
		"http://localhost:3001", "http://127.0.0.1:3001", "http://[::1]:3001", "http://cairn.localhost",
	} {
		if _, err := load(t, map[string]string{"PUBLIC_URL": here}); err != nil {
			t.Errorf("%s: %v", here, err)
		}
	}
	keys := map[string]string{
		"PUBLIC_URL": "https://tunnel.example.org", "STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2"}
	if c, err := load(t, keys); err != nil || c.Sandbox() {
		t.Errorf("a development server with keys may have a public URL: %v", err)
	}
}

func TestGuessableKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		key  string
		want bool
	}{
		{"zeros", strings.Repeat("00", 32), true},
		{"ones", strings.Repeat("ff", 32), true},
		{"one byte repeated", strings.Repeat("0f", 32), true},
		{"the digits", strings.Repeat("0123456789abcdef", 4), true},
		{"a half, twice", strings.Repeat("8f3a61d90c5be2174a9d60f7b8c2e535", 2), true},
		{"up", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", true},
		{"down", "fffefdfcfbfaf9f8f7f6f5f4f3f2f1f0efeeedecebeae9e8e7e6e5e4e3e2e1e0", true},
		{"in steps of three", "000306090c0f1215181b1e2124272a2d303336393c3f4245484b4e5154575a5d", true},
		{"text", hex.EncodeToString([]byte("my-dog-is-called-rex,and barks!!")), true},
		{"random", testkit.Key1, false},
		{"random too", testkit.Key2, false},
	} {
		key, err := hex.DecodeString(tt.key)
		if err != nil || len(key) != 32 {
			t.Fatal(tt.name, err)
		}
		if got := guessable(key); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	for range 100_000 {
		key := make([]byte, 32)
		_, _ = rand.Read(key)
		if guessable(key) {
			t.Fatalf("a random key is refused: %x", key)
		}
	}
}

func TestDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("PORT=4000\nDATA_DIR=there # a comment\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{nil, "4000 there"},
		{map[string]string{"PORT": "5000"}, "5000 there"},
		{map[string]string{"APP_ENV": "production"}, " "},
	} {
		getenv, err := WithDotEnv(func(name string) string { return tt.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if got := getenv("PORT") + " " + getenv("DATA_DIR"); got != tt.want {
			t.Errorf("with %v: got %q, want %q", tt.env, got, tt.want)
		}
	}
}
