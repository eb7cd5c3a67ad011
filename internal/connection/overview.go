package connection

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Overview is what a person's pages show of their connections, by provider.
type Overview struct {
	Connections map[string]Connection
	History     map[string][]Event // newest first
}

// Revoking reports whether a provider was disconnected and has not confirmed the revocation yet.
func (o Overview) Revoking(provider string) bool {
	events := o.History[provider]
	return len(events) > 0 && events[0].State == Revoking
}

// shownEvents is how much of a connection's history its owner sees.
const shownEvents = 8

// Overview reads all of a person's connections in one round trip.
func (s *Store) Overview(ctx context.Context, userID int64) (Overview, error) {
	o := Overview{Connections: map[string]Connection{}, History: map[string][]Event{}}
	var batch pgx.Batch
	batch.Queue(`
		SELECT c.identity_id, c.user_id, c.provider, c.subject, c.account_name, c.picture_url, c.granted, c.state,
		       c.cause, c.state_since, c.connected_at, c.checked_at,
		       CASE WHEN c.retry_at > now() THEN c.retry_at ELSE '0001-01-01 00:00Z' END
		FROM cairn.connections c WHERE c.user_id = $1`, userID).Query(o.readConnections)
	// One look into the index for each provider: a long history takes no longer than a short one.
	batch.Queue(`
		SELECT p.key, e.at, e.state, e.cause, e.status FROM unnest($2::text[]) AS p (key), LATERAL (
			SELECT id, at, state, cause, status FROM cairn.connection_events
			WHERE user_id = $1 AND provider = p.key ORDER BY id DESC LIMIT $3
		) e ORDER BY p.key, e.id DESC`, userID, s.providers.Keys(), shownEvents).Query(o.readHistory)
	if err := s.pool.SendBatch(ctx, &batch).Close(); err != nil {
		return Overview{}, fmt.Errorf("connection: read connections of user %d: %w", userID, err)
	}
	return o, nil
}

func (o Overview) readConnections(rows pgx.Rows) error {
	var c Connection
	_, err := pgx.ForEachRow(rows, []any{
		&c.IdentityID, &c.UserID, &c.Provider, &c.Subject, &c.Name, &c.PictureURL, &c.Granted,
		&c.State, &c.Cause, &c.InState, &c.Since, &c.CheckedAt, &c.RetryAt,
	}, func() error {
		o.Connections[c.Provider] = c
		return nil
	})
	return err
}

func (o Overview) readHistory(rows pgx.Rows) error {
	var provider string
	var e Event
	_, err := pgx.ForEachRow(rows, []any{&provider, &e.At, &e.State, &e.Cause, &e.Status}, func() error {
		o.History[provider] = append(o.History[provider], e)
		return nil
	})
	return err
}
