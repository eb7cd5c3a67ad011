package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayImport is the architecture: it lists which of our packages each package imports. Tests may import everything.
var mayImport = map[string][]string{
	"cairn/cmd/server": {"cairn/db", "cairn/db/embedded", "cairn/web", "cairn/internal/admin", "cairn/internal/auth",
		"cairn/internal/avatar", "cairn/internal/config", "cairn/internal/connection", "cairn/internal/instance",
		"cairn/internal/jobs", "cairn/internal/activity", "cairn/internal/mail", "cairn/internal/metrics",
		"cairn/internal/node", "cairn/internal/oauth",
		"cairn/internal/sandbox", "cairn/internal/routes", "cairn/internal/seal", "cairn/internal/sealed",
		"cairn/internal/session"},
	"cairn/internal/admin": {"cairn/db", "cairn/db/embedded", "cairn/internal/access", "cairn/internal/auth",
		"cairn/internal/config", "cairn/internal/connection", "cairn/internal/instance", "cairn/internal/jobs",
		"cairn/internal/mail", "cairn/internal/oauth", "cairn/internal/routes", "cairn/internal/seal",
		"cairn/internal/sealed", "cairn/internal/session", "cairn/internal/webhook"},
	"cairn/internal/node": {"cairn/db", "cairn/internal/access", "cairn/internal/activity", "cairn/internal/admin",
		"cairn/internal/auth",
		"cairn/internal/config", "cairn/internal/connection", "cairn/internal/export", "cairn/internal/instance",
		"cairn/internal/oauth",
		"cairn/internal/routes", "cairn/internal/seal", "cairn/internal/session", "cairn/internal/text"},
	"cairn/internal/config": {"cairn/internal/oauth", providerFolder},
	// A provider's folder implements the interfaces of features.
	providerFolder: {"cairn/internal/activity", "cairn/internal/connection", "cairn/internal/oauth",
		"cairn/internal/text", "cairn/internal/webhook"},
	"cairn/internal/access": {"cairn/internal/auth", "cairn/internal/connection", "cairn/internal/mail",
		"cairn/internal/oauth",
		"cairn/internal/session"},
	"cairn/internal/routes": {"cairn/db", "cairn/internal/access", "cairn/internal/auth", "cairn/internal/activity",
		"cairn/internal/connection", "cairn/internal/export", "cairn/internal/mail", "cairn/internal/oauth",
		"cairn/internal/passkey", "cairn/internal/session",
		"cairn/internal/text", "cairn/internal/totp", "cairn/internal/webhook"},
	"cairn/internal/export": {},
	"cairn/internal/jobs":   {"cairn/internal/oauth"},
	"cairn/internal/avatar": {},
	"cairn/internal/metrics": {"cairn/db", "cairn/internal/auth", "cairn/internal/connection",
		"cairn/internal/instance", "cairn/internal/jobs", "cairn/internal/oauth", "cairn/internal/session"},
	"cairn/internal/webhook": {"cairn/internal/activity", "cairn/internal/oauth"},
	"cairn/internal/activity": {"cairn/db", "cairn/internal/connection", "cairn/internal/oauth", "cairn/internal/seal",
		"cairn/internal/text"},
	"cairn/internal/connection": {"cairn/db", "cairn/internal/auth", "cairn/internal/avatar", "cairn/internal/mail",
		"cairn/internal/oauth", "cairn/internal/seal", "cairn/internal/sealed"},
	"cairn/internal/oauth":   {"cairn/db", "cairn/internal/text"},
	"cairn/internal/mail":    {"cairn/db", "cairn/internal/text"},
	"cairn/internal/sandbox": {},
	"cairn/internal/auth": {"cairn/db", "cairn/internal/mail", "cairn/internal/passkey", "cairn/internal/seal",
		"cairn/internal/sealed", "cairn/internal/text", "cairn/internal/totp"},
	"cairn/internal/passkey":  {},
	"cairn/internal/totp":     {},
	"cairn/internal/session":  {"cairn/db", "cairn/internal/text"},
	"cairn/internal/text":     {},
	"cairn/internal/seal":     {},
	"cairn/internal/sealed":   {"cairn/internal/seal"},
	"cairn/internal/instance": {"cairn/db"},
	"cairn/internal/bench":    {},
	"cairn/db":                {},
	"cairn/db/embedded":       {},
	"cairn/db/dbtest":         {"cairn/db", "cairn/db/embedded", "cairn/internal/testkit"},
	"cairn/internal/testkit":  {},
	"cairn/internal/testkit/process": {"cairn/internal/auth", "cairn/internal/config", "cairn/internal/jobs",
		"cairn/internal/oauth", "cairn/internal/routes", "cairn/internal/sandbox", "cairn/internal/testkit"},
	"cairn/test/soak": {},
	"cairn/web":       {},
}

// providerFolder stands for the folder of each provider.
const providerFolder = "cairn/internal/oauth/NAME"

// listed returns the name by which mayImport lists a package.
func listed(name string) string {
	if strings.HasPrefix(name, "cairn/internal/oauth/") {
		return providerFolder
	}
	return name
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "cairn/...")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	silent := []string{"cairn/internal/access", "cairn/internal/auth", "cairn/internal/passkey",
		"cairn/internal/seal", "cairn/db", "cairn/web"}
	gone := maps.Clone(mayImport)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		allowed, known := mayImport[listed(fields[0])]
		if !known {
			t.Errorf("%s is new: add it to mayImport", fields[0])
		}
		delete(gone, listed(fields[0]))
		for _, imported := range fields[1:] {
			if strings.HasPrefix(imported, "cairn/") && !slices.Contains(allowed, listed(imported)) {
				t.Errorf("%s may not import %s", fields[0], imported)
			}
			if imported == "net/http" && slices.Contains(silent, fields[0]) {
				t.Errorf("%s speaks no HTTP and may not import net/http", fields[0])
			}
			if strings.Contains(imported, "/pgx/") && fields[0] == "cairn/internal/routes" {
				t.Errorf("%s leaves transactions to features and may not import %s", fields[0], imported)
			}
		}
	}
	for name := range gone {
		t.Errorf("mayImport lists %s, which does not exist", name)
	}
}

// Only package db knows PostgreSQL's error codes. Others call db.Unavailable and similar functions.
func TestErrorCodesAreReadInOnePlace(t *testing.T) {
	t.Parallel()
	read := 0
	eachSource(t, func(path string) error {
		source, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(source), "pgconn.PgError") {
			return err
		}
		if read++; filepath.Dir(path) != "../../db" {
			t.Errorf("%s reads PostgreSQL's error codes, which belongs in db/sqlstate.go", path)
		}
		return nil
	})
	if read == 0 {
		t.Error("no file reads error codes")
	}
}

// Sessions use the database's clock only, so an instance whose own clock is wrong does no harm.
func TestSessionsHaveNoClockOfTheirOwn(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/session/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files (error %v)", err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		// Deadlines of this process may use its own clock.
		text := strings.ReplaceAll(string(source), "time.Now().Add(", "")
		for _, call := range []string{"time.Now(", "time.Since(", "time.Until("} {
			if !strings.HasSuffix(file, "_test.go") && strings.Contains(text, call) {
				t.Errorf("%s uses its own clock: %s", file, call)
			}
		}
	}
}
