package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// metricsOf returns the address at which a server logs that its metrics are.
func metricsOf(p *serving) string {
	p.t.Helper()
	found := regexp.MustCompile(`metrics are at (http://[^"]*)`).FindStringSubmatch(p.logged())
	if found == nil {
		p.t.Fatalf("it does not log where its metrics are:\n%s", p.logged())
	}
	return found[1]
}

func scrape(p *serving) string {
	p.t.Helper()
	resp, err := testkit.NewBrowser(p.t).Get(metricsOf(p))
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("metrics answered %d, error %v: %s", resp.StatusCode, err, text)
	}
	return string(text)
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !slices.Contains(strings.Split(text, "\n"), line) {
			name := line[:strings.IndexAny(line, "{ ")]
			others := regexp.MustCompile(`(?m)^`+name+`[{ ].*$`).FindAllString(text, -1)
			t.Errorf("%q is missing; there is %q", line, others)
		}
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	server := start(t, "PORT=0", "METRICS_ADDR=127.0.0.1:0",
		"DATA_DIR="+testkit.DataDir(t), "DATABASE_URL="+dbtest.NewPatientURL(t))
	sandbox := strings.Replace(server.url, "localhost", "127.0.0.1", 1) + "/sandbox"
	ada, visitor := testkit.NewBrowser(t), testkit.NewBrowser(t)
	ada.SignUp(server.url, "ada@example.org")
	testkit.NewBrowser(t).SignIn(server.url, "ada@example.org")
	ada.Connect(server.url, "strava", "ada")
	ada.Connect(server.url, "garmin", "moss")
	wantLines(t, scrape(server),
		"cairn_sessions 2",
		"cairn_database_up 1",
		`cairn_connections{provider="strava",state="active"} 1`,
		`cairn_connections{provider="garmin",state="active"} 1`)

	visitor.Send(http.MethodPost, sandbox+"/control/strava/expire", url.Values{})
	ada.Check(server.url, "strava")
	ada.Send(http.MethodPost, server.url+"/connections/strava/disconnect", url.Values{})
	guess := url.Values{"email": {"ada@example.org"}, "password": {"hunter2hunter2"}}
	for range 11 {
		visitor.Send(http.MethodPost, server.url+"/login", guess)
	}
	_, consent := visitor.Send(http.MethodPost, server.url+"/login/foursquare", url.Values{})
	visitor.Send(http.MethodPost, consent.Url.String(), url.Values{"person": {"zofie"}, "decision": {"deny"}})
	_, consent = visitor.Send(http.MethodPost, server.url+"/login/foursquare", url.Values{})
	visitor.Send(http.MethodPost, consent.Url.String(), url.Values{"person": {"zofie"}, "decision": {"allow"}})
	for _, path := range []string{
		"/hunter2?code=hunter2",
		"/connect/hunter2",
		"/static/hunter2",
		"/api/strava/auth/callback?code=hunter2&state=hunter2",
	} {
		visitor.Send(http.MethodGet, server.url+path, nil)
		visitor.Send("HUNTER2", server.url+path, nil)
	}

	const revoked = `cairn_provider_calls_total{call="revoke",provider="strava",result="ok"} 1`
	testkit.Eventually(t, "Strava has revoked the tokens", func() bool {
		return strings.Contains(scrape(server), revoked)
	})
	text := scrape(server)
	wantLines(t, text,
		`cairn_sign_ins_total{method="password",result="ok"} 1`,
		`cairn_sign_ins_total{method="password",result="refused"} 10`,
		`cairn_sign_ins_total{method="password",result="limited"} 1`,
		`cairn_rate_limited_total{limit="sign-in, e-mail and network"} 1`,
		`cairn_sign_ins_total{method="foursquare",result="declined"} 1`,
		`cairn_sign_ins_total{method="foursquare",result="ok"} 1`,
		`cairn_provider_calls_total{call="exchange",provider="strava",result="ok"} 1`,
		`cairn_provider_calls_total{call="refresh",provider="strava",result="ok"} 1`,
		`cairn_provider_call_duration_seconds_count{call="refresh",provider="strava"} 1`,
		`cairn_http_requests_total{method="POST",route="/connections/{provider}/check",status="303"} 1`,
		`cairn_http_request_duration_seconds_count{method="POST",route="/connections/{provider}/check"} 1`,
		`cairn_http_requests_total{method="GET",route="(none)",status="404"} 1`,
		"cairn_ready 1", "cairn_instances 1", fmt.Sprintf("cairn_schema_version %d", db.Newest()),
		`cairn_password_hashes{state="running"} 0`, `cairn_password_hashes{state="waiting"} 0`,
		`cairn_password_hashes_max{state="running"} `+strconv.Itoa(max(1, runtime.GOMAXPROCS(0)-1)),
		`cairn_pool_connections_max 4`)
	built := regexp.MustCompile(`(?m)^cairn_build_info\{go_version="go1[^"]*",revision="[^"]+",version="[^"]+"\} 1$`)
	if !built.MatchString(text) {
		t.Error("cairn_build_info is missing")
	}
	for _, name := range []string{
		"go_goroutines",
		"process_resident_memory_bytes",
		"cairn_pool_connections_acquired",
		"cairn_pool_acquire_waits_total",
	} {
		if !strings.Contains(text, "\n"+name+" ") {
			t.Errorf("%s is missing", name)
		}
	}
	secrets := regexp.MustCompile(`(?i).*(hunter2|@|\bada\b|zofie|moss|code=|state=[^"]).*`)
	if found := secrets.FindAllString(text, -1); found != nil {
		t.Errorf("metrics contain personal or secret data: %q", found)
	}
	for _, address := range []string{server.url + "/metrics", strings.TrimSuffix(metricsOf(server), "/metrics") + "/"} {
		if status, _ := visitor.Send(http.MethodGet, address, nil); status != http.StatusNotFound {
			t.Errorf("%s answers %d, want 404", address, status)
		}
	}
}

