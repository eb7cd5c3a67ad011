package dbtest

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cairn/db/embedded"
	"cairn/internal/testkit"

	"github.com/jackc/pgx/v5"
)

// Pooler is a PgBouncer that belongs to one test, as Debian configures it but for its address, port, databases, users
// and mode.
type Pooler struct {
	URL string // of the database behind it

	t      testing.TB
	server *exec.Cmd
	exited chan struct{}
	log    syncBuffer
}

// syncBuffer is written by one goroutine and read by another.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// NewPooler starts a PgBouncer before the database at database, with a pool_mode ("transaction", "session",
// "statement") and further lines for its [pgbouncer] section, such as "max_client_conn = 10". It ends with the test.
func NewPooler(t testing.TB, database, mode string, settings ...string) *Pooler {
	t.Helper()
	program := findPgBouncer(t)
	behind, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	tools, err := embedded.FindTools()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := tools.TempDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(dir)) })
	port, password := testkit.FreePort(t), "only-a-test"
	line := fmt.Sprintf("%s = host=%s port=%d user=%s", behind.Database, behind.Host, behind.Port, behind.User)
	if behind.Password != "" {
		line += " password='" + strings.ReplaceAll(behind.Password, "'", "''") + "'"
	}
	ini := fmt.Sprintf(`[databases]
%[1]s
[pgbouncer]
logfile = %[2]s/log
pidfile = %[2]s/pid
listen_addr = 127.0.0.1
listen_port = %[3]s
unix_socket_dir =
auth_type = md5
auth_file = %[2]s/users
pool_mode = %[4]s
%[5]s
`, line, dir, port, mode, strings.Join(settings, "\n"))
	write(t, filepath.Join(dir, "ini"), ini)
	write(t, filepath.Join(dir, "users"), fmt.Sprintf("\"%s\" \"%s\"\n", behind.User, password))
	address := &url.URL{
		Scheme: "postgres", User: url.UserPassword(behind.User, password), Host: net.JoinHostPort("127.0.0.1", port),
		Path: "/" + behind.Database, RawQuery: "sslmode=disable",
	}
	server := tools.Command(program, filepath.Join(dir, "ini"))
	p := &Pooler{URL: address.String(), t: t, server: server, exited: make(chan struct{})}
	p.start()
	return p
}

func (p *Pooler) start() {
	p.t.Helper()
	p.server.Stdout, p.server.Stderr = &p.log, &p.log
	if err := p.server.Start(); err != nil {
		p.t.Fatalf("dbtest: start PgBouncer: %v", err)
	}
	go func() { _ = p.server.Wait(); close(p.exited) }()
	p.t.Cleanup(p.Stop)
	up := func() bool { return strings.Contains(p.log.String(), "process up") }
	for deadline := time.Now().Add(cleanupLimit); !up(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.exited:
			p.t.Fatalf("dbtest: PgBouncer ended at once:\n%s", p.log.String())
		default:
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("dbtest: PgBouncer does not come up:\n%s", p.log.String())
		}
	}
}

// Stop ends PgBouncer at once, with all its connections.
func (p *Pooler) Stop() {
	_ = p.server.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(cleanupLimit):
		p.t.Error("dbtest: PgBouncer does not end")
		_ = p.server.Process.Kill()
	}
}

func findPgBouncer(t testing.TB) string {
	t.Helper()
	for _, name := range []string{
		"pgbouncer", "/usr/sbin/pgbouncer", // not in every user's PATH
		"/opt/homebrew/opt/pgbouncer/bin/pgbouncer", "/usr/local/opt/pgbouncer/bin/pgbouncer",
	} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	t.Fatal("dbtest: PgBouncer is not installed: run sh scripts/install.sh pgbouncer")
	return ""
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
}
