package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/db/dbtest"
)

// commandOutput runs a command that ends well and returns what it prints.
func commandOutput(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := serverCommand(t, args, env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v: %s", args, err, said.String())
	}
	return string(out)
}

// readLines reads one JSON object a line, with the fields of T and no others.
func readLines[T any](t *testing.T, text string) (rows []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		var row T
		decoder := json.NewDecoder(strings.NewReader(line))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&row); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		rows = append(rows, row)
	}
	return rows
}

// queryValue asks the database of a server for one value.
func queryValue[T any](t *testing.T, env []string, query string) (value T) {
	t.Helper()
	for _, variable := range env {
		address, ok := strings.CutPrefix(variable, "DATABASE_URL=")
		if !ok {
			continue
		}
		conn, err := pgx.Connect(t.Context(), address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close(t.Context()) }()
		if err := conn.QueryRow(t.Context(), query).Scan(&value); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	return value
}

func nothing(string) string { return "" }

// Each command explains itself in every way that people try, and says so on standard output.
func TestHelp(t *testing.T) {
	t.Parallel()
	says := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), limits{}.withDefaults(), args, nothing, &out, io.Discard); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		return out.String()
	}
	overview := says("help")
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help", "--help"}} {
		if says(args...) != overview {
			t.Errorf("%v does not list the commands", args)
		}
	}
	for _, c := range commands() {
		if !regexp.MustCompile(`(?m)^  ` + c.name + ` +` + regexp.QuoteMeta(c.summary) + `$`).MatchString(overview) {
			t.Errorf("%s is not listed:\n%s", c.name, overview)
		}
		text := says("help", c.name)
		if !strings.HasPrefix(text, c.summary+".\n\nUsage: server "+c.name) {
			t.Errorf("help %s says:\n%s", c.name, text)
		}
		for line := range strings.Lines(text) {
			if len([]rune(line)) > 90 {
				t.Errorf("help %s is too wide: %s", c.name, line)
			}
		}
		for _, flag := range []string{"--help", "-h"} {
			if c.name != "help" && says(c.name, flag) != text {
				t.Errorf("%s %s does not explain it", c.name, flag)
			}
		}
	}
	if says("sessions", "end", "--help") != says("help", "sessions") {
		t.Error("--help behind a verb does not explain the command")
	}
}