func TestMetricsListener(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	server := start(t, "PORT=0", "METRICS_ADDR=127.0.0.1:0", "DATA_DIR="+testkit.DataDir(t), "DATABASE_URL="+address)
	at, err := url.Parse(metricsOf(server))
	if err != nil {
		t.Fatal(err)
	}
	wantFailure(t, []string{"PORT=0", "METRICS_ADDR=" + at.Host, "DATABASE_URL=" + address}, "",
		"METRICS_ADDR "+at.Host+" can't be used")
	wantFailure(t, []string{"PORT=0", "METRICS_ADDR=9464"}, "", "METRICS_ADDR is not an address")
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, server.logged())
	}
	if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at.Host); err == nil {
		_ = conn.Close()
		t.Error("a server that has stopped still serves metrics")
	}
	silent := start(t, "PORT=0", "DATABASE_URL="+address)
	if strings.Contains(silent.logged(), "metrics") {
		t.Errorf("metrics are served without METRICS_ADDR:\n%s", silent.logged())
	}
}

// A server that is stopping serves metrics until its last request is answered.
func TestMetricsWhileStopping(t *testing.T) {
	t.Parallel()
	address := dbtest.NewPatientURL(t)
	server := start(t, "PORT=0", "METRICS_ADDR=127.0.0.1:0", "DATA_DIR="+testkit.DataDir(t), "DATABASE_URL="+address)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	wantLines(t, scrape(server), "cairn_sessions 1")
	// No count and no background job reads this table, so only the request waits.
	release := testkit.Lock(t, address, "cairn.passkeys", "ACCESS EXCLUSIVE")
	answered := server.ask(b, "/account")
	waits := func() bool { return strings.Contains(scrape(server), "\ncairn_pool_connections_acquired 1\n") }
	testkit.Eventually(t, "the request waits for the lock", waits)
	server.stop()
	testkit.Eventually(t, "it logs that it is stopping", func() bool {
		return strings.Contains(server.logged(), `"stopping"`)
	})
	testkit.Eventually(t, "the metrics show the request in flight", waits) // and no other work
	wantLines(t, scrape(server), "cairn_ready 0")
	release()
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the request in flight got %d", status)
	}
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d:\n%s", code, server.logged())
	}
}
