package oauth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Connected returns those of the subjects at a provider that somebody has connected here.
func (s *Store) Connected(ctx context.Context, provider string, subjects []string) ([]string, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT i.subject FROM cairn.identities i
		JOIN cairn.connections c ON c.identity_id = i.id
		WHERE i.provider = $1 AND i.subject = ANY($2)`, provider, subjects)
	if err != nil {
		return nil, fmt.Errorf("oauth: find connections to %s: %w", provider, err)
	}
	connected, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("oauth: find connections to %s: %w", provider, err)
	}
	return connected, nil
}

// Revisit asks a provider how the connection to a subject is, because something is said to have happened to it. Who said
// so is not proven, so nothing is believed but what the provider answers. Errors: *Error when it is to be tried again.
func (s *Store) Revisit(ctx context.Context, p *Provider, subject string) error {
	var userID int64
	err := s.pool.QueryRow(ctx, `
		SELECT c.user_id FROM cairn.connections c
		JOIN cairn.identities i ON i.id = c.identity_id
		WHERE i.provider = $1 AND i.subject = $2`, p.Key, subject).Scan(&userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("oauth: find connection to %s: %w", p.Key, err)
	}
	err = s.Check(ctx, p, userID)
	if errors.Is(err, ErrReconnect) || errors.Is(err, ErrNotFound) {
		return nil // that is what was said
	}
	return err
}
