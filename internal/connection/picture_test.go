package connection_test

import "testing"

// However many pictures are too old, all are removed, in batches.
func TestOldPicturesAreSwept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.exec(`
		WITH u AS (
			INSERT INTO cairn.users (display_name) SELECT 'Ada' FROM generate_series(1, 1100) RETURNING id
		), i AS (
			INSERT INTO cairn.identities (user_id, provider, subject) SELECT id, 'strava', id FROM u
			RETURNING id, user_id
		), c AS (
			INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens, picture_url)
			SELECT id, user_id, 'strava', '', 'https://img.example.com/a.png' FROM i RETURNING identity_id
		)
		INSERT INTO cairn.avatars (identity_id, fetched_at, media_type, image)
		SELECT identity_id, now() - interval '8 days', 'image/png', 'x' FROM c`)
	r.exec(`
		UPDATE cairn.avatars SET fetched_at = now()
		WHERE identity_id = (SELECT min(identity_id) FROM cairn.avatars)`)
	if err := r.SweepPictures(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	err := r.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL`).Scan(&left)
	if err != nil || left != 1 {
		t.Errorf("%d pictures are left (error %v), want the new one", left, err)
	}
}
