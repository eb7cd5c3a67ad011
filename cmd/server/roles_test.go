package main

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The two roles of deploy/database.sql are enough: one migrates, and the other serves but can't change the schema.
func TestServesWithTheLeastRights(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	text, err := os.ReadFile("../../deploy/database.sql")
	if err != nil {
		t.Fatal(err)
	}
	cluster := dbtest.NewCluster(t)
	as := func(role, database string) string {
		return "postgres://" + role + "@" + cluster.Address() + "/" + database + "?sslmode=disable"
	}
	testkit.Execute(t, cluster.URL(), `CREATE ROLE admin SUPERUSER LOGIN`)
	testkit.Execute(t, as("admin", "postgres"), `DROP DATABASE cairn WITH (FORCE)`, `ALTER ROLE cairn RENAME TO first`)
	before, behind, _ := strings.Cut(string(text), "\\connect cairn\n")
	testkit.Execute(t, as("admin", "postgres"), strings.Split(before, ";\n")...)
	testkit.Execute(t, as("admin", "cairn"), strings.Split(behind, ";\n")...)

	env := append(productionEnv(t), "DATABASE_URL="+as("cairn", "cairn"))
	_, says := seeDoctor(t, env...)
	testkit.WantFindings(t, says, `FAIL | schema | there is none yet, `+
		`and the user of DATABASE_URL may not make it: run server migrate as its owner`)
	wantFailure(t, env, "", "run server migrate as the owner")
	commandOutput(t, append(env, "DATABASE_URL="+as("cairn_owner", "cairn")), "migrate")
	testkit.Execute(t, as("admin", "cairn"),
		fmt.Sprintf(`DELETE FROM cairn.goose_db_version WHERE version_id = %d`, db.Newest()))
	_, says = seeDoctor(t, env...)
	testkit.WantFindings(t, says, `FAIL | schema | version \d+; pending: .* `+
		`The user of DATABASE_URL may not run them: run server migrate as the schema's owner`)
	testkit.Execute(t, as("admin", "cairn"),
		fmt.Sprintf(`INSERT INTO cairn.goose_db_version (version_id, is_applied) VALUES (%d, true)`, db.Newest()))

	server := start(t, env...)
	b := testkit.NewBrowser(t)
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	form := url.Values{"name": {"Ada"}, "email": {"ada@example.org"}, "password": {testkit.Password}}
	if status, page := b.Send(http.MethodPost, server.local()+"/signup", form); status != http.StatusSeeOther {
		t.Fatalf("sign-up answered %d: %s", status, page.Find("main").Text())
	}
	for _, args := range []string{
		"sessions list --all", "sessions end --all", "jobs", "instances", "rekey",
		"accounts list", "accounts disable --user-id 1", "accounts enable --user-id 1",
	} {
		commandOutput(t, env, strings.Fields(args)...)
	}
	code, says := seeDoctor(t, env...)
	if code != 0 || !strings.Contains(says, "the newest this program knows") {
		t.Errorf("doctor exits with %d:\n%s", code, says)
	}
	if code := server.end(); code != 0 ||
		strings.Contains(server.logged(), "42501") || strings.Contains(server.logged(), `"level":"ERROR"`) {
		t.Errorf("exit code %d:\n%s", code, server.logged())
	}
}
