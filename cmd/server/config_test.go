package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	key1   = strings.Repeat("0f", 32)
	key2   = strings.Repeat("a1", 32)
	secret = "7Jq2vXk9TzR4mWc8LpY6nBd3HsGf5Ae1"
)

func load(t *testing.T, env map[string]string) (Config, error) {
	t.Helper()
	return loadConfig(func(name string) string { return env[name] })
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
	if want := (stopTimes{timeout: 35 * time.Second}); c.Stop != want {
		t.Errorf("it stops in %v, want %v", c.Stop, want)
	}
}

func TestProductionConfig(t *testing.T) {
	t.Parallel()
	env := map[string]string{
		"NODE_ENV": "production", "PORT": "8080", "API_URL": "https://cairn.example.org/", "DATABASE_URL": "postgres://db/cairn",
		"SESSION_SECRET": secret, "ENCRYPTION_KEY": key1 + ", " + key2, "TRUSTED_PROXIES": "10.0.0.0/8, 192.0.2.7",
		"GARMIN_CONSUMER_KEY": "g", "GARMIN_CONSUMER_SECRET": "gs", "STRAVA_CLIENT_ID": "s", "STRAVA_CLIENT_SECRET": "ss",
		"STRAVA_CALLBACK_URL": "https://cairn.example.org/strava/back", "SESSION_LIFETIME": "7d", "SESSION_MAX_LIFETIME": "720h",
		"SHUTDOWN_TIMEOUT": "1m",
	}
	c, err := load(t, env)
	if err != nil {
		t.Fatal(err)
	}
	if !c.Production || c.PublicURL.String() != "https://cairn.example.org" || len(c.EncryptionKeys) != 2 || len(c.TrustedProxies) != 2 || c.Sandbox() {
		t.Errorf("got %+v", c)
	}
	if c.Lifetime != 7*24*time.Hour || c.MaxLifetime != 720*time.Hour {
		t.Errorf("lifetimes %v and %v", c.Lifetime, c.MaxLifetime)
	}
	if want := (stopTimes{delay: 5 * time.Second, timeout: time.Minute}); c.Stop != want {
		t.Errorf("it stops in %v, want %v", c.Stop, want)
	}
	providers, err := registered(c.Apps, c.PublicURL)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range providers {
		got = append(got, p.Key+" "+p.Config.RedirectURL)
	}
	if want := []string{"garmin https://cairn.example.org/api/garmin/callback", "strava https://cairn.example.org/strava/back"}; !slices.Equal(got, want) {
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
		{"production with nothing", production, []string{"PUBLIC_URL", "DATABASE_URL", "SESSION_SECRET", "ENCRYPTION_KEY"}},
		{"http in production", map[string]string{"APP_ENV": "production", "PUBLIC_URL": "http://x.example"}, []string{"PUBLIC_URL has to begin with https"}},
		{"everything wrong", map[string]string{
			"PORT": "99999", "PUBLIC_URL": "localhost", "DATABASE_URL": "postgres://u:hunter2hunter2@h:x/db", "SESSION_SECRET": "hunter2hunter2",
			"ENCRYPTION_KEY": "hunter2hunter2", "APP_ENV": "prod", "TRUSTED_PROXIES": "proxy", "SESSION_LIFETIME": "soon", "STRAVA_CLIENT_ID": "1",
			"SHUTDOWN_DELAY": "5", "SHUTDOWN_TIMEOUT": "0s",
			"GARMIN_CLIENT_SECRET": "hunter2hunter2", "GARMIN_API_URL": "ftp://x",
		}, []string{"PORT", "PUBLIC_URL", "DATABASE_URL", "SESSION_SECRET", "ENCRYPTION_KEY", "APP_ENV", "TRUSTED_PROXIES", "SESSION_LIFETIME", "SHUTDOWN_DELAY", "SHUTDOWN_TIMEOUT",
			"STRAVA_CLIENT_SECRET", "GARMIN_CLIENT_ID", "GARMIN_API_URL"}},
		{"well-known secret", map[string]string{"SESSION_SECRET": "this-is-a-very-long-secret-0123456789"}, []string{"SESSION_SECRET"}},
		{"dull secret", map[string]string{"SESSION_SECRET": strings.Repeat("ab", 20)}, []string{"SESSION_SECRET"}},
		{"public url with a path", map[string]string{"PUBLIC_URL": "https://x.example/cairn"}, []string{"PUBLIC_URL"}},
		{"redirect to a pattern", map[string]string{"STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2", "STRAVA_REDIRECT_URI": "http://localhost:3001/{cb"}, []string{"STRAVA_REDIRECT_URI"}},
		{"redirect elsewhere", map[string]string{"STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2", "STRAVA_REDIRECT_URI": "https://evil.example/cb"}, []string{"STRAVA_REDIRECT_URI"}},
		{"http endpoint in production", map[string]string{"APP_ENV": "production", "STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2", "STRAVA_TOKEN_URL": "http://x.example"}, []string{"STRAVA_TOKEN_URL"}},
		{"lifetimes crossed", map[string]string{"SESSION_LIFETIME": "30d", "SESSION_MAX_LIFETIME": "7d"}, []string{"SESSION_LIFETIME"}},
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
				t.Errorf("the message tells a secret: %v", err)
			}
		})
	}
	t.Run("two providers on one path", func(t *testing.T) {
		t.Parallel()
		c, err := load(t, map[string]string{"STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2", "GARMIN_CLIENT_ID": "1", "GARMIN_CLIENT_SECRET": "2",
			"STRAVA_REDIRECT_URI": "http://localhost:3001/cb", "GARMIN_REDIRECT_URI": "http://localhost:3001/cb"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registered(c.Apps, localSite(3001)); err == nil || !strings.Contains(err.Error(), "STRAVA_REDIRECT_URI") {
			t.Errorf("got %v", err)
		}
	})
}

func TestDotEnv(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("PORT=4000\nDATA_DIR=there # a comment\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{{nil, "4000 there"}, {map[string]string{"PORT": "5000"}, "5000 there"}, {map[string]string{"APP_ENV": "production"}, " "}} {
		getenv, err := withDotEnv(func(name string) string { return tt.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		if got := getenv("PORT") + " " + getenv("DATA_DIR"); got != tt.want {
			t.Errorf("with %v: got %q, want %q", tt.env, got, tt.want)
		}
	}
}

// .env.example and the README list every variable that the program reads.
func TestVariablesAreDocumented(t *testing.T) {
	t.Parallel()
	read := map[string]bool{}
	_, _ = loadConfig(func(name string) string { read[name] = true; return "" })
	for _, p := range known { // read only when there are keys
		for _, name := range []string{"REDIRECT_URI", "CALLBACK_URL", "AUTHORIZE_URL", "TOKEN_URL", "API_URL", "REVOKE_URL"} {
			read[p.prefix+"_"+name] = true
		}
	}
	for _, file := range []string{".env.example", "README.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for name := range read {
			general := regexp.MustCompile(`^(STRAVA|GARMIN|FOURSQUARE)_`).ReplaceAllString(name, "P_")
			if strings.HasSuffix(general, "_CONSUMER_KEY") || strings.HasSuffix(general, "_CONSUMER_SECRET") {
				general = "GARMIN" + strings.TrimPrefix(general, "P") // the others never had that name
			}
			if !strings.Contains(string(text), name) && !strings.Contains(string(text), general) {
				t.Errorf("%s does not mention %s", file, name)
			}
		}
	}
}

// A variable that an operator sets for docker compose has to reach the container.
func TestComposePassesVariables(t *testing.T) {
	t.Parallel()
	example, err := os.ReadFile(filepath.Join("..", "..", ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	compose, err := os.ReadFile(filepath.Join("..", "..", "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, match := range regexp.MustCompile(`(?m)^#([A-Z_]+)=`).FindAllStringSubmatch(string(example), -1) {
		inImage := match[1] == "PORT" || match[1] == "DATA_DIR"
		if !inImage && !strings.Contains(string(compose), "\n      "+match[1]+": ") {
			t.Errorf("docker-compose.yml keeps %s from the server", match[1])
		}
	}
}
