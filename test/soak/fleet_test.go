package soak

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// fleet is several servers behind a balancer, with one database, and with simulated providers that outlive them.
type fleet struct {
	t         *testing.T
	url       string // where browsers reach it
	pool      *pgxpool.Pool
	sandbox   *sandbox.Sandbox
	balancer  *balancer
	instances []*member
	elsewhere atomic.Pointer[httputil.ReverseProxy] // where all requests go instead; nil: to the balancer
}

func (f *fleet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if other := f.elsewhere.Load(); other != nil {
		other.ServeHTTP(w, r)
		return
	}
	f.balancer.ServeHTTP(w, r)
}

// member is a place in a fleet: a port and the process that listens there.
type member struct {
	*process.Process
	env []string
}

func newFleet(t *testing.T, size int, env ...string) *fleet {
	t.Helper()
	return newFleetBehind(t, size, &front{}, env...)
}

// newFleetBehind is newFleet with a front that can delay requests to the providers.
func newFleetBehind(t *testing.T, size int, way *front, env ...string) *fleet {
	t.Helper()
	return newFleetOn(t, dbtest.NewPatientURL(t), size, way, env...)
}

// newFleetOn is newFleetBehind with a database that the test has prepared.
func newFleetOn(t *testing.T, database string, size int, way *front, env ...string) *fleet {
	t.Helper()
	ports := make([]string, size)
	addresses := make([]string, size)
	for i := range ports {
		ports[i] = testkit.FreePort(t)
		addresses[i] = "http://127.0.0.1:" + ports[i]
	}
	f := &fleet{t: t, balancer: newBalancer(t, addresses...)}
	front := httptest.NewServer(f)
	t.Cleanup(front.Close)
	_, port, _ := net.SplitHostPort(front.Listener.Addr().String())
	f.url = "http://localhost:" + port // another site than the providers' 127.0.0.1
	var err error
	if f.pool, err = pgxpool.New(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.pool.Close)
	env = append(env,
		"DATABASE_URL="+database,
		"DATA_DIR="+testkit.DataDir(t),
		"PUBLIC_URL="+f.url,
		"TRUSTED_PROXIES=127.0.0.0/8,::1")
	simulated, registrations := process.Simulate(t, f.pool, f.url, func(h http.Handler) http.Handler {
		way.Handler = h
		return way
	})
	f.sandbox, env = simulated, append(env, registrations...)
	for _, port := range ports {
		at := &member{env: append([]string{"PORT=" + port}, env...)}
		at.Process = start(t, at.env...)
		f.instances = append(f.instances, at)
	}
	f.awaitReady()
	return f
}

// replace ends a server with a signal and starts a new one in its place. It returns the old one's exit code (-1 after a
// kill).
func (f *fleet) replace(i int, signal syscall.Signal) int {
	f.t.Helper()
	return f.replaceBy(program(), i, signal)
}

// replaceBy is replace with another build of the server.
func (f *fleet) replaceBy(program string, i int, signal syscall.Signal) int {
	f.t.Helper()
	at := f.instances[i]
	code := at.End(signal)
	cmd := serverCommand(f.t, nil, at.env...)
	cmd.Path = program
	at.Process = process.Start(f.t, cmd)
	f.awaitReady()
	return code
}

// builds returns the programs that take turns in a rolling restart: this one, and the one in DEPLOY_PREVIOUS if it is
// set.
func builds() []string {
	if previous := os.Getenv("DEPLOY_PREVIOUS"); previous != "" {
		return []string{previous, program()}
	}
	return []string{program()}
}

func (f *fleet) awaitReady() {
	f.t.Helper()
	for _, b := range f.balancer.backends {
		testkit.Eventually(f.t, "the balancer sees that "+b.url.Host+" is ready", b.ready.Load)
	}
}

// awaitSyncs waits until the syncs that connecting enqueued are done. After that, only the test uses tokens.
func (f *fleet) awaitSyncs() {
	f.t.Helper()
	testkit.Eventually(f.t, "all syncs are done", func() bool {
		var left int
		err := f.pool.QueryRow(f.t.Context(), `
			SELECT (SELECT count(*) FROM cairn.sync_requests) +
			       (SELECT count(*) FROM cairn.river_job
			        WHERE kind = 'revisit' AND state IN ('available', 'running', 'retryable'))`).Scan(&left)
		if err != nil {
			f.t.Fatal(err)
		}
		return left == 0
	})
}

// deployRounds returns how many times a test replaces servers: the variable name, which make deploy-test sets, or few.
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
