package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/config"
	"cairn/internal/routes"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// others returns the addresses at which other machines can reach this one.
func others(t *testing.T) (found []string) {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range addresses {
		if prefix, ok := address.(*net.IPNet); ok && !prefix.IP.IsLoopback() && !prefix.IP.IsLinkLocalUnicast() {
			found = append(found, prefix.IP.String())
		}
	}
	return found
}

// Only this machine can reach a server in development, because in the sandbox anyone can sign in as anyone.
func TestDevelopmentListensOnThisMachineOnly(t *testing.T) {
	t.Parallel()
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t))
	u, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range append([]string{"127.0.0.1", "::1"}, others(t)...) {
		loopback := net.ParseIP(host).IsLoopback()
		conn, err := net.Dial("tcp", net.JoinHostPort(host, u.Port()))
		if err == nil {
			_ = conn.Close()
		}
		if host == "::1" && err != nil && strings.Contains(err.Error(), "assign") {
			continue // no IPv6 here
		}
		if (err == nil) != loopback {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// In production, or with LISTEN_ADDR=0.0.0.0, the server listens on all addresses.
func TestListensOnAllAddresses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]config.Config{
		"production": {Production: true}, "LISTEN_ADDR": {ListenAddr: "0.0.0.0"},
	} {
		open, err := listen(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		if at := open[0].Addr().(*net.TCPAddr); len(open) != 1 || !at.IP.IsUnspecified() {
			t.Errorf("%s: it listens on %v", name, at)
		}
		_ = open.Close()
	}
	for addr, want := range map[string]string{
		"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "127.0.0.1", "::1": "::1", "192.0.2.7": "192.0.2.7",
	} {
		if got := (config.Config{ListenAddr: addr}).SelfAddr(); got != want {
			t.Errorf("with LISTEN_ADDR %q it reaches itself at %s, want %s", addr, got, want)
		}
	}
	_, err := listen(t.Context(), config.Config{ListenAddr: "203.0.113.9"})
	if err == nil || !strings.Contains(err.Error(), "LISTEN_ADDR") {
		t.Errorf("an address of another machine: %v", err)
	}
}

// A page of another site whose name leads to this machine (DNS rebinding) gets nothing from the sandbox.
func TestSandboxAnswersToItsOwnNamesOnly(t *testing.T) {
	t.Parallel()
	server := start(t, "PORT=0", "DATABASE_URL="+dbtest.NewPatientURL(t))
	b := testkit.NewBrowser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	u, err := url.Parse(server.url)
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string][]int{
		"evil.example": {421, 421}, "192.168.1.5": {421, 421}, "localhost.evil.example": {421, 421},
		"localhost": {303, 200}, "LOCALHOST": {303, 200}, "127.0.0.1": {200, 303}, "[::1]": {303, 200},
	} {
		for i, path := range []string{"/sandbox/", "/login"} {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host + ":" + u.Port()
			resp, err := b.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want[i] {
				t.Errorf("%s with Host %q answers %d, want %d", path, r.Host, resp.StatusCode, want[i])
			}
		}
	}
}

// The webhook keys of development don't work in production, and the sandbox's control page shows none.
func TestKeysOfDevelopmentOpenNothingInProduction(t *testing.T) {
	t.Parallel()
	development := config.Config{SessionSecret: testkit.Secret}
	production := config.Config{SessionSecret: testkit.Secret, Production: true}
	if development.WebhookKey() == production.WebhookKey() || development.Derive("x") == production.Derive("x") {
		t.Error("both have the same keys")
	}
	server := start(t, "PORT=0", "DATA_DIR="+testkit.DataDir(t),
		"DATABASE_URL="+dbtest.NewPatientURL(t), "SESSION_SECRET="+testkit.Secret)
	_, page := testkit.NewBrowser(t).Send(http.MethodGet, server.url+"/sandbox/", nil)
	html, err := page.Html()
	if err != nil || page.Find(".provider").Length() != 3 {
		t.Fatalf("no control page: %v", err)
	}
	if strings.Contains(html, development.WebhookKey()) || strings.Contains(html, production.WebhookKey()) {
		t.Error("the control page shows the key of the webhooks")
	}
	env := append(productionEnv(t), "GARMIN_CLIENT_ID=1", "GARMIN_CLIENT_SECRET=2")
	at := start(t, env...).local()
	for c, want := range map[*config.Config]int{&development: http.StatusNotFound, &production: http.StatusBadRequest} {
		path := routes.WebhookPath("garmin", c.WebhookKey())
		status, _ := testkit.NewBrowser(t).Send(http.MethodPost, at+path, url.Values{"not": {"JSON"}})
		if status != want {
			t.Errorf("in production, a key of production=%v gets %d, want %d", c.Production, status, want)
		}
	}
}

// In development the address is printed on its own line, even if the output is no terminal. The log stays JSON.
func TestDevelopmentSaysWhereItIs(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"development": {"PORT=0", "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewPatientURL(t)},
		"production":  productionEnv(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := serverCommand(t, nil, env...)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			server := process.Start(t, cmd)
			server.End(syscall.SIGTERM)
			want := ""
			if name == "development" {
				want = "Cairn is ready: " + server.URL + "\n"
			}
			if stdout.String() != want {
				t.Errorf("it prints %q, want %q", stdout.String(), want)
			}
			for line := range strings.Lines(server.Logged()) {
				if !json.Valid([]byte(line)) {
					t.Errorf("a log line is not JSON: %s", line)
				}
			}
		})
	}
}
