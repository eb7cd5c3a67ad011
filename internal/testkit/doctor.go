package testkit

import (
	"regexp"
	"strings"
	"testing"
)

// WantFindings checks that the doctor's output has a line that begins like each pattern, in which " | " stands for any
// number of spaces.
func WantFindings(t *testing.T, output string, patterns ...string) {
	t.Helper()
	for _, pattern := range patterns {
		if !regexp.MustCompile(`(?m)^` + strings.ReplaceAll(pattern, " | ", ` +`)).MatchString(output) {
			t.Errorf("no line matches %q:\n%s", pattern, output)
		}
	}
}

// WantNoSecrets checks that a text contains none of the secrets of tests.
func WantNoSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{"hunter2", Secret, Key1, Key2} {
		if strings.Contains(text, secret) {
			t.Errorf("it contains the secret %s:\n%s", secret, text)
		}
	}
}
