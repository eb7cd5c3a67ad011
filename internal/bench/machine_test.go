package bench

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/embedded"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) {
	embedded.Supervise()
	if rival := os.Getenv(runRival); rival != "" {
		if err := play(rival, os.Getenv("DATABASE_URL")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() != "" {
		fmt.Println("measured at commit", testkit.Commit())
	}
	os.Exit(m.Run())
}

// machine is a durable PostgreSQL, as in production, and the built server.
type machine struct {
	b      *testing.B
	url    string
	server string // the program
}

func newMachine(b *testing.B) machine {
	b.Helper()
	dir := b.TempDir()
	program := filepath.Join(dir, "server")
	build := exec.CommandContext(b.Context(), "go", "build", "-o", program, "cairn/cmd/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	settings := []string{
		"shared_preload_libraries=pg_stat_statements",
		"shared_buffers=1GB", // a million sessions and users fit
	}
	postgres, err := embedded.Start(b.Context(), embedded.Options{Dir: filepath.Join(dir, "data"), Settings: settings})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = postgres.Stop() })
	return machine{b: b, url: postgres.URL(), server: program}
}

// database makes an empty database and returns its URL.
func (m machine) database(name string) string {
	m.b.Helper()
	execute(m.b, m.url, "CREATE DATABASE "+name)
	u, err := url.Parse(m.url)
	if err != nil {
		m.b.Fatal(err)
	}
	u.Path = "/" + name
	execute(m.b, u.String(), "CREATE EXTENSION pg_stat_statements")
	return u.String()
}

// ours returns a database with our schema.
func (m machine) ours(name string) string {
	m.b.Helper()
	address := m.database(name)
	if out, err := m.command([]string{m.server, "migrate"}, "DATABASE_URL="+address).CombinedOutput(); err != nil {
		m.b.Fatalf("migrate: %v\n%s", err, out)
	}
	return address
}

func execute(b *testing.B, address, sql string, args ...any) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	if _, err := conn.Exec(b.Context(), sql, args...); err != nil {
		b.Fatal(err)
	}
}

func connect(b *testing.B, address string) *pgxpool.Pool {
	b.Helper()
	pool, err := pgxpool.New(b.Context(), address)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	return pool
}

func scalar[T any](b *testing.B, pool *pgxpool.Pool, sql string, args ...any) (v T) {
	b.Helper()
	if err := pool.QueryRow(b.Context(), sql, args...).Scan(&v); err != nil {
		b.Fatal(err)
	}
	return v
}

func (m machine) command(args []string, env ...string) *exec.Cmd {
	cmd := exec.CommandContext(m.b.Context(), args[0], args[1:]...)
	cmd.Dir = m.b.TempDir()
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}, env...)
	return cmd
}

// process is a running server.
type process struct {
	cmd     *exec.Cmd
	address string
	cold    time.Duration // from the start of the process to its first answer
}

// start starts a server and waits for its first answer. Its log goes to a file, as in production.
func (m machine) start(args []string, env ...string) process {
	m.b.Helper()
	port := testkit.FreePort(m.b)
	cmd := m.command(args, append(env, "PORT="+port, "DATA_DIR="+m.b.TempDir())...)
	log, err := os.Create(filepath.Join(m.b.TempDir(), "log"))
	if err != nil {
		m.b.Fatal(err)
	}
	cmd.Stderr = log
	p := process{cmd: cmd, address: "localhost:" + port}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		m.b.Fatal(err)
	}
	m.b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for !p.answers() {
		if time.Since(began) > time.Minute {
			text, _ := os.ReadFile(log.Name())
			m.b.Fatalf("%v does not answer:\n%s", args, text)
		}
		time.Sleep(time.Millisecond)
	}
	p.cold = time.Since(began)
	return p
}

func (m machine) startOurs(address string, env ...string) process {
	m.b.Helper()
	return m.start([]string{m.server}, append(env, "DATABASE_URL="+address)...)
}

func (m machine) startRival(name, address string) process {
	m.b.Helper()
	return m.start([]string{os.Args[0]}, runRival+"="+name, "DATABASE_URL="+address)
}

func (p process) answers() bool {
	resp, err := http.Get("http://" + p.address + "/healthz")
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// memory returns a figure of /proc/PID/status in MiB: VmRSS is the current memory, VmHWM the most.
func (p process) memory(name string) float64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0 // not on Linux
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+":"); ok {
			var kib float64
			_, _ = fmt.Sscan(rest, &kib)
			return kib / 1024
		}
	}
	return 0
}
