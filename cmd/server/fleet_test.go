package main

import (
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// fleet is several servers behind a balancer, on one database, with providers that outlive each of them.
type fleet struct {
	t         *testing.T
	url       string // where browsers reach it
	pool      *pgxpool.Pool
	sandbox   *sandbox.Sandbox
	balancer  *balancer
	instances []*member
}

// member is a place in a fleet: a port, and whichever process listens there now.
type member struct {
	*process
	env []string
}

func newFleet(t *testing.T, size int, env ...string) *fleet {
	t.Helper()
	return newFleetBehind(t, size, &front{}, env...)
}

// newFleetBehind is newFleet with a front before the providers.
func newFleetBehind(t *testing.T, size int, way *front, env ...string) *fleet {
	t.Helper()
	ports := make([]string, size)
	addresses := make([]string, size)
	for i := range ports {
		ports[i] = lastingPort(t)
		addresses[i] = "http://127.0.0.1:" + ports[i]
	}
	f := &fleet{t: t, balancer: newBalancer(t, addresses...)}
	front := httptest.NewServer(f.balancer)
	t.Cleanup(front.Close)
	_, port, _ := net.SplitHostPort(front.Listener.Addr().String())
	f.url = "http://localhost:" + port // the providers are at 127.0.0.1, another site
	database := dbtest.NewPatientURL(t)
	var err error
	if f.pool, err = pgxpool.New(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.pool.Close)
	env = append(env,
		"DATABASE_URL="+database,
		"DATA_DIR="+dataDir(t),
		"PUBLIC_URL="+f.url,
		"TRUSTED_PROXIES=127.0.0.0/8,::1")
	env = append(env, f.simulateProviders(way)...)
	for _, port := range ports {
		at := &member{env: append([]string{"PORT=" + port}, env...)}
		at.process = start(t, at.env...)
		f.instances = append(f.instances, at)
	}
	f.awaitReady()
	return f
}

// replace ends an instance with a signal and starts a new one in its place. It returns the old
// one's exit code (-1 after a kill).
func (f *fleet) replace(i int, signal syscall.Signal) int {
	f.t.Helper()
	return f.replaceBy(os.Args[0], i, signal)
}

// replaceBy is replace with another build of the server.
func (f *fleet) replaceBy(program string, i int, signal syscall.Signal) int {
	f.t.Helper()
	at := f.instances[i]
	code := at.end(signal)
	cmd := serverCommand(f.t, nil, at.env...)
	cmd.Path = program
	at.process = startCommand(f.t, cmd)
	f.awaitReady()
	return code
}

// builds are the programs that take turns in a rolling restart: this one, and the one in
// DEPLOY_PREVIOUS if there is one.
func builds() []string {
	if previous := os.Getenv("DEPLOY_PREVIOUS"); previous != "" {
		return []string{previous, os.Args[0]}
	}
	return []string{os.Args[0]}
}

func (f *fleet) awaitReady() {
	f.t.Helper()
	for _, b := range f.balancer.backends {
		testkit.Eventually(f.t, "the balancer sees that "+b.url.Host+" is ready", b.ready.Load)
	}
}

// awaitSyncs waits until the syncs that connecting enqueued are done. From then on tokens are used only as the test
// says.
func (f *fleet) awaitSyncs() {
	f.t.Helper()
	testkit.Eventually(f.t, "what is new has been fetched", func() bool {
		var left int
		err := f.pool.QueryRow(f.t.Context(), `
			SELECT (SELECT count(*) FROM cairn.errands) +
			       (SELECT count(*) FROM cairn.river_job
			        WHERE kind = 'revisit' AND state IN ('available', 'running', 'retryable'))`).Scan(&left)
		if err != nil {
			f.t.Fatal(err)
		}
		return left == 0
	})
}

// simulateProviders serves the sandbox from the test, because servers come and go, and returns the registrations.
func (f *fleet) simulateProviders(way *front) (env []string) {
	t := f.t
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String() + "/sandbox"
	apps := map[string]sandbox.App{}
	for _, p := range known {
		apps[p.key] = sandbox.App{ClientID: "fleet", ClientSecret: "fleet-" + p.key, RedirectURI: f.url + p.callback}
		at := sandbox.EndpointsOf(base, p.key)
		env = append(env,
			p.prefix+"_CLIENT_ID=fleet",
			p.prefix+"_CLIENT_SECRET=fleet-"+p.key,
			p.prefix+"_AUTHORIZE_URL="+at.Authorize,
			p.prefix+"_TOKEN_URL="+at.Token,
			p.prefix+"_API_URL="+at.API,
			p.prefix+"_REVOKE_URL="+at.Revoke)
	}
	simulated, err := sandbox.New(t.Context(), sandbox.Options{
		Pool: f.pool, BaseURL: base, Apps: apps, Site: f.url, Limits: patientPlayers()})
	if err != nil {
		t.Fatal(err)
	}
	for _, quota := range []struct{ provider, name, value string }{ // a crowd asks more than a small application may
		{sandbox.Strava, sandbox.Quota, "1000000,1000000"}, {sandbox.Strava, sandbox.ReadQuota, "1000000,1000000"},
		{sandbox.Foursquare, sandbox.Quota, "1000000"},
	} {
		if err := simulated.SetSwitch(t.Context(), quota.provider, quota.name, quota.value); err != nil {
			t.Fatal(err)
		}
	}
	f.sandbox, way.Handler = simulated, simulated.Handler()
	server.Config.Handler = way
	server.Start()
	t.Cleanup(server.Close)
	return env
}

// lastingPort returns a free port below those that systems hand out by themselves (from 32768 on), so that nobody takes
// it while the server of this place is being replaced.
func lastingPort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + rand.IntN(20_000))
		listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", ":"+port)
		if err == nil {
			_ = listener.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// deployRounds is how many times a test replaces servers: few, or as many as `make deploy-test` asks for.
func deployRounds(t *testing.T, name string, few int) int {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return few
	}
	rounds, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil || rounds < 1 {
		t.Fatalf("%s is not a number of rounds", name)
	}
	return rounds
}
