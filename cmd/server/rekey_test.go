package main

import (
	"strings"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

func TestRotateTheEncryptionKey(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	env := []string{"PORT=" + testkit.FreePort(t), "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + database}
	with := func(keys string) []string { return append([]string{"ENCRYPTION_KEY=" + keys}, env...) }
	server := start(t, with(testkit.Key1)...)
	b := testkit.NewBrowser(t)
	b.SignUp(server.url, "ada@example.org")
	b.Connect(server.url, "strava", "ada")
	server.end()
	wantFailure(t, with(testkit.Key2), "", "ENCRYPTION_KEY", "needs the key")

	server = start(t, with(testkit.Key2+","+testkit.Key1)...)
	out := commandOutput(t, with(testkit.Key2+","+testkit.Key1), "rekey")
	if !strings.HasPrefix(out, "1 secret sealed again") {
		t.Fatalf("it prints %q", out)
	}
	b.Check(server.url, "strava")
	server.end()
	testkit.Execute(t, database, `DELETE FROM cairn.rate_limits`) // so that the next check need not wait
	server = start(t, with(testkit.Key2)...)
	b.Check(server.url, "strava")
}
