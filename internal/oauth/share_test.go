package oauth

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The shares in docs/security.md are those of the program.
func TestSharesAreAsWritten(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	for words, s := range map[string]share{
		"background work":  background,
		"people's buttons": buttons,
		"signing in":       signingIn,
	} {
		written := false
		for line := range strings.Lines(string(doc)) {
			written = written || strings.HasPrefix(line, "| "+words) &&
				strings.Contains(line, fmt.Sprintf("| %d %% |", s))
		}
		if !written {
			t.Errorf("the table of shares does not say that %s may use %d %% of a budget", words, s)
		}
	}
}
