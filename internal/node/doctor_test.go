package node_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/internal/admin"
	"cairn/internal/node"
	"cairn/internal/testkit"
)

// doctor runs the doctor, and returns its lines about the change-over.
func (at statusAt) doctor(env ...string) string {
	at.t.Helper()
	var said strings.Builder
	_ = admin.Doctor(at.t.Context(), admin.Env{ // its error is about the whole machine
		Environ: slices.Concat(at.env, env), Limits: admin.Limits{Doctor: testkit.Patience}, Checks: node.Checks(),
	}, &said)
	testkit.WantNoSecrets(at.t, said.String())
	if strings.Contains(said.String(), at.url) {
		at.t.Errorf("it prints the database's address:\n%s", &said)
	}
	return strings.Join(regexp.MustCompile(`(?m)^\w+ +node .*\n`).FindAllString(said.String(), -1), "")
}

// Where nothing of the change-over is configured and nobody was imported, the doctor says nothing about it.
func TestDoctorIsSilentWithoutAChangeOver(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t)
	at.env = slices.DeleteFunc(at.env, func(v string) bool { return strings.HasPrefix(v, "NODE_") })
	for _, change := range []string{statusPerson(1, "damaged", "", ""), `DROP TABLE public.users, public.session`} {
		at.execute(change)
		if says := at.doctor("FRONTEND_URL=https://www.example.org"); says != "" {
			t.Errorf("it says:\n%s", says)
		}
	}
}

func TestDoctorOnTheChangeOver(t *testing.T) {
	t.Parallel()
	value := statusSealed(t, "FSQ-token")
	secret := "NODE_SESSION_SECRET=hunter2"
	for _, tt := range []struct {
		name string
		sql  string
		env  []string
		want string // the lines, in order
	}{
		{"no import yet", ``, []string{"NODE_IMPORT=on"}, `warn | node import | .*no import has finished`},
		{
			"imports", `INSERT INTO cairn.node_imports (source, finished_at) VALUES ('own', now())`,
			[]string{"NODE_IMPORT=on"}, `ok | node import | the last import finished at 20`,
		},
		{
			"imports no more",
			`INSERT INTO cairn.node_imports (source, finished_at) VALUES ('own', now() - interval '1 hour')`,
			[]string{"NODE_IMPORT=on"}, `warn | node import | the last import finished at 20.*although`,
		},
		{
			"no users", `DROP TABLE public.users`, []string{"NODE_IMPORT=on"},
			`FAIL | node import | NODE_IMPORT is on, but .*no table public\.users`,
		},
		{"keys", statusPerson(1, value, "", ""), nil, `ok | node keys | the newest 1 sealed values`},
		{
			"keys for some", statusPerson(1, value, "", "") + `;` + statusPerson(2, "damaged", "damaged", ""), nil,
			`warn | node keys | 2 of the newest 3 sealed values in public\.users don't open`,
		},
		{
			"only the newest", statusPerson(1, value, "", "") + `; INSERT INTO public.users (id, foursquare_user_id,
				access_token_encrypted) SELECT n, n, 'damaged' FROM generate_series(10, 40) n`, nil,
			`warn | node keys | 20 of the newest 20`,
		},
		{
			"links", ``, []string{"NODE_LINKS_UNTIL=" + statusDay(100)},
			`ok | node links | private links work until ` + statusDay(100) + ` \(100 days left\)`,
		},
		{
			"links end soon", ``, []string{"NODE_LINKS_UNTIL=" + statusDay(13)},
			`warn | node links | private links work until ` + statusDay(13) + ` \(13 days left\)`,
		},
		{
			"links have ended", ``, []string{"NODE_LINKS_UNTIL=" + statusDay(-1)},
			`warn | node links | private links don't work any more: .*\(1 day ago\)`,
		},
		{
			"sessions", ``, []string{secret, "NODE_SESSIONS_UNTIL=" + statusDay(20)},
			`ok | node sessions | sessions are adopted until`,
		},
		{
			"sessions end soon", ``, []string{secret, "NODE_SESSIONS_UNTIL=" + statusDay(0)},
			`warn | node sessions | .* until ` + statusDay(0) + ` \(today\)`,
		},
		{
			"no secret", ``, []string{"NODE_SESSIONS_UNTIL=" + statusDay(20)},
			`FAIL | node sessions | NODE_SESSIONS_UNTIL is set, but no secret`,
		},
		{
			"no sessions", `ALTER TABLE public.session RENAME TO sessions`,
			[]string{secret, "NODE_SESSIONS_UNTIL=" + statusDay(20)},
			`FAIL | node sessions | .*public\.session can't be read`,
		},
		{
			"no such sessions", `ALTER TABLE public.session DROP COLUMN expire`,
			[]string{secret, "NODE_SESSIONS_UNTIL=" + statusDay(20)},
			`FAIL | node sessions | .*public\.session can't be read`,
		},
		{
			"a way back", ``, []string{"NODE_WINDOW=both"}, `ok | node way back | .* can be written`,
		},
		{
			"an emptied table of sessions", `UPDATE cairn.node_settings SET marker = 'gone'`,
			[]string{"NODE_WINDOW=both"}, `warn | node way back | .*public\.session is missing`,
		},
		{
			"no way back to sessions", `ALTER TABLE public.session RENAME TO sessions`, []string{"NODE_WINDOW=both"},
			`FAIL | node way back | .*"public"\."session", can't be written`,
		},
		{
			"no way back to people", `ALTER TABLE public.users ALTER garmin_oauth_tokens_encrypted SET NOT NULL`,
			[]string{"NODE_WINDOW=both"}, `FAIL | node way back | .*garmin_oauth_tokens_encrypted is NOT NULL`,
		},
		{
			"old tokens of Garmin", statusPerson(1, "", "", value), nil,
			`ok | node keys | (.|\n)*warn | node garmin | .*: 0 connections here, and 1 more in public\.users`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at := newStatusAt(t, tt.sql)
			says := at.doctor(tt.env...)
			testkit.WantFindings(t, says, tt.want)
			if lines := strings.Count(tt.want, " | node "); strings.Count(says, "\n") != lines {
				t.Errorf("want %d lines:\n%s", lines, says)
			}
		})
	}
}

// What was imported and waits for its owners is counted.
func TestDoctorCountsWhatWasImported(t *testing.T) {
	t.Parallel()
	value := statusSealed(t, statusStrava)
	at := newStatusAt(t, statusPerson(1, "", value, value))
	at.must("import")
	testkit.WantFindings(t, at.doctor(),
		`ok | node keys | the newest 2`,
		`ok | node strava | 1 Strava account from the Node server can't sign in`,
		`warn | node garmin | .*: 1 connection here, and 0 more`)
}

// A key made of DATABASE_URL is lost with a change of the address, so the doctor has it written down.
func TestDoctorWarnsOfAKeyMadeOfTheAddress(t *testing.T) {
	t.Parallel()
	at := newStatusAt(t)
	at.execute(statusPerson(1, statusSealedWith(t, statusScrypt(t, at.url), "FSQ-token"), "", ""))
	testkit.WantFindings(t, at.doctor(), `warn | node keys | 1 of the newest 1 .* a key made of DATABASE_URL`)
	testkit.WantFindings(t, at.doctor("NODE_ENCRYPTION_KEY="+at.url), `ok | node keys | the newest 1`)
}
