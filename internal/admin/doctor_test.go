package admin

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/config"
	"cairn/internal/oauth"
	"cairn/internal/oauth/strava"
	"cairn/internal/testkit"
)

// seeDoctor runs the doctor and returns the exit code that the program would have, and what it says.
func seeDoctor(t *testing.T, env ...string) (code int, says string) {
	t.Helper()
	return seeDoctorWithin(t, testkit.Patience, env...)
}

func seeDoctorWithin(t *testing.T, limit time.Duration, env ...string) (code int, says string) {
	t.Helper()
	var out strings.Builder
	if err := Doctor(t.Context(), Env{Environ: env, Limits: Limits{Doctor: limit}}, &out); err != nil {
		code = 1
		out.WriteString(err.Error() + "\n")
	}
	testkit.WantNoSecrets(t, out.String())
	return code, out.String()
}

// The doctor changes nothing: it makes no tables, no secrets, no private database.
func TestDoctorChangesNothing(t *testing.T) {
	t.Parallel()
	address := dbtest.NewEmptyURL(t)
	dir := testkit.DataDir(t)
	code, says := seeDoctor(t, "DATA_DIR="+dir, "DATABASE_URL="+address)
	testkit.WantFindings(t, says, `warn | schema | there is none yet`)
	if code != 0 {
		t.Errorf("exit code %d, want 0: a first start would put it right", code)
	}
	testkit.Execute(t, address, `CREATE SCHEMA cairn`) // fails if it is there
	code, says = seeDoctor(t, "DATA_DIR="+dir)
	testkit.WantFindings(t, says, `warn | database | there is none yet`)
	if _, err := os.Stat(dir); code != 0 || err == nil {
		t.Errorf("exit code %d; DATA_DIR was made: %v", code, err == nil)
	}
}

