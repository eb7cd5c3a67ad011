package mail

import (
	"testing"

	"cairn/db"
	"cairn/db/dbtest"
)

// However many messages are left over, one statement deletes a bounded number of them.
func TestSweepDeletesInBatches(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO cairn.messages (key, recipient, kind, created_at)
		SELECT n, 'ada@example.org', 'reset', now() - CASE WHEN n > 2 THEN interval '73 hours' ELSE '71 hours' END
		FROM generate_series(1, $1) n`, db.Batch+3)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct {
		more bool
		left int
	}{{true, 3}, {false, 2}} {
		more, err := Sweep(t.Context(), pool)
		if err != nil || more != want.more {
			t.Errorf("more %t, error %v, want more %t", more, err, want.more)
		}
		var left int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.messages`).Scan(&left); err != nil {
			t.Fatal(err)
		}
		if left != want.left {
			t.Errorf("%d messages are left, want %d", left, want.left)
		}
	}
}
