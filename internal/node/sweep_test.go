package node_test

import (
	"testing"

	"cairn/internal/config"
	"cairn/internal/node"
)

func TestSweepDeletesWhatIsPastItsTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.insert(person(1))
	r.importAll()
	user := r.user(1)
	r.exec(`INSERT INTO cairn.node_links SELECT sha256(n::text::bytea), $1, now() + n * interval '1 minute'
		FROM generate_series(-600, 1) n WHERE n <> 0`, user)
	r.exec(`INSERT INTO cairn.node_consents VALUES (sha256('a'), $1, 'strava', now() - interval '1 minute'),
		(sha256('b'), $1, 'garmin', now() + interval '1 minute')`, user)
	r.exec(`INSERT INTO cairn.node_sessions VALUES (sha256('a'), $1, now() - interval '401 days'),
		(sha256('b'), $1, now())`, user)
	r.exec(`INSERT INTO cairn.node_refused SELECT n, now() - n * interval '50 minutes' FROM generate_series(1, 3) n`)
	r.exec(`INSERT INTO cairn.node_ended_sessions VALUES ('a', now() - interval '401 days'), ('b', now())`)
	n := node.New(node.Deps{Pool: r.pool, Config: config.Config{SessionSecret: "s3cr3t"}})
	for _, want := range []bool{true, false} {
		if more, err := n.Sweep(t.Context()); more != want || err != nil {
			t.Fatalf("more %t, error %v, want more %t", more, err, want)
		}
	}
	for _, table := range []string{
		"node_links", "node_consents", "node_sessions", "node_refused", "node_ended_sessions",
	} {
		if left := ask[int](r, `SELECT count(*)::int FROM cairn.`+table); left != 1 {
			t.Errorf("%d rows of cairn.%s are left, want 1", left, table)
		}
	}
}
