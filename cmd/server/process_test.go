package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// playServer makes the test binary be the server, with the limits that it holds as JSON: what is tested is the whole
// program, in processes that can be killed.
const playServer = "CAIRN_TEST_PLAYS_SERVER"

func TestMain(m *testing.M) {
	text := os.Getenv(playServer)
	if text == "" {
		dbtest.Main(m)
		return
	}
	var l limits
	if err := json.Unmarshal([]byte(text), &l); err != nil {
		panic(err)
	}
	program(l)
}

// patience is how long a test waits for something that a machine under load may take long for.
const patience = testkit.Patience

// patient are the limits of servers in tests that are not about them: a busy machine does not reach them.
func patient() limits {
	return limits{
		Passwords: auth.Cost{Memory: 64, Passes: 1},
		Rates:     untiring(),
		Calls:     oauth.Limits{Call: patience, Queue: patience, Statement: patience},
		Pages: routes.Limits{
			Probe: patience, Page: patience, Provider: patience, Webhook: patience, Bulk: patience,
		},
		Jobs:    jobs.Limits{Job: patience},
		Sandbox: patientPlayers(),

		// RequestHeader stays: a server that stops waits so long for connections on which nothing comes.
		SessionLookup: patience, SessionStatement: patience, Request: patience, Response: 2 * patience,
		SandboxWork: patience, Upkeep: patience, Health: patience,
		Doctor: patience, Message: patience, Counting: patience,
	}
}

func patientPlayers() sandbox.Limits {
	return sandbox.Limits{Strava: patience, Garmin: patience, Foursquare: patience,
		Slow: patience, Retry: 50 * time.Millisecond}
}

// usual are the limits of servers in tests that look how they keep them, and of all whose figures are printed.
func usual() limits {
	l := limits{Rates: untiring()}
	if !measured() {
		l.Passwords = patient().Passwords
		l.RequestHeader = patience // a client may come to a spare connection just when the server gives it up
	}
	return l
}

// mortal are the limits of servers that are killed: what one held,
// others take over when a few calls could have been made.
func mortal() limits {
	if measured() {
		return usual()
	}
	l := patient()
	l.Calls = oauth.Limits{Queue: 10 * time.Second}
	return l
}

// measured tells whether figures are wanted, as make deploy-test and make fault-test print them:
// of the program as it is.
func measured() bool { return os.Getenv("DEPLOY_ROUNDS") != "" || faultTime() > 0 }

// untiring are the rate limits of people who do in a moment what others do in a week.
func untiring() auth.Limits {
	l := auth.DefaultLimits()
	for _, often := range []*auth.Limit{&l.BeginPerson, &l.BeginNetwork, &l.CallPause, &l.CallHour, &l.CallNetwork,
		&l.ChangePerson, &l.ChangeNetwork, &l.FinishBrowser, &l.FinishAccount, &l.FinishNetwork} {
		often.Max = 1_000_000
	}
	return l
}

// limited is a variable for start: the server has these limits and not the patient ones.
func limited(l limits) string {
	text, err := json.Marshal(l)
	if err != nil {
		panic(err)
	}
	return playServer + "=" + string(text)
}

// process is a running server.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	url  string
	done chan struct{} // closed when it has exited

	mu  sync.Mutex
	log bytes.Buffer
}

// serverCommand is the server with these variables and nothing else of ours in its environment.
func serverCommand(t *testing.T, args []string, env ...string) *exec.Cmd {
	t.Helper()
	l := patient()
	if measured() {
		l = usual()
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = t.TempDir() // no .env of this directory
	// A program with the race detector sleeps for a second before it exits, unless it is told not to.
	cmd.Env = append([]string{limited(l), "GORACE=atexit_sleep_ms=50",
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "TMPDIR=" + os.TempDir()}, env...)
	return cmd
}

// start starts a server and waits until it says where it is.
func start(t *testing.T, env ...string) *process {
	t.Helper()
	return startCommand(t, serverCommand(t, nil, env...))
}

func startCommand(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, done: make(chan struct{})}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan string, 1)
	go p.read(stderr, ready)
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
	select {
	case p.url = <-ready:
	case <-p.done:
		t.Fatalf("the server ended before it was ready:\n%s", p.logged())
	case <-time.After(patience):
		t.Fatalf("the server is not ready:\n%s", p.logged())
	}
	return p
}

