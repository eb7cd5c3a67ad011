package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/jackc/pgx/v5"
)

// Stream saves the session now, and returns the response, which is otherwise held back. It is for answers too long to
// hold back. The handler can't change the session afterwards. Errors: ErrEnded.
func (m *Manager) Stream(ctx context.Context) (http.ResponseWriter, error) {
	rq := requestOf(ctx)
	if err := m.save(rq, rq.response); err != nil {
		return nil, err
	}
	rq.token.value = "" // a panic has no page to put it into
	rq.response.streamed = true
	return rq.response.w, nil
}

// StillSignedIn checks that the session of this request has not ended meanwhile, for an answer that takes long. Errors:
// ErrEnded.
func (m *Manager) StillSignedIn(ctx context.Context) error {
	var live bool
	err := m.Pool.QueryRow(ctx, `
		SELECT true FROM cairn.sessions WHERE token = $1 AND now() < expiry`, requestOf(ctx).stored).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("session: find it again: %w", err)
	}
	return nil
}
