package testkit

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// NodeUsers makes the Node server's table of people, with the columns that matter here.
const NodeUsers = `
	CREATE TABLE public.users (id serial PRIMARY KEY, foursquare_user_id varchar NOT NULL UNIQUE, display_name text,
		access_token_encrypted text, secret_token varchar(64) UNIQUE, strava_oauth_tokens_encrypted text,
		strava_athlete_id bigint, garmin_oauth_tokens_encrypted text)`

// Express is a server with the real express-session and connect-pg-simple (test/express/server.js).
type Express struct {
	DatabaseURL string
	Secrets     string // separated by commas; the first signs
	Rolling     bool
	MaxAge      string // in milliseconds; "0": until the browser is closed
	UserAt      string // where a session has its user; "": userId
	AsText      bool   // ids are strings there
	TimeZone    string // of the process and its connections; "": UTC
	Port        string // "": any free one
}

// Start starts it and returns its address. It stops with the test.
func (e Express) Start(t testing.TB) (address string) {
	t.Helper()
	cmd := exec.Command("node", "server.js")
	cmd.Dir = filepath.Join(root(t), "test", "express")
	zone := e.TimeZone
	if zone == "" {
		zone = "UTC"
	}
	// The address has settings that only pgx reads as we mean them.
	database, err := pgx.ParseConfig(e.DatabaseURL)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"),
		"PGHOST=" + database.Host, "PGPORT=" + strconv.Itoa(int(database.Port)), "PGUSER=" + database.User,
		"PGPASSWORD=" + database.Password, "PGDATABASE=" + database.Database, "SECRETS=" + e.Secrets,
		"MAX_AGE=" + e.MaxAge, "USER_AT=" + e.UserAt, "TZ=" + zone, "PORT=" + e.Port}
	if e.Rolling {
		cmd.Env = append(cmd.Env, "ROLLING=on")
	}
	if e.AsText {
		cmd.Env = append(cmd.Env, "AS_TEXT=on")
	}
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("the tests of the change-over need Node.js: make test installs it (%v)", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	port, ok := strings.CutPrefix(strings.TrimSpace(line), "port ")
	if err != nil || !ok {
		t.Fatalf("test/express did not start: make test installs what it needs (%q, %v)", line, err)
	}
	return "http://localhost:" + port
}

// root is the directory of the repository.
func root(t testing.TB) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("no source")
	}
	return filepath.Join(filepath.Dir(file), "..", "..")
}
