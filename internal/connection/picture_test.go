package connection_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cairn/internal/connection"
	"cairn/internal/sandbox"
)

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
	for _, want := range []bool{true, true, false} {
		if more, err := r.SweepPictures(t.Context()); more != want || err != nil {
			t.Fatalf("more %t, error %v, want more %t", more, err, want)
		}
	}
	var left int
	err := r.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.avatars WHERE image IS NOT NULL`).Scan(&left)
	if err != nil || left != 1 {
		t.Errorf("%d pictures are left (error %v), want the new one", left, err)
	}
}

// Each provider says how long its pictures may be kept. Older ones are not shown, even before they are swept.
func TestPicturesAreKeptAsTheirProviderLets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for key, p := range r.providers {
		if len(p.PictureHosts) > 0 != (p.KeepPictures > 0) {
			t.Errorf("%s: pictures from %v are kept for %v", key, p.PictureHosts, p.KeepPictures)
		}
	}
	r.providers[sandbox.Foursquare].KeepPictures = 24 * time.Hour
	r.exec(`
		WITH u AS (
			INSERT INTO cairn.users (display_name) VALUES ('Ada') RETURNING id
		), i AS (
			INSERT INTO cairn.identities (user_id, provider, subject)
			SELECT id, provider, 'ada' FROM u, unnest('{strava,foursquare}'::text[]) AS provider
			RETURNING id, user_id, provider
		), c AS (
			INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens, picture_url)
			SELECT id, user_id, provider, '', 'https://img.example.com/a.png' FROM i RETURNING identity_id
		)
		INSERT INTO cairn.avatars (identity_id, fetched_at, media_type, image)
		SELECT identity_id, now() - interval '2 days', 'image/png', 'x' FROM c`)
	shown := func() (providers []string) {
		for _, p := range r.providers {
			switch _, err := r.Picture(t.Context(), 1, p.Key); {
			case err == nil:
				providers = append(providers, p.Key)
			case !errors.Is(err, connection.ErrNotFound):
				t.Error(err)
			}
		}
		return providers
	}
	if got := shown(); !slices.Equal(got, []string{sandbox.Strava}) {
		t.Errorf("after two days pictures from %v are shown, want Strava's", got)
	}
	if got := exported(t, r); !slices.Equal(got, []string{sandbox.Strava}) {
		t.Errorf("after two days pictures from %v are exported, want Strava's", got)
	}
	if _, err := r.SweepPictures(t.Context()); err != nil {
		t.Fatal(err)
	}
	var kept string
	err := r.pool.QueryRow(t.Context(), `
		SELECT string_agg(c.provider, ' ') FROM cairn.avatars a JOIN cairn.connections c USING (identity_id)
		WHERE a.image IS NOT NULL`).Scan(&kept)
	if err != nil || kept != sandbox.Strava {
		t.Errorf("after the sweep pictures from %q are kept (error %v), want Strava's", kept, err)
	}
}

// exported returns the providers whose pictures are in the archive of the first user.
func exported(t *testing.T, r rig) (providers []string) {
	t.Helper()
	for after := int64(0); ; {
		pictures, next, err := r.ExportPictures(t.Context(), 1, after)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pictures {
			providers = append(providers, p.Provider)
		}
		if next == 0 {
			return providers
		}
		after = next
	}
}
