package connection_test

import (
	"slices"
	"testing"

	"cairn/internal/connection"
	"cairn/internal/sandbox"
)

// An owner who has connected again since the notices were listed gets none, and one without an e-mail address neither.
func TestNoticesAreCheckedAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var users []int64
	for _, person := range []string{"ada", "max", "moss"} {
		owner := r.owner()
		r.connect(sandbox.Strava, owner, person)
		users = append(users, owner.UserID)
	}
	r.exec(`UPDATE cairn.connections SET state = 'needs_reconnect', cause = 'refresh_refused', state_since = now()`)
	for _, user := range users[:2] {
		r.exec(`
			INSERT INTO cairn.passwords (user_id, email, email_key, hash)
			SELECT id, id || '@example.org', id || '@example.org', '$argon2id$' FROM cairn.users WHERE id = $1`, user)
	}
	var shown []int64
	err := connection.Notices(t.Context(), r.pool, []string{sandbox.Strava}, func(n connection.Notice) error {
		shown = append(shown, n.UserID)
		r.exec(`UPDATE cairn.connections SET state = 'active' WHERE user_id <> $1`, n.UserID)
		return nil
	})
	if err != nil || !slices.Equal(shown, users[:1]) {
		t.Errorf("notices to %v (error %v), want one to %v", shown, err, users[:1])
	}
}
