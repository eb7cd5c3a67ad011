package oauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Idle is a connection whose tokens nobody has used for long.
type Idle struct {
	UserID     int64
	Generation int64 // of the tokens
}

// Idle returns the connections of a provider whose tokens are to be refreshed lest they lapse (Provider.RefreshIdle). What
// needs its owner is not among them.
func (s *Store) Idle(ctx context.Context, p *Provider) ([]Idle, error) {
	if p.RefreshIdle == 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, `
		SELECT user_id, generation FROM cairn.connections
		WHERE provider = $1 AND tokens_at < now() - $2::interval AND state <> 'needs_reconnect'
		ORDER BY tokens_at LIMIT 1000`, p.Key, p.RefreshIdle)
	if err != nil {
		return nil, fmt.Errorf("oauth: list idle connections to %s: %w", p.Key, err)
	}
	idle, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Idle])
	if err != nil {
		return nil, fmt.Errorf("oauth: list idle connections to %s: %w", p.Key, err)
	}
	return idle, nil
}

// KeepAlive refreshes the tokens of a person's connection unless they are newer than generation. Errors: *Error when it is
// to be tried again; that the connection needs its owner, or is gone, is none.
func (s *Store) KeepAlive(ctx context.Context, p *Provider, idle Idle) error {
	_, err := s.tokenAfter(ctx, p, idle.UserID, idle.Generation)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrReconnect) {
		return nil
	}
	return err
}
