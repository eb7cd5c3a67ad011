package main

import (
	"strings"
	"syscall"
	"testing"

	"cairn/db/dbtest"
)

func TestRotateTheEncryptionKey(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	env := []string{"PORT=" + freePort(t), "DATA_DIR=" + dataDir(t), "DATABASE_URL=" + database}
	with := func(keys string) []string { return append([]string{"ENCRYPTION_KEY=" + keys}, env...) }
	server := start(t, with(key1)...)
	b := newBrowser(t)
	b.signUp(server.url, "ada@example.org")
	b.connect(server.url, "strava", "ada")
	server.end(syscall.SIGTERM)
	wantFailure(t, serverCommand(t, nil, with(key2)...), "ENCRYPTION_KEY", "need the key")

	server = start(t, with(key2+","+key1)...)
	out, err := serverCommand(t, []string{"rekey"}, with(key2+","+key1)...).Output()
	if err != nil || !strings.HasPrefix(string(out), "The tokens of 1 connections and withdrawals") {
		t.Fatalf("%q, error %v", out, err)
	}
	b.check(server.url, "strava")
	server.end(syscall.SIGTERM)
	execute(t, database, `DELETE FROM cairn.rate_limits`) // a check at once after another
	server = start(t, with(key2)...)
	b.check(server.url, "strava")
}
