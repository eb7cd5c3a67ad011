package activity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

const noteTimeout = 3 * time.Second

// target is a connection whose entries are fetched.
type target struct {
	identityID, userID int64
	granted            []string
	began              time.Time // the fetch, by the database's clock
	first              bool      // nothing has come yet
}

// Fetch asks a provider for the newest entries of a connection and stores them. Entries that the person does not
// permit are neither asked for nor kept. Errors: connection.ErrNotFound; those of connection.API.
func (s *Store) Fetch(ctx context.Context, p *oauth.Provider, identityID int64) error {
	t, err := s.begin(ctx, identityID)
	if err != nil {
		return err
	}
	if err := s.fetch(ctx, p, t); err != nil {
		return errors.Join(err, s.failed(ctx, identityID))
	}
	return nil
}

// failed records that a fetch failed, even if it was cancelled.
func (s *Store) failed(ctx context.Context, identityID int64) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	_, err := s.pool.Exec(ctx, `UPDATE cairn.latest SET failed_at = now() WHERE identity_id = $1`, identityID)
	if err != nil {
		return fmt.Errorf("activity: note a failure for identity %d: %w", identityID, err)
	}
	return nil
}

func (s *Store) fetch(ctx context.Context, p *oauth.Provider, t target) error {
	if !Permitted(p, t.granted) {
		return s.forget(ctx, t)
	}
	api := s.connections.API(p, t.userID)
	if source, ok := p.Adapter.(PushSource); ok {
		return s.fetchSent(ctx, source, api, t)
	}
	source, ok := p.Adapter.(PullSource)
	if !ok {
		return nil
	}
	entries, err := source.Newest(ctx, api, maxEntries)
	if errors.Is(err, oauth.ErrNotPermitted) {
		return s.forget(ctx, t)
	}
	if err != nil {
		return err
	}
	return s.replace(ctx, t, entries)
}

func (s *Store) begin(ctx context.Context, identityID int64) (t target, err error) {
	err = s.pool.QueryRow(ctx, `
		WITH connection AS (
			SELECT identity_id, user_id, granted FROM cairn.connections c
			WHERE identity_id = $1 AND `+connection.OwnerEnabled+` FOR KEY SHARE
		), begun AS (
			INSERT INTO cairn.latest (identity_id, tried_at) SELECT identity_id, now() FROM connection
			ON CONFLICT (identity_id) DO UPDATE SET tried_at = now()
			RETURNING tried_at, as_of IS NULL AS first
		)
		SELECT identity_id, user_id, granted, tried_at, first FROM connection, begun`, identityID).
		Scan(&t.identityID, &t.userID, &t.granted, &t.began, &t.first)
	if errors.Is(err, pgx.ErrNoRows) {
		return target{}, connection.ErrNotFound
	}
	if err != nil {
		return target{}, fmt.Errorf("activity: begin to fetch for identity %d: %w", identityID, err)
	}
	return t, nil
}

// replace stores the entries as of the beginning of their fetch, unless the connection is gone or another fetch has
// begun since.
func (s *Store) replace(ctx context.Context, t target, entries []Entry) error {
	// As text: not every way of sending statements tells pgx the types of arguments (default_query_exec_mode).
	text, err := json.Marshal(merge(nil, entries))
	if err == nil {
		_, err = s.pool.Exec(ctx, `
			UPDATE cairn.latest SET entries = $3::jsonb, as_of = tried_at, failed_at = NULL
			WHERE identity_id = $1 AND tried_at = $2`,
			t.identityID, t.began, string(text))
	}
	if err != nil {
		return fmt.Errorf("activity: store entries of identity %d: %w", t.identityID, err)
	}
	return nil
}

// forget removes entries that the person no longer permits, unless another fetch has begun since.
func (s *Store) forget(ctx context.Context, t target) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.latest SET entries = '[]', as_of = NULL, failed_at = NULL
		WHERE identity_id = $1 AND tried_at = $2`, t.identityID, t.began)
	if err != nil {
		return fmt.Errorf("activity: forget entries of identity %d: %w", t.identityID, err)
	}
	return nil
}

// merge returns the newest entries of both lists, newest first. Of an entry that is in both it takes that in fresh.
func merge(kept, fresh []Entry) []Entry {
	all := []Entry{}
	for _, e := range slices.Concat(fresh, kept) {
		if !slices.ContainsFunc(all, func(other Entry) bool { return other.ID == e.ID }) {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b Entry) int { return b.At.Compare(a.At) })
	return all[:min(len(all), maxEntries)]
}
