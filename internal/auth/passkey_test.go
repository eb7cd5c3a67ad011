package auth_test

import "testing"

// Used challenges stay longer than they are good: a transaction that began in time must still find them.
func TestUsedChallengesAreSwept(t *testing.T) {
	t.Parallel()
	accounts, pool := newAccounts(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO cairn.used_challenges (challenge_hash, expires_at)
		SELECT sha256(ago::text::bytea), now() - ago
		FROM unnest('{90 minutes,30 minutes,-5 minutes}'::interval[]) AS ago`)
	if err != nil {
		t.Fatal(err)
	}
	if more, err := accounts.SweepChallenges(t.Context()); more || err != nil {
		t.Errorf("more: %v, error %v", more, err)
	}
	var left int
	err = pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.used_challenges`).Scan(&left)
	if err != nil || left != 2 {
		t.Errorf("%d are left (error %v), want 2", left, err)
	}
}
