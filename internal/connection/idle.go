package connection

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
)

// Idle is a connection whose tokens have long been unused, or whose refresh was cut off.
type Idle struct {
	UserID     int64
	Generation int64 // of the tokens
	CutOff     bool
}

// Idle returns the connections to a provider whose tokens would soon expire unused (oauth.Provider.RefreshIdle), and
// those whose refresh was cut off when an instance died: only the next refresh shows whether they still work. It leaves
// out connections whose owner has to connect again or is disabled.
func (s *Store) Idle(ctx context.Context, p *oauth.Provider) ([]Idle, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT user_id, generation, COALESCE(refresh_lease_until < now(), false) AS cut_off FROM cairn.connections c
		WHERE provider = $1 AND state <> 'needs_reconnect'
		  AND ($2::interval > '0' AND tokens_at < now() - $2::interval OR refresh_lease_until < now())
		  AND `+OwnerEnabled+`
		ORDER BY cut_off DESC, tokens_at LIMIT 1000`, p.Key, p.RefreshIdle)
	if err != nil {
		return nil, fmt.Errorf("connection: list idle connections to %s: %w", p.Key, err)
	}
	idle, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Idle])
	if err != nil {
		return nil, fmt.Errorf("connection: list idle connections to %s: %w", p.Key, err)
	}
	return idle, nil
}

// KeepAlive refreshes the tokens of an idle connection, unless that has been done since. A connection that is gone, or
// whose owner has to connect again, is no error. Errors: *oauth.Error, after which it should be tried again.
func (s *Store) KeepAlive(ctx context.Context, p *oauth.Provider, idle Idle) error {
	_, err := s.tokenAfter(ctx, p, idle.UserID, idle.Generation)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrReconnect) {
		return nil
	}
	return err
}
