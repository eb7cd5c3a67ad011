// Package dbtest gives each test a PostgreSQL database of its own.
//
//	func TestMain(m *testing.M) { dbtest.Main(m) }
//
//	func TestSomething(t *testing.T) {
//		pool := dbtest.New(t)
//
//	dbtest.go    Main, and databases: migrated ones and empty ones
//	template.go  the template of the migrated ones, made once for each set of migrations
//	cluster.go   a server for one test, which stops, kills or freezes it
//	pooler.go    a PgBouncer for one test
//	errors.go    that methods of a store return what went wrong in the database
//	owner_*.go   who owns a directory
//
// The server is the one in TEST_DATABASE_URL (whose user must be allowed to create databases), or a private one
// without durability that all test processes of this user share. Databases are copies of a template that has been
// migrated once. Tests that stop, kill or freeze their server have one to themselves: NewCluster.
package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/db"
	"cairn/db/embedded"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// variable names the server. Main sets it where it is unset, for New and for the processes that tests start.
const variable = "TEST_DATABASE_URL"

const cleanupLimit = 5 * time.Minute

// Main runs the tests of a package and exits. Without PostgreSQL it fails: skipped tests prove nothing.
func Main(m *testing.M) {
	embedded.Supervise()
	os.Exit(Run(m))
}

// Run is Main for a TestMain that has more to do: it returns the exit code. The caller has called embedded.Supervise.
func Run(m *testing.M) int {
	if err := errors.Join(setParallel(), testkit.UseMemory()); err != nil {
		fmt.Fprintln(os.Stderr, "dbtest:", err)
		return 1
	}
	debug.SetGCPercent(400) // tests have small heaps, and collecting them took a fifth of the time
	if os.Getenv(variable) == "" {
		server, err := start()
		if err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
			return 1
		}
		defer func() { _ = server.Stop() }()
		if err := os.Setenv(variable, server.URL()); err != nil {
			fmt.Fprintln(os.Stderr, "dbtest:", err)
			return 1
		}
	}
	return m.Run()
}

// setParallel lets more tests run at once than there are cores, because most of them spend most of their time waiting.
// If the command line has -parallel, that counts, whether it was parsed already or is parsed later.
func setParallel() error {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if given {
		return nil
	}
	return flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
}

func start() (*embedded.Server, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("cairn-test-%d", os.Getuid()))
	if err := ownDir(dir); err != nil {
		return nil, err
	}
	return embedded.Start(context.Background(), embedded.Options{Dir: dir, Ephemeral: true})
}

// ownDir makes dir, and refuses one of that name that another user has put in the shared temporary directory.
func ownDir(dir string) error {
	mode := fs.FileMode(0o700)
	if os.Getuid() == 0 {
		mode = 0o711 // PostgreSQL runs under another account then
	}
	if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make a directory for PostgreSQL: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("look at the directory for PostgreSQL: %w", err)
	}
	if !info.IsDir() || info.Mode().Perm()&0o022 != 0 || !owned(info) {
		return fmt.Errorf("%s is not a directory of this user alone", dir)
	}
	return nil
}

// New returns a pool on a database of its own with all migrations. The database is dropped when the test ends.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	return open(t, NewPatientURL(t))
}

// NewURL is New for tests that start whole processes: it returns the database's URL.
func NewURL(t testing.TB) string {
	t.Helper()
	template, err := templateName()
	if err != nil {
		t.Fatalf("dbtest: name the template database: %v", err)
	}
	return create(t, template, makeTemplate)
}

// NewPatientURL is NewURL for tests that are not about the time limits of statements. A busy machine does not exceed
// those of its URL.
func NewPatientURL(t testing.TB) string {
	t.Helper()
	return patient(NewURL(t))
}

func patient(url string) string {
	for _, name := range []string{"statement_timeout", "lock_timeout"} {
		url = withParameter(url, name, "5min")
	}
	return withParameter(url, "connect_timeout", "300")
}

// NewEmptyURL returns the URL of a database without anything in it.
func NewEmptyURL(t testing.TB) string {
	t.Helper()
	return create(t, "template0", nil)
}

func open(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	if !strings.Contains(url, "pool_max_conns=") {
		url = withParameter(url, "pool_max_conns", "10")
	}
	pool, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("dbtest: open the test's database: %v", err)
	}
	t.Cleanup(func() { closePool(t, pool) })
	return pool
}

// closePool reports a test that has not released a connection, and does not wait for ever.
func closePool(t testing.TB, pool *pgxpool.Pool) {
	closed := make(chan struct{})
	go func() { pool.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(cleanupLimit):
		t.Errorf("dbtest: the test kept %d connections", pool.Stat().AcquiredConns())
	}
}

// create copies template to a new database and drops that when the test ends. ensure makes a template
// that is missing.
func create(t testing.TB, template string, ensure func(context.Context, *pgx.Conn, string) error) string {
	t.Helper()
	server := server(t)
	conn, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatalf("dbtest: connect: %v", err)
	}
	name := "cairn_test_" + strings.ToLower(rand.Text()[:16])
	t.Cleanup(func() { drop(t, conn, name) })
	statement := fmt.Sprintf("CREATE DATABASE %s TEMPLATE %s %s", name, template, strategy(conn))
	_, err = conn.Exec(t.Context(), statement)
	if db.NoDatabase(err) && ensure != nil {
		if err = ensure(t.Context(), conn, template); err == nil {
			_, err = conn.Exec(t.Context(), statement)
		}
	}
	if err != nil {
		t.Fatalf("dbtest: create a database: %v", err)
	}
	url, err := withDatabase(server, name)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	return url
}

// strategy makes PostgreSQL copy files, which costs half as much as writing their contents to the log. Before version
// 15 it does that anyway.
func strategy(conn *pgx.Conn) string {
	version, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	if major, err := strconv.Atoi(version); err == nil && major < 15 {
		return ""
	}
	return "STRATEGY file_copy"
}

func drop(t testing.TB, conn *pgx.Conn, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	defer cancel()
	defer func() { _ = conn.Close(ctx) }()
	if _, err := conn.Exec(ctx, fmt.Sprintf("DROP DATABASE IF EXISTS %s WITH (FORCE)", name)); err != nil {
		t.Errorf("dbtest: drop the test's database: %v", err)
	}
}

func server(t testing.TB) string {
	t.Helper()
	url := os.Getenv(variable)
	if url == "" {
		t.Fatalf("dbtest: this package's TestMain must call dbtest.Main (or set %s)", variable)
	}
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		t.Fatalf("dbtest: %s must be a URL, postgres://…", variable)
	}
	return url
}

func execute(ctx context.Context, server, statement string) error {
	conn, err := pgx.Connect(ctx, server)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// withDatabase returns the URL of another database on the server.
func withDatabase(server, name string) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", fmt.Errorf("%s is malformed", variable) // the cause quotes the password
	}
	u.Path = "/" + name
	return u.String(), nil
}

func withParameter(server, name, value string) string {
	separator := "?"
	if strings.Contains(server, "?") {
		separator = "&"
	}
	return server + separator + name + "=" + value
}