func TestDoctorExplainsTheDatabase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, statement string // on a migrated database
		code            int
		want            string
	}{
		{"pending", `
			DELETE FROM cairn.goose_db_version WHERE version_id > 2;
			DROP TABLE cairn.withdrawals, cairn.budgets, cairn.connection_events, cairn.sync_requests, cairn.pulls,
				cairn.latest CASCADE`, 0,
			`warn | schema | version 2; pending: 0003_(.|\n)*warn | keys | can't be compared`},
		{"newer", `INSERT INTO cairn.goose_db_version (version_id, is_applied) VALUES (9999, true)`, 0,
			`warn | schema | version 9999 is newer`},
		{"read-only", `
			DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on',
				current_database()); END$$`, 1,
			`FAIL | database | .* can't be written to`},
		{"paused", `
			INSERT INTO cairn.users (display_name) VALUES ('Ada');
			INSERT INTO cairn.identities (user_id, provider, subject) VALUES (1, 'strava', '7');
			INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens, state)
			VALUES (1, 1, 'strava', '\x0100000000', 'paused')`, 1,
			`warn | connections | strava: 1 are refused`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			address := dbtest.NewPatientURL(t)
			testkit.Execute(t, address, tt.statement)
			code, says := seeDoctor(t, "DATA_DIR="+testkit.DataDir(t), "DATABASE_URL="+address)
			testkit.WantFindings(t, says, tt.want)
			if code != tt.code {
				t.Errorf("exit code %d, want %d:\n%s", code, tt.code, says)
			}
		})
	}
	t.Run("without rights", func(t *testing.T) {
		t.Parallel()
		address, err := url.Parse(dbtest.NewEmptyURL(t))
		if err != nil {
			t.Fatal(err)
		}
		guest := "guest_" + strconv.FormatInt(time.Now().UnixNano(), 36) // roles belong to no database
		testkit.Execute(t, address.String(), `CREATE ROLE `+guest)
		defer testkit.Execute(t, address.String(), `DROP ROLE `+guest)
		query := address.Query()
		query.Set("role", guest)
		asGuest := *address
		asGuest.RawQuery = query.Encode()
		code, says := seeDoctor(t, "DATABASE_URL="+asGuest.String())
		testkit.WantFindings(t, says, `FAIL | schema | there is none yet, and the user of DATABASE_URL may not make it`)
		if code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
	t.Run("away", func(t *testing.T) {
		t.Parallel()
		code, says := seeDoctorWithin(t, 2*time.Second, "DATABASE_URL=postgres://ada:hunter2@127.0.0.1:1/cairn")
		testkit.WantFindings(t, says, `FAIL | database | .*127\.0\.0\.1:1`, `ok | providers`, `ok | dates`)
		if code != 1 {
			t.Errorf("exit code %d, want 1", code)
		}
	})
}

// All problems are listed, and what can be checked is.
func TestDoctorExplainsTheConfiguration(t *testing.T) {
	t.Parallel()
	code, says := seeDoctor(t, "APP_ENV=production", "DATABASE_URL="+dbtest.NewPatientURL(t),
		"PUBLIC_URL=http://cairn.example.org", "ENCRYPTION_KEY=hunter2", "TRUSTED_PROXIES=proxy")
	testkit.WantFindings(t, says,
		`FAIL | configuration | PUBLIC_URL has to begin with https`,
		`FAIL | configuration | ENCRYPTION_KEY`,
		`FAIL | configuration | SESSION_SECRET`,
		`FAIL | configuration | TRUSTED_PROXIES`,
		`ok | database`,
		`ok | schema`,
		`warn | providers | none has keys`,
		`doctor: lines with FAIL: 5`)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestDoctorReachesProviders(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	answer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || r.URL.RawQuery != "" || r.ContentLength > 0 {
			t.Errorf("the doctor asks for %s", r.URL)
		}
		http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
	}))
	defer answer.Close()
	silent, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	distrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer distrusted.Close()
	at := func(prefix, token, api string) []string {
		return []string{
			prefix + "_CLIENT_ID=7",
			prefix + "_CLIENT_SECRET=hunter2",
			prefix + "_TOKEN_URL=" + token + "/token?hunter2",
			prefix + "_API_URL=" + api,
			prefix + "_REVOKE_URL=" + api,
		}
	}
	env := slices.Concat(at("STRAVA", answer.URL, answer.URL),
		at("GARMIN", answer.URL, "http://"+silent.Addr().String()),
		at("FOURSQUARE", distrusted.URL, "http://127.0.0.1:1"),
		[]string{"PUBLIC_URL=http://cairn.test:3001", "GARMIN_REDIRECT_URI=http://cairn.test:3001/garmin",
			"DATABASE_URL=" + dbtest.NewPatientURL(t)})
	code, says := seeDoctorWithin(t, 5*time.Second, env...)
	testkit.WantFindings(t, says,
		`warn | configuration | complete, but APP_ENV is not production although PUBLIC_URL is public`,
		`ok | reach strava | `+answer.URL+` answers`,
		`ok | reach garmin | `+answer.URL+` answers`,
		`FAIL | reach garmin | http://`+silent.Addr().String()+` does not answer within 5s`,
		`FAIL | reach foursquare | http://127\.0\.0\.1:1 can't be reached: .*refused`,
		`FAIL | reach foursquare | `+distrusted.URL+` can't be reached: .*certificate`,
		`ok | callback garmin | http://cairn\.test:3001/garmin has to be registered exactly`,
		`ok | callback strava | http://cairn\.test:3001/api/strava/auth/callback; `+
			`register its bare domain, cairn\.test`)
	if code != 1 {
		t.Errorf("exit code %d, want 1:\n%s", code, says)
	}
}

func TestDoctorComparesClocks(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]string{
		4 * time.Second: "ok",
		6 * time.Second: "warn is 6s ahead of",
		-time.Hour:      "warn is 1h0m0s behind",
	} {
		f := checkClock(t.Context(), deployment{database: db.Report{Ahead: ahead}})[0]
		verdict, words, _ := strings.Cut(want, " ")
		if string(f.Verdict) != verdict || !strings.Contains(f.Text, words) {
			t.Errorf("%v: %v", ahead, f)
		}
	}
}

