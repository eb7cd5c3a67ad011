package node_test

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/scrypt"

	"cairn/db/dbtest"
	"cairn/internal/admin"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// statusKey is ENCRYPTION_KEY of the Node server.
const statusKey = "8f1d4c7a02b95e63d7a8f0143b6c92e58d07a4f1c6395b2e70d81fa94c536be2"

// statusTables are those of the Node server, as far as they matter here.
const statusTables = `
	CREATE TABLE public.users (
		id serial PRIMARY KEY, foursquare_user_id varchar(255) UNIQUE NOT NULL, display_name text,
		access_token_encrypted text, secret_token varchar(64) UNIQUE, strava_oauth_tokens_encrypted text,
		strava_athlete_id bigint, garmin_oauth_tokens_encrypted text);
	CREATE TABLE public.session (sid varchar PRIMARY KEY, sess json NOT NULL, expire timestamp(6) NOT NULL)`

// statusSealed is what the Node server stores of a text.
func statusSealed(t *testing.T, text string) string {
	t.Helper()
	key, err := hex.DecodeString(statusKey)
	if err != nil {
		t.Fatal(err)
	}
	return statusSealedWith(t, key, text)
}

// statusScrypt is the key that the Node server made of a text.
func statusScrypt(t *testing.T, text string) []byte {
	t.Helper()
	key, err := scrypt.Key([]byte(text), []byte("salt"), 16384, 8, 1, 32)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func statusSealedWith(t *testing.T, key []byte, text string) string {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		t.Fatal(err)
	}
	iv := make([]byte, 16) // zeros: the keys of tests guard nothing
	sealed := aead.Seal(nil, iv, []byte(text), nil)
	end := len(sealed) - 16
	return fmt.Sprintf("%x:%x:%x", iv, sealed[end:], sealed[:end])
}

// statusStrava are tokens of Strava in the Node server's form.
const statusStrava = `{"accessToken":"access","refreshToken":"refresh","expiresAt":4102444800}`

// statusPerson is a row with a private link and, unless they are "", sealed tokens of Foursquare, Strava and Garmin.
func statusPerson(id int, foursquare, strava, garmin string) string {
	return fmt.Sprintf(`
		INSERT INTO public.users
		VALUES (%d, '%d', 'Ada', NULLIF('%s', ''), '%064x', NULLIF('%s', ''), %d, NULLIF('%s', ''))`,
		id, 1000+id, foursquare, id, strava, 2000+id, garmin)
}

// statusSession is a row of a session that ends some hours from now.
func statusSession(sid string, user, hours int) string {
	ends := time.Now().UTC().Add(time.Duration(hours) * time.Hour)
	return fmt.Sprintf(`
		INSERT INTO public.session
		VALUES ('%s', '{"cookie":{"originalMaxAge":86400000,"expires":"%s"},"userId":%d}', '%s')`,
		sid, ends.Format(time.RFC3339), user, ends.Format(time.DateTime))
}

// statusDay is a day as variables have it.
func statusDay(ahead int) string { return time.Now().UTC().AddDate(0, 0, ahead).Format(time.DateOnly) }

// statusAt is a database with two tables of the Node server.
type statusAt struct {
	t   *testing.T
	url string
	env []string
}

func newStatusAt(t *testing.T, statements ...string) statusAt {
	t.Helper()
	at := statusAt{t: t, url: dbtest.NewPatientURL(t)}
	at.env = []string{
		"DATABASE_URL=" + at.url, "DATA_DIR=" + testkit.DataDir(t), "ENCRYPTION_KEY=" + testkit.Key1,
		"NODE_ENCRYPTION_KEY=" + statusKey, "STRAVA_CLIENT_ID=id", "STRAVA_CLIENT_SECRET=secret",
	}
	at.execute(append([]string{statusTables}, statements...)...)
	return at
}

func (at statusAt) execute(statements ...string) {
	at.t.Helper()
	testkit.Execute(at.t, at.url, statements...)
}