func (p *process) read(stderr io.Reader, ready chan<- string) {
	defer close(p.done)
	lines := bufio.NewScanner(stderr)
	for lines.Scan() {
		p.mu.Lock()
		p.log.Write(append(lines.Bytes(), '\n'))
		p.mu.Unlock()
		var line struct{ Msg string }
		_ = json.Unmarshal(lines.Bytes(), &line)
		if _, address, ok := strings.Cut(line.Msg, "ready: open "); ok {
			ready <- address
		}
	}
	_ = p.cmd.Wait()
}

func (p *process) logged() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// end sends a signal, waits for the exit and returns its code (-1 after a kill).
func (p *process) end(signal syscall.Signal) int {
	p.t.Helper()
	if err := p.cmd.Process.Signal(signal); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("the server did not end:\n%s", p.logged())
	}
	return p.cmd.ProcessState.ExitCode()
}

// freePort returns a port that is free now, for servers that have to come back on the same one.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

// dataDir is a directory for everything a server keeps, with a name that wants quoting.
func dataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "data of 'a' server")
}

// browser is a client with cookies that follows redirects, the consent pages of the sandbox included.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{Jar: jar, Timeout: patience}}
}

func (b browser) do(method, address string, form url.Values) (int, *goquery.Document) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	page, err := goquery.NewDocumentFromReader(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	page.Url = resp.Request.URL
	return resp.StatusCode, page
}

func (b browser) signUp(site, email string) {
	b.t.Helper()
	form := url.Values{"name": {"Ada"}, "email": {email}, "password": {"granite lichen and slow rain"}}
	status, page := b.do(http.MethodPost, site+"/signup", form)
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("sign-up answered %d: %s", status, page.Find("main").Text())
	}
}

func (b browser) signIn(site, email string) {
	b.t.Helper()
	form := url.Values{"email": {email}, "password": {"granite lichen and slow rain"}, "keep": {"on"}}
	status, page := b.do(http.MethodPost, site+"/login", form)
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("sign-in answered %d: %s", status, page.Find("main").Text())
	}
}

// connect presses the button of a card and allows everything on the consent page.
func (b browser) connect(site, provider, person string) {
	b.t.Helper()
	status, consent := b.do(http.MethodPost, site+"/connect/"+provider, url.Values{"next": {"/connections"}})
	if status != http.StatusOK || consent.Find("input[name=person]").Length() == 0 {
		b.t.Fatalf("%s: instead of a consent page came %d: %s", provider, status, consent.Find("main").Text())
	}
	form := url.Values{"person": {person}, "decision": {"allow"}}
	consent.Find("input[type=checkbox]").Each(func(_ int, box *goquery.Selection) {
		form.Add(box.AttrOr("name", ""), box.AttrOr("value", ""))
	})
	status, page := b.do(http.MethodPost, consent.Url.String(), form)
	if status != http.StatusOK || page.Find("#card-"+provider+"[data-state=active]").Length() != 1 {
		b.t.Fatalf("%s: after allowing came %d: %s", provider, status, page.Find("main").Text())
	}
}

// check presses "Check now" and expects that the connection works.
func (b browser) check(site, provider string) {
	b.t.Helper()
	status, page := b.do(http.MethodPost, site+"/connections/"+provider+"/check", url.Values{})
	if status != http.StatusOK || !strings.Contains(page.Find("#notice").Text(), "works") {
		b.t.Fatalf("checking %s answered %d %q", provider, status, page.Find("#notice, h1").Text())
	}
}

// wantConnected checks that somebody is signed in and sees that many working connections.
func (b browser) wantConnected(site string, connections int) {
	b.t.Helper()
	status, page := b.do(http.MethodGet, site+"/connections", nil)
	if status != http.StatusOK || page.Find("header a[href='/account']").Length() == 0 {
		b.t.Fatalf("not signed in: %d %s", status, page.Find("h1").Text())
	}
	if n := page.Find(".card[data-state=active]").Length(); n != connections {
		b.t.Fatalf("%d working connections, want %d", n, connections)
	}
}

// postgresOf returns the process id of the PostgreSQL below a data directory, 0 if none runs.
func postgresOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "postgres", "postmaster.pid"))
	if err != nil {
		return 0
	}
	var pid int
	_, _ = fmt.Sscan(cmp.Or(string(text), "0"), &pid)
	if pid <= 0 || syscall.Kill(pid, 0) != nil {
		return 0
	}
	return pid
}