func TestDoctorKnowsDates(t *testing.T) {
	t.Parallel()
	here := strava.New(oauth.App{})
	moved := strava.New(oauth.App{Endpoints: oauth.Endpoints{API: "https://www.api-v3.strava.com/v3"}})
	for _, tt := range []struct {
		today    string
		provider *oauth.Provider
		verdict  Verdict
		words    string
	}{
		{"2026-11-23", here, OK, "(190 days left)"},
		{"2027-05-31", here, Warning, "(1 day left)"},
		{"2027-06-01", here, Warning, "(today)"},
		{"2027-06-03", here, Warning, "(2 days ago)"},
		{"2027-06-03", moved, OK, "(2 days ago)"},
	} {
		today, err := time.Parse(time.DateOnly, tt.today)
		if err != nil {
			t.Fatal(err)
		}
		found := checkDates(t.Context(), deployment{
			known: oauth.Registry{tt.provider}, providers: oauth.Registry{tt.provider},
			today: today.Add(20 * time.Hour),
		})
		if f := found[len(found)-1]; f.Verdict != tt.verdict || !strings.Contains(f.Text, tt.words) {
			t.Errorf("%s: %v, want %s and %q", tt.today, f, tt.verdict, tt.words)
		}
	}
}

func TestDoctorNamesWhatNothingReads(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile(".env", []byte("TRUSTED_PROXYS=10.0.0.1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, says := seeDoctor(t, "DATA_DIR="+testkit.DataDir(t),
		"STRAVA_CLIENT_SECERT=hunter2", "GARMIN_KEY=hunter2", "SESSION_MANAGER=x", "TRUSTED_PROXY=")
	testkit.WantFindings(t, says,
		`warn | variables | STRAVA_CLIENT_SECERT is set, but nothing reads it: is STRAVA_CLIENT_SECRET meant`,
		`warn | variables | TRUSTED_PROXYS is set, but nothing reads it: is TRUSTED_PROXIES meant`,
		`warn | variables | GARMIN_KEY is set, but nothing reads it: docs/configuration.md`)
	if strings.Count(says, "variables ") != 3 || strings.Contains(says, "hunter2") {
		t.Errorf("it says too much:\n%s", says)
	}
}

func TestDoctorOnProxies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env  map[string]string
		want string // verdict and words; "": nothing
	}{
		"development": {nil, ""},
		"public development": {map[string]string{"PUBLIC_URL": "https://tunnel.example.org",
			"STRAVA_CLIENT_ID": "1", "STRAVA_CLIENT_SECRET": "2"}, "warn TRUSTED_PROXIES is empty"},
		"production": {map[string]string{"APP_ENV": "production", "TRUSTED_PROXIES": "none"},
			"ok none, as TRUSTED_PROXIES says"},
		"behind a proxy": {map[string]string{"APP_ENV": "production", "TRUSTED_PROXIES": "10.0.0.1"},
			"ok the client is named by 10.0.0.1/32"},
	} {
		c, _ := config.Load(func(name string) string { return tt.env[name] })
		var said strings.Builder
		for _, f := range checkProxies(t.Context(), deployment{config: c, databaseErr: errNoDatabase}) {
			said.WriteString(string(f.Verdict) + " " + f.Text)
		}
		if !strings.HasPrefix(said.String(), tt.want) || tt.want == "" && said.String() != "" {
			t.Errorf("%s: %q, want %q", name, said.String(), tt.want)
		}
	}
}

func TestDoctorReportsThePooler(t *testing.T) {
	t.Parallel()
	database := dbtest.NewURL(t)
	for _, mode := range []string{"transaction", "session"} {
		env := []string{"DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewPooler(t, database, mode).URL}
		_, says := seeDoctor(t, env...)
		testkit.WantFindings(t, says,
			`ok | pooler | one stands before the database, in `+mode+` mode`,
			`warn | pooler | .*ALTER ROLE CURRENT_USER SET idle_in_transaction_session_timeout = '30s'`,
			`ok | direct database | DIRECT_DATABASE_URL is not set`)
		code, says := seeDoctor(t, append(env, "DIRECT_DATABASE_URL="+database)...)
		testkit.WantFindings(t, says, `ok | direct database | leads to the same database without a pooler`)
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
	}
}