// command runs server node.
func (at statusAt) command(args string, env ...string) (out string, err error) {
	at.t.Helper()
	var printed strings.Builder
	err = node.Command(at.t.Context(), admin.Env{
		Args: strings.Fields(args), Environ: slices.Concat(at.env, env), Stderr: at.t.Output(), Log: quiet,
	}, &printed)
	testkit.WantNoSecrets(at.t, printed.String())
	if strings.Contains(printed.String(), "Ada") {
		at.t.Errorf("it prints a name:\n%s", &printed)
	}
	return printed.String(), err
}

func (at statusAt) must(args string, env ...string) string {
	at.t.Helper()
	out, err := at.command(args, env...)
	if err != nil {
		at.t.Fatalf("%s: %v", args, err)
	}
	return out
}

func (at statusAt) read(env ...string) (s node.Status) {
	at.t.Helper()
	if err := json.Unmarshal([]byte(at.must("status --json", env...)), &s); err != nil {
		at.t.Fatal(err)
	}
	return s
}

var statusFoursquare = []string{"FOURSQUARE_CLIENT_ID=id", "FOURSQUARE_CLIENT_SECRET=secret"}

func TestStatusCounts(t *testing.T) {
	t.Parallel()
	good := statusSealed(t, "FSQ-token")
	at := newStatusAt(t,
		statusPerson(1, good, statusSealed(t, statusStrava), ""),
		statusPerson(2, "damaged", "", good), statusPerson(3, good, "", ""), statusPerson(4, good, "", ""))
	at.must("import")
	at.execute(
		`DELETE FROM cairn.users WHERE id = (SELECT user_id FROM cairn.node_users WHERE node_id = 4)`,
		`UPDATE cairn.node_users SET link_used_at = now() - interval '6 days' WHERE node_id = 1`,
		`UPDATE cairn.node_users SET link_used_at = now() - interval '8 days' WHERE node_id = 2`,
		`UPDATE cairn.node_users SET link_hash = NULL, ended_since = now() WHERE node_id = 3`,
		statusPerson(5, good, "", ""),
		statusSession("alive-of-1", 1, 5), statusSession("over-of-1", 1, -5), statusSession("adopted-of-2", 2, 5),
		statusSession("alive-of-2", 2, 5), statusSession("locked-out-of-3", 3, 5), statusSession("of-4", 4, 5),
		statusSession("not-imported-of-5", 5, 5),
		`INSERT INTO public.session VALUES ('a-visitor', '{"cookie":{}}', now())`,
		`INSERT INTO cairn.node_sessions
			SELECT sha256('adopted-of-2'), user_id FROM cairn.node_users WHERE node_id = 2`,
		`INSERT INTO cairn.node_sessions SELECT sha256('long ago'), user_id, now() - interval '3 days'
			FROM cairn.node_users WHERE node_id = 2`)

	s := at.read(append(statusFoursquare, "NODE_IMPORT=on", "NODE_LINKS_UNTIL="+statusDay(30))...)
	users, notImported, notAdopted := 5, 1, 2
	want := node.Status{
		NodeUsers: &users, NotImported: &notImported, Accounts: 3,
		Reconnect: map[string]int{"foursquare": 1, "garmin": 1}, Unconfirmed: 1, Links: 2, LinksUsed: 1,
		NotAdopted: &notAdopted, Deleted: 1, DeletedIDs: []int64{4}, Import: true,
		LinksEnd: &node.End{Day: statusDay(30), DaysLeft: 30},
		Losses: []string{
			"1 person is not imported, and would have no account.",
			"2 sessions are lost, because sessions are not adopted (NODE_SESSIONS_UNTIL): their people have to " +
				"sign in.",
		},
	}
	adopted := map[string]int{statusDay(-3): 1, statusDay(0): 1}
	for _, on := range s.Adopted {
		if on.Sessions != adopted[on.Day] {
			t.Errorf("adopted on %s: %d, want %d", on.Day, on.Sessions, adopted[on.Day])
		}
	}
	if len(s.Adopted) != 7 || s.ImportedAt == nil || time.Since(*s.ImportedAt) > time.Hour {
		t.Errorf("%d days, last import %v", len(s.Adopted), s.ImportedAt)
	}
	s.Adopted, s.ImportedAt = nil, nil
	if !reflect.DeepEqual(s, want) {
		t.Errorf("it counts\n%+v, want\n%+v", statusText(t, s), statusText(t, want))
	}
	text := at.must("status", "NODE_LINKS_UNTIL="+statusDay(1))
	for _, want := range []string{
		"        5 users at the Node server\n", "        1 of them are not imported\n", "        1 people deleted",
		"NODE_IMPORT is off.", "Private links work until " + statusDay(1) + ": 1 day left.",
		"Sessions are not adopted: NODE_SESSIONS_UNTIL is not set.", "  1 person is not imported",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	at.execute(`UPDATE cairn.node_settings SET ended_since = now()`)
	if s := at.read(); *s.NotAdopted != 0 {
		t.Errorf("after an operator has ended all sessions, %d wait to be adopted", *s.NotAdopted)
	}
}

func statusText(t *testing.T, s node.Status) string {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestStatusSaysWhatWouldBeLost(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t, // what does not sign in is no sign-in method
		statusPerson(1, "", statusSealed(t, statusStrava), ""), statusPerson(2, "", "", ""),
		statusSession("of-the-first-1", 1, 5))
	at.must("import")
	at.execute(`UPDATE cairn.node_users SET link_hash = NULL WHERE node_id = 2`)
	linksUntil, sessionsUntil := "NODE_LINKS_UNTIL="+statusDay(9), "NODE_SESSIONS_UNTIL="+statusDay(3)
	for _, tt := range []struct {
		name string
		env  []string
		want []string
	}{
		{"nothing is on", nil, []string{"2 people have no sign-in method here", "1 session is lost"}},
		{
			"links work", []string{linksUntil},
			[]string{
				"1 person has no sign-in method but a private link, which works until " + statusDay(9),
				"1 person has no sign-in method here", "1 session is lost",
			},
		},
		{
			"links are over", []string{"NODE_LINKS_UNTIL=" + statusDay(-1)},
			[]string{"2 people have no sign-in method here", "1 session is lost"},
		},
		{
			"sessions are adopted", append(statusFoursquare, sessionsUntil),
			[]string{"1 session is not adopted yet, which happens on the next visit until " + statusDay(3)},
		},
		{"Foursquare", statusFoursquare, []string{"1 session is lost"}},
	} {
		losses := at.read(tt.env...).Losses
		if len(losses) != len(tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, losses, tt.want)
			continue
		}
		for i, want := range tt.want {
			if !strings.HasPrefix(losses[i], want) {
				t.Errorf("%s: %q, want %q", tt.name, losses[i], want)
			}
		}
	}
	at.execute(`DELETE FROM public.session`)
	text := at.must("status", statusFoursquare...)
	if !strings.HasSuffix(text, "Nothing would be lost by switching the Node server off today.\n") {
		t.Errorf("it says\n%s", text)
	}
}

