package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// readLines decodes text, which has one JSON object a line, each with no fields but those of T.
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

// Every way to ask for help prints it to standard output.
func TestHelp(t *testing.T) {
	t.Parallel()
	says := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := run(t.Context(), limits{}, args, nil, &out, io.Discard); err != nil {
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
	for _, c := range commands(limits{}) {
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
		t.Error("--help after a verb does not explain the command")
	}
}

// A wrong call does nothing, and prints one line that says what is wrong.
func TestWrongCalls(t *testing.T) {
	t.Parallel()
	for _, args := range []string{
		"serv", "--verbose", "serve x", "serve --port 3", "migrate 7", "doctor now", "health x",
		"instances --all", "jobs x", "rekey --force", "sessions", "sessions foo",
		"strava", "strava show x", "webhooks x", "version x", "help foo", "help jobs x",
	} {
		out, said, code := call(t, nil, strings.Fields(args)...)
		if code != 2 || out != "" {
			t.Errorf("%s: exit code %d, want 2 and nothing on standard output: %s", args, code, out)
		}
		if !regexp.MustCompile(`\Acairn: .*; see: server help.*\n\z`).MatchString(said) {
			t.Errorf("%s: it prints %q", args, said)
		}
	}
	cmd := serverCommand(t, []string{"serv"}) // the same as a process
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 2 || out.Len() > 0 ||
		said.String() != "cairn: there is no command \"serv\"; see: server help\n" {
		t.Errorf("error %v; it prints %q and %q", err, &out, &said)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	says := commandOutput(t, nil, "version")
	if says != commandOutput(t, nil, "--version") ||
		!strings.HasPrefix(says, "cairn ") || !strings.Contains(says, "go1.") {
		t.Errorf("it prints %q", says)
	}
	rows := readLines[build](t, commandOutput(t, nil, "version", "--json"))
	if len(rows) != 1 || rows[0].Version == "" || rows[0].Revision == "" || rows[0].Schema != db.Newest() {
		t.Errorf("the JSON is %+v", rows)
	}
	text, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	promised := regexp.MustCompile("(?m)^\\| `version` \\|.*$").FindString(string(text))
	for field := range reflect.TypeFor[build]().Fields() {
		if tag := field.Tag.Get("json"); !strings.Contains(promised, "`"+tag+"`") {
			t.Errorf("docs/operations.md does not list %s", tag)
		}
	}
}

// A build in a repository knows its revision, and a build outside one can be given a version.
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
	source, err := os.ReadFile("build.go")
	if err != nil {
		t.Fatal(err)
	}
	// The real file, without our other packages: a whole build would take a minute on a cold cache.
	text := strings.NewReplacer("db.Newest()", "7", "\t\"cairn/db\"\n", "").Replace(string(source)) +
		"\nfunc main() { fmt.Println(readBuild()) }\n"
	for name, content := range map[string]string{"main.go": text, "go.mod": "module example.org/x\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	unnamed := "cairn unknown, revision unknown, schema version 7, go1."
	if says := sh("go", "run", "."); !strings.HasPrefix(says, unnamed) {
		t.Errorf("without version control it prints %q", says)
	}
	sh("go", "build", "-o", "named", "-ldflags", "-X main.version=1.2.3", ".")
	if says := sh("./named"); !strings.HasPrefix(says, "cairn 1.2.3, revision unknown, ") {
		t.Errorf("with a version it prints %q", says)
	}
	sh("git", "init", "-q")
	sh("git", "add", "main.go", "go.mod")
	sh("git", "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "x")
	sh("go", "build", "-buildvcs=true", "-o", "built", ".")
	if says := sh("./built"); !strings.Contains(says, "revision "+sh("git", "rev-parse", "HEAD")+" of 20") {
		t.Errorf("in a repository it prints %q", says)
	}
}

// Only servers and "migrate" change the schema. The other commands say what to do if it is missing or old.
func TestCommandsLeaveTheSchemaAlone(t *testing.T) {
	t.Parallel()
	address := dbtest.NewEmptyURL(t)
	dir := testkit.DataDir(t)
	env := []string{"DATABASE_URL=" + address, "DATA_DIR=" + dir}
	all := []string{"jobs", "sessions list --all", "sessions end --all", "rekey", "instances", "accounts list",
		"accounts disable --user-id 1", "accounts enable --user-id 1"}
	for _, args := range all {
		wantFailure(t, env, args,
			"the database has no schema yet: run server migrate")
		wantFailure(t, nil, args,
			"there is none yet: the first start makes a private one")
	}
	schemas := testkit.Ask[int](t, address, `SELECT count(*)::int FROM pg_namespace WHERE nspname = 'cairn'`)
	if schemas != 0 {
		t.Error("a command made the schema")
	}
	commandOutput(t, env, "migrate")
	newest := db.Newest()
	testkit.Execute(t, address, `
		DELETE FROM cairn.goose_db_version WHERE version_id = (SELECT max(version_id) FROM cairn.goose_db_version)`)
	for _, args := range all {
		wantFailure(t, env, args,
			"the schema is older than this program", "run server migrate")
	}
	version := testkit.Ask[int64](t, address, `SELECT max(version_id) FROM cairn.goose_db_version`)
	if version >= newest {
		t.Error("a command migrated the schema")
	}
	testkit.Execute(t, address, `INSERT INTO cairn.goose_db_version (version_id, is_applied) VALUES (9999, true)`,
		`INSERT INTO cairn.users (display_name) VALUES ('Ada')`)
	for _, args := range all {
		commandOutput(t, env, strings.Fields(args)...)
	}
}
