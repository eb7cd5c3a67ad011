package testkit

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// Row logs figures as a row of a table in docs/performance.md, which quotes it unchanged.
func Row(t testing.TB, cells ...string) {
	t.Helper()
	t.Log("| " + strings.Join(cells, " | ") + " |")
}

// Cell formats a cell of a Row. Numbers get commas between thousands.
func Cell(format string, args ...any) string {
	return message.NewPrinter(language.English).Sprintf(format, args...)
}

// Commit names the commit of the measured program, for docs/performance.md; "unknown" outside a repository.
func Commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