// A wrong call changes nothing, and is told in one line.
func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"serv", "--verbose", "serve x", "serve --port 3", "migrate 7", "doctor now", "health x",
		"instances --all", "jobs x", "rekey --force", "sessions", "sessions foo",
		"strava", "strava show x", "webhooks x", "version x", "help foo", "help jobs x", "notices x",
	} {
		cmd := serverCommand(t, strings.Fields(args))
		var out, said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &said
		err := cmd.Run()
		failure, _ := errors.AsType[*exec.ExitError](err)
		if failure == nil || failure.ExitCode() != 2 || out.Len() > 0 {
			t.Errorf("%s: %v, want exit code 2 and nothing on standard output: %s", args, err, &out)
		}
		if !regexp.MustCompile(`\Acairn: .*; see: server help.*\n\z`).MatchString(said.String()) {
			t.Errorf("%s: it says %q", args, said.String())
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	text := commandOutput(t, nil, "version")
	if text != commandOutput(t, nil, "--version") ||
		!strings.HasPrefix(text, "cairn ") || !strings.Contains(text, "go1.") {
		t.Errorf("it says %q", text)
	}
	rows := readLines[build](t, commandOutput(t, nil, "version", "--json"))
	if len(rows) != 1 || rows[0].Version == "" || rows[0].Revision == "" || rows[0].Schema != db.Newest() {
		t.Errorf("JSON says %+v", rows)
	}
}

// A build in a repository knows its revision, and one without can be given a name.
func TestBuildKnowsItsRevision(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	sh := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GIT_CONFIG_GLOBAL=/dev/null")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	source, err := os.ReadFile("version.go")
	if err != nil {
		t.Fatal(err)
	}
	// The real file, without what it needs of the other packages: a whole build would take a minute on a cold cache.
	text := regexp.MustCompile(`(?s)func versionCommand.*`).
		ReplaceAllString(string(source), "func main() { fmt.Println(readBuild()) }\n")
	text = strings.NewReplacer("db.Newest()", "7", "\t\"cairn/db\"\n", "", "\t\"context\"\n", "", "\t\"io\"\n", "").
		Replace(text)
	for name, content := range map[string]string{"main.go": text, "go.mod": "module example.org/x\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unnamed := "cairn unknown, revision unknown, schema version 7, go1."
	if says := sh("go", "run", "."); !strings.HasPrefix(says, unnamed) {
		t.Errorf("without version control it says %q", says)
	}
	sh("go", "build", "-o", "named", "-ldflags", "-X main.version=1.2.3", ".")
	if says := sh("./named"); !strings.HasPrefix(says, "cairn 1.2.3, revision unknown, ") {
		t.Errorf("with a name it says %q", says)
	}
	sh("git", "init", "-q")
	sh("git", "add", "main.go", "go.mod")
	sh("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
	sh("go", "build", "-buildvcs=true", "-o", "built", ".")
	if says := sh("./built"); !strings.Contains(says, "revision "+sh("git", "rev-parse", "HEAD")+" of 20") {
		t.Errorf("in a repository it says %q", says)
	}
}

// Only servers and "migrate" change the schema; the other commands say what to do.
func TestCommandsLeaveTheSchemaAlone(t *testing.T) {
	t.Parallel()
	address := dbtest.NewEmptyURL(t)
	dir := dataDir(t)
	env := []string{"DATABASE_URL=" + address, "DATA_DIR=" + dir}
	all := []string{"jobs", "sessions list --all", "sessions end --all", "notices", "notices --json",
		"notices --each cat", "rekey", "instances"}
	for _, args := range all {
		wantFailure(t, serverCommand(t, strings.Fields(args), env...),
			"the database has no schema yet: run server migrate")
		wantFailure(t, serverCommand(t, strings.Fields(args), "DATA_DIR="+dataDir(t)),
			"there is none yet: the first start makes a private one")
	}
	schemas := queryValue[int](t, env, `SELECT count(*)::int FROM pg_namespace WHERE nspname = 'cairn'`)
	if schemas != 0 {
		t.Error("a command made the schema")
	}
	commandOutput(t, env, "migrate")
	newest := db.Newest()
	execute(t, address, `
		DELETE FROM cairn.goose_db_version WHERE version_id = (SELECT max(version_id) FROM cairn.goose_db_version)`)
	for _, args := range all {
		wantFailure(t, serverCommand(t, strings.Fields(args), env...),
			"the schema is older than this program", "run server migrate")
	}
	if version := queryValue[int64](t, env, `SELECT max(version_id) FROM cairn.goose_db_version`); version >= newest {
		t.Error("a command migrated the schema")
	}
	execute(t, address, `INSERT INTO cairn.goose_db_version (version_id, is_applied) VALUES (9999, true)`)
	for _, args := range all {
		commandOutput(t, env, strings.Fields(args)...)
	}
}

// The fields of the JSON that commands print are a promise: docs/operations.md and the command's help list them.
func TestJSONFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for listing, row := range map[string]any{
		"sessions list": sessionRow{}, "instances": instanceRow{}, "jobs": jobTally{}, "notices": noticeRow{},
		"webhooks": webhookRow{}, "strava show": subscription{}, "doctor": findingRow{}, "version": build{},
	} {
		promised := regexp.MustCompile("(?m)^\\| `" + listing + "` \\|.*$").FindString(string(text))
		name, _, _ := strings.Cut(listing, " ")
		c, _ := find(name)
		for field := range reflect.TypeOf(row).Fields() {
			tag := field.Tag.Get("json")
			if !strings.Contains(promised, "`"+tag+"`") {
				t.Errorf("docs/operations.md does not list %s of %s", tag, listing)
			}
			if name != "version" && !regexp.MustCompile(`\b`+tag+`\b`).MatchString(c.about) {
				t.Errorf("server help %s does not list %s", name, tag)
			}
		}
	}
}
