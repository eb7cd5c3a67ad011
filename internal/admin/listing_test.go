package admin

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// The fields of the JSON that commands print are a promise: docs/operations.md and the command's help list them.
func TestJSONFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	for listing, row := range map[string]struct {
		fields any
		about  string
	}{
		"accounts list": {AccountRow{}, AboutAccounts},
		"sessions list": {SessionRow{}, AboutSessions}, "instances": {InstanceRow{}, AboutInstances},
		"jobs":     {jobTally{}, AboutJobs},
		"webhooks": {webhookRow{}, AboutWebhooks()}, "strava show": {subscription{}, Subscriptions()[0].About()},
		"doctor": {Finding{}, AboutDoctor},
	} {
		promised := regexp.MustCompile("(?m)^\\| `" + listing + "` \\|.*$").FindString(string(text))
		for field := range reflect.TypeOf(row.fields).Fields() {
			tag := field.Tag.Get("json")
			if !field.IsExported() {
				continue
			}
			if !strings.Contains(promised, "`"+tag+"`") {
				t.Errorf("docs/operations.md does not list %s of %s", tag, listing)
			}
			if !regexp.MustCompile(`\b` + tag + `\b`).MatchString(row.about) {
				t.Errorf("the help of %s does not list %s", listing, tag)
			}
		}
	}
}
