package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/oauth"
)

// pictureEvery is the time between two requests for a connection's picture.
const pictureEvery = 24 * time.Hour

// Picture is our copy of the picture of a connected account.
type Picture struct {
	Type string // a media type
	Body []byte
}

// pictureToFetch is where the picture of a connection is.
type pictureToFetch struct {
	identityID int64
	address    string
}

// PicturesDue returns the subjects of a provider whose picture has not been requested in a day.
func (s *Store) PicturesDue(ctx context.Context, p *oauth.Provider) ([]string, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT c.subject FROM cairn.connections c
		LEFT JOIN cairn.avatars a USING (identity_id)
		WHERE c.provider = $1 AND c.state <> 'needs_reconnect' AND c.picture_url <> ''
		  AND `+OwnerEnabled+`
		  AND COALESCE(a.tried_at < now() - $2::interval, true)
		ORDER BY a.tried_at NULLS FIRST LIMIT 1000`, p.Key, pictureEvery) // CollectRows returns its error
	subjects, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("connection: list pictures of %s that are due: %w", p.Key, err)
	}
	return subjects, nil
}

// beginPicture records a request for a picture. Errors: ErrNotFound if there is none, or if it was requested in the
// last day.
func (s *Store) beginPicture(ctx context.Context, provider, subject string) (due pictureToFetch, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH due AS (
			SELECT identity_id, picture_url FROM cairn.connections c
			WHERE provider = $1 AND subject = $2 AND picture_url <> '' AND `+OwnerEnabled+` FOR KEY SHARE
		), begun AS (
			INSERT INTO cairn.avatars AS a (identity_id) SELECT identity_id FROM due
			ON CONFLICT (identity_id) DO UPDATE SET tried_at = now() WHERE a.tried_at < now() - $3::interval
			RETURNING identity_id
		)
		SELECT identity_id, picture_url FROM due JOIN begun USING (identity_id)`, provider, subject, pictureEvery).
		Scan(&due.identityID, &due.address)
	if errors.Is(err, pgx.ErrNoRows) {
		return pictureToFetch{}, ErrNotFound
	}
	if err != nil {
		return pictureToFetch{}, fmt.Errorf("connection: begin to fetch a picture at %s: %w", provider, err)
	}
	return due, nil
}

// storePicture replaces the picture of a connection; the zero Picture means that there is none.
func (s *Store) storePicture(ctx context.Context, identityID int64, p Picture) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.avatars SET image = $2, media_type = NULLIF($3, ''), fetched_at = CASE WHEN $3 <> '' THEN now() END
		WHERE identity_id = $1`, identityID, p.Body, p.Type)
	if err != nil {
		return fmt.Errorf("connection: store the picture of identity %d: %w", identityID, err)
	}
	return nil
}

// Picture returns the picture of a user's connection to a provider, or of the first connection that has one if provider
// is empty. Errors: ErrNotFound.
func (s *Store) Picture(ctx context.Context, userID int64, provider string) (p Picture, err error) {
	providers, keep := s.keepPictures()
	err = s.pool.QueryRow(ctx, `
		SELECT a.media_type, a.image FROM cairn.connections c JOIN cairn.avatars a USING (identity_id)
		`+joinPictureRule+`
		WHERE c.user_id = $3 AND (c.provider = $4 OR $4 = '') AND c.picture_url <> ''
		  AND a.fetched_at > now() - rule.keep
		ORDER BY c.connected_at, c.identity_id LIMIT 1`, providers, keep, userID, provider).Scan(&p.Type, &p.Body)
	if errors.Is(err, pgx.ErrNoRows) {
		return Picture{}, ErrNotFound
	}
	if err != nil {
		return Picture{}, fmt.Errorf("connection: read a picture of user %d: %w", userID, err)
	}
	return p, nil
}

// joinPictureRule finds out how long the picture of a connection c may be kept, from what keepPictures returns, as $1
// and $2.
const joinPictureRule = `JOIN unnest($1::text[], $2::interval[]) AS rule (provider, keep) ON rule.provider = c.provider`

// keepPictures returns the keys of all providers, and how long the pictures of each may be kept.
func (s *Store) keepPictures() (providers []string, keep []time.Duration) {
	for _, p := range s.providers {
		providers, keep = append(providers, p.Key), append(keep, p.KeepPictures)
	}
	return providers, keep
}

// SweepPictures removes one batch of pictures that may no longer be kept, or that people have removed at the provider.
// It reports whether more may be left.
func (s *Store) SweepPictures(ctx context.Context) (more bool, err error) {
	providers, keep := s.keepPictures()
	tag, err := s.pool.Exec(ctx, `
		UPDATE cairn.avatars SET image = NULL, media_type = NULL, fetched_at = NULL WHERE identity_id IN (
			SELECT a.identity_id FROM cairn.avatars a
			JOIN cairn.connections c USING (identity_id)
			`+joinPictureRule+`
			WHERE a.fetched_at < now() - rule.keep OR a.fetched_at IS NOT NULL AND c.picture_url = ''
			LIMIT $3 FOR SHARE OF c SKIP LOCKED FOR UPDATE OF a SKIP LOCKED)`, providers, keep, db.Batch)
	if err != nil {
		return false, fmt.Errorf("connection: sweep pictures: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}
