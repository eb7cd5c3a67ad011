package main

import (
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// seeDoctor runs the doctor and returns its exit code and what it says.
func seeDoctor(t *testing.T, env ...string) (code int, says string) {
	t.Helper()
	out, said, code := call(t, env, "doctor")
	says = out + said
	testkit.WantNoSecrets(t, says)
	return code, says
}

func TestDoctorFindsAllWell(t *testing.T) {
	t.Parallel()
	env := []string{
		"PORT=0", "DATABASE_URL=" + dbtest.NewPatientURL(t), "ENCRYPTION_KEY=" + testkit.Key1}
	server := start(t, env...)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	b.Connect(server.url, "strava", "ada")
	b.Connect(server.url, "garmin", "moss")
	code, says := seeDoctor(t, env...)
	testkit.WantFindings(t, says,
		`ok | configuration`,
		`ok | database | PostgreSQL \d+`,
		`ok | schema | version \d+, the newest`,
		`ok | keys | [0-9a-f]{8}, the newest, sealed 2 `,
		`ok | instances | \w{8} at \S+ runs version`,
		`ok | clock`,
		`ok | providers | the sandbox`,
		`ok | connections | garmin: 1 work`,
		`ok | connections | strava: 1 work`,
		`ok | dates | 2026-12-31 \(.+\): Garmin`,
		`(ok|warn) | dates | 2027-06-01 \(.+\): Strava`)
	if code != 0 {
		t.Errorf("exit code %d:\n%s", code, says)
	}
}

func TestDoctorExplainsKeys(t *testing.T) {
	t.Parallel()
	env := []string{"PORT=0", "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewPatientURL(t)}
	with := func(keys string) []string { return append([]string{"ENCRYPTION_KEY=" + keys}, env...) }
	server := start(t, with(testkit.Key1)...)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	b.Connect(server.url, "strava", "ada")
	for _, tt := range []struct {
		name string
		env  []string
		code int
		want string
	}{
		{"missing", with(testkit.Key2), 1, `FAIL | keys | [0-9a-f]{8} sealed 1 secret and is not configured`},
		{"missing, none made yet", env, 1, `FAIL | keys | [0-9a-f]{8} sealed 1 secret and is not configured`},
		{"invalid", with("hunter2"), 1, `FAIL | keys | can't be checked`},
		{"older", with(testkit.Key2 + "," + testkit.Key1), 0,
			`warn | keys | [0-9a-f]{8}, an older one, sealed 1 secret: run server rekey`},
		{"unused", with(testkit.Key1 + "," + testkit.Key2), 0, `ok | keys | [0-9a-f]{8} seals nothing any more`},
	} {
		code, says := seeDoctor(t, tt.env...)
		testkit.WantFindings(t, says, tt.want)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d:\n%s", tt.name, code, tt.code, says)
		}
	}
}

func TestDoctorOpensAPrivateDatabase(t *testing.T) {
	t.Parallel()
	env := []string{"PORT=0", "DATA_DIR=" + testkit.DataDir(t)}
	server := start(t, env...)
	for _, when := range []string{"while it is used", "while it is not used"} {
		code, says := seeDoctor(t, env...)
		testkit.WantFindings(t, says, `ok | database`, `ok | schema`, `ok | keys | nothing is sealed`)
		if code != 0 {
			t.Errorf("%s: exit code %d", when, code)
		}
		if when == "while it is used" {
			server.end()
		}
	}
}