// A database without the Node server's tables is no failure, and what came from another one is counted.
func TestStatusWithoutNodeTables(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t, `DROP TABLE public.users, public.session`)
	if text := at.must("status"); !strings.Contains(text, "no table public.users") || strings.Count(text, "\n") != 1 {
		t.Errorf("it says\n%s", text)
	}
	at.execute(`INSERT INTO cairn.node_users (node_id) VALUES (7)`)
	s := at.read()
	if s.NodeUsers != nil || s.NotImported != nil || s.NotAdopted != nil || s.Deleted != 1 || s.ImportedAt != nil {
		t.Errorf("it counts\n%s", statusText(t, s))
	}
	if text := at.must("status"); !strings.Contains(text, "        1 people deleted") {
		t.Errorf("it says\n%s", text)
	}
}

// The fields of the JSON are a promise: docs/operations.md and the command's help list them.
func TestStatusFieldsAreDocumented(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	promised := regexp.MustCompile("(?m)^\\| `node status`.*$").FindString(string(text))
	for _, object := range []any{node.Status{}, node.AdoptedOn{}, node.End{}} {
		for field := range reflect.TypeOf(object).Fields() {
			tag := field.Tag.Get("json")
			if !field.IsExported() {
				continue
			}
			if !strings.Contains(promised, "`"+tag+"`") || !regexp.MustCompile(`\b`+tag+`\b`).MatchString(node.About) {
				t.Errorf("docs/operations.md or the help does not list %s", tag)
			}
		}
	}
}
