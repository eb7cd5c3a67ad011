package main

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/admin"
	"cairn/internal/seal"
	"cairn/internal/testkit"
)

// A key is rotated while servers are replaced one by one, and no check fails meanwhile.
func TestRekeyWaitsForEveryServer(t *testing.T) {
	t.Parallel()
	database := dbtest.NewPatientURL(t)
	env := []string{"PORT=0", "DATABASE_URL=" + database, "SESSION_SECRET=" + testkit.Secret}
	with := func(keys string) []string { return append([]string{"ENCRYPTION_KEY=" + keys}, env...) }
	both := with(testkit.Key2 + "," + testkit.Key1)
	instances := func() []admin.InstanceRow {
		return readLines[admin.InstanceRow](t, commandOutput(t, both, "instances", "--json"))
	}
	b := testkit.NewBrowser(t)
	check := func(servers ...*serving) {
		t.Helper()
		for _, server := range servers {
			for _, provider := range []string{"strava", "garmin"} {
				testkit.Execute(t, database, `DELETE FROM cairn.rate_limits`)
				b.Check(server.url, provider)
			}
		}
	}
	one, two := start(t, with(testkit.Key1)...), start(t, with(testkit.Key1)...)
	old := instances()
	b.SignUp(one.url, "ada@example.org")
	b.Connect(one.url, "strava", "ada")
	next := start(t, both...)

	b.Connect(next.url, "garmin", "ada")
	check(one, two, next)
	if _, said, code := call(t, both, "rekey"); code == 0 || !strings.Contains(said, old[0].ID) ||
		!strings.Contains(said, old[1].ID) || strings.Count(said, "last seen 20") != 2 {
		t.Errorf("exit code %d, want both old servers to be named:\n%s", code, said)
	}
	_, says := seeDoctor(t, both...)
	testkit.WantFindings(t, says,
		"warn | instances | "+old[0].ID+" at .* lacks the key", "ok | instances | .* runs version")
	one.end()
	wantFailure(t, both, "rekey",
		"these servers lack the newest key", "run this again")
	two.end()
	again := start(t, both...)
	odd := func(i admin.InstanceRow) bool { return len(i.KeyIDs) != 2 || !i.Live }
	if rows := instances(); len(rows) != 2 || slices.ContainsFunc(rows, odd) {
		t.Errorf("listed %+v, want the two new ones", rows)
	}
	if out := commandOutput(t, both, "rekey"); !strings.HasPrefix(out, "2 secrets sealed again") {
		t.Errorf("it says %q", out)
	}
	testkit.Execute(t, database, `
		INSERT INTO cairn.instances
		SELECT (jsonb_populate_record(i,
			jsonb_build_object('id', 'deadbeef', 'last_seen', now() - interval '5 minutes'))).*
		FROM cairn.instances i LIMIT 1`)
	_, says = seeDoctor(t, both...)
	testkit.WantFindings(t, says, `warn | instances | \w{8} at \S+ was last seen .*: it was killed`)
	table := commandOutput(t, both, "instances")
	if !regexp.MustCompile(`(?m)^\w{8} +\S+ +silent `).MatchString(table) {
		t.Errorf("the silent server is not listed:\n%s", table)
	}
	check(next, again)
	wantFailure(t, with(testkit.Key1), "",
		"ENCRYPTION_KEY lacks a key that is in use", instances()[0].KeyIDs[0])
}

// A server that can't open some tokens is not ready until those tokens are gone.
func TestServerThatLacksAKeyIsNotReady(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	key, err := hex.DecodeString(testkit.Key1)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	p := newPresence(pool, slog.New(slog.DiscardHandler), sealer, testkit.Patience)
	p.every = 10 * time.Millisecond
	if err := p.enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = p.repeat(ctx) }()
	ready := p.ready(func(context.Context) error { return nil })
	if err := ready(t.Context()); err != nil {
		t.Errorf("not ready: %v", err)
	}
	for _, sql := range []string{
		`INSERT INTO cairn.users (display_name) VALUES ('Ada')`,
		`INSERT INTO cairn.identities (user_id, provider, subject) VALUES (1, 'strava', '1')`,
		`INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
		 VALUES (1, 1, 'strava', '\x01deadbeef00')`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "it is not ready", func() bool { return errors.Is(ready(t.Context()), seal.ErrKey) })
	if err := ready(t.Context()); !strings.Contains(err.Error(), "deadbeef") {
		t.Errorf("the key is not named: %v", err)
	}
	if err := p.enter(t.Context()); err == nil {
		t.Error("a server without the key would start")
	}
	if _, err := pool.Exec(t.Context(), `DELETE FROM cairn.connections`); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is ready again", func() bool { return ready(t.Context()) == nil })
	stop()
	<-ended
	var left int
	err = pool.QueryRow(context.Background(), `SELECT count(*) FROM cairn.instances`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("after the stop %d servers are listed (error %v)", left, err)
	}
}
