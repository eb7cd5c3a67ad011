package oauth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
)

const (
	// leaseTime is how long one instance may refresh a connection; it is longer than a call can take, so a lease that is
	// over belongs to an instance that died.
	leaseTime = 2 * callTimeout
	leasePoll = 100 * time.Millisecond
)

// stored is a connection's tokens as they stood at one moment.
type stored struct {
	identityID, userID, generation int64
	token                          *oauth2.Token
	state                          State
	fresh                          bool       // good for a call now
	leased                         bool       // somebody refreshes it
	retryAt                        *time.Time // nil, or the provider has asked for no calls about it until then
}

// Token returns a usable access token of a person's connection. One that is nearly over is refreshed, by one instance at a
// time; the others wait for its result. Errors: ErrNotFound, ErrReconnect, *Error.
func (s *Store) Token(ctx context.Context, p *Provider, userID int64) (string, error) {
	return s.tokenAfter(ctx, p, userID, 0)
}

// tokenAfter is Token for a caller to whom the provider has refused the tokens of one generation: those are not fresh,
// whatever their end says.
func (s *Store) tokenAfter(ctx context.Context, p *Provider, userID, refused int64) (string, error) {
	for {
		row, err := s.read(ctx, p, userID)
		switch {
		case err != nil:
			return "", err
		case row.state == NeedsReconnect:
			return "", ErrReconnect
		case row.fresh && row.generation > refused:
			return row.token.AccessToken, nil
		case row.token.RefreshToken == "":
			return "", errors.Join(ErrReconnect, s.move(ctx, row, NeedsReconnect, AccessRefused, http.StatusUnauthorized))
		case !row.leased:
			lease, err := s.lease(ctx, row)
			if err != nil {
				return "", err
			}
			if lease != "" {
				return s.refresh(ctx, p, row, lease)
			}
		}
		select {
		case <-ctx.Done():
			return "", s.caller(p).fail("refresh", ErrUnavailable, 0, "")
		case <-time.After(leasePoll):
		}
	}
}

func (s *Store) read(ctx context.Context, p *Provider, userID int64) (stored, error) {
	row := stored{userID: userID}
	var sealed []byte
	err := s.pool.QueryRow(ctx, `
		SELECT identity_id, generation, sealed_tokens, state,
		       token_expires_at IS NULL OR token_expires_at - $3::interval > now(),
		       COALESCE(refresh_lease_until > now(), false),
		       CASE WHEN retry_at > now() AND cause = 'slow_down' THEN retry_at END
		FROM cairn.connections WHERE user_id = $1 AND provider = $2`, userID, p.Key, p.RefreshEarly).
		Scan(&row.identityID, &row.generation, &sealed, &row.state, &row.fresh, &row.leased, &row.retryAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return stored{}, ErrNotFound
	}
	if err != nil {
		return stored{}, fmt.Errorf("oauth: read connection to %s: %w", p.Key, err)
	}
	row.token, err = s.openTokens(sealed, place(row.identityID, userID, p.Key))
	return row, err
}

// lease tries to become the one that refreshes the generation that was read; "" means that somebody else was faster.
func (s *Store) lease(ctx context.Context, row stored) (string, error) {
	lease := rand.Text()
	tag, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections SET refresh_lease = $3, refresh_lease_until = now() + $4::interval
		WHERE identity_id = $1 AND generation = $2 AND state <> 'needs_reconnect'
		  AND (refresh_lease_until IS NULL OR refresh_lease_until <= now())`,
		row.identityID, row.generation, lease, leaseTime)
	if err != nil {
		return "", fmt.Errorf("oauth: lease identity %d: %w", row.identityID, err)
	}
	if tag.RowsAffected() == 0 {
		return "", nil
	}
	return lease, nil
}

// refresh makes the call under a lease. From here on the browser may leave: an answer that is not stored would cost the
// connection.
func (s *Store) refresh(ctx context.Context, p *Provider, row stored, lease string) (string, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime)
	defer cancel()
	token, err := s.caller(p).refresh(ctx, row.token.RefreshToken)
	if err != nil {
		return "", errors.Join(s.refreshFailed(ctx, row, err), s.release(ctx, row, lease))
	}
	sealed, err := s.sealTokens(token, place(row.identityID, row.userID, p.Key))
	if err != nil {
		return "", err
	}
	tag, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections SET sealed_tokens = $3, token_expires_at = now() + $4::interval, generation = generation + 1,
			checked_at = now(), tokens_at = now(), refresh_lease = NULL, refresh_lease_until = NULL
		WHERE identity_id = $1 AND refresh_lease = $2`, row.identityID, lease, sealed, lifeOf(token))
	if err != nil {
		return "", fmt.Errorf("oauth: store refreshed tokens of identity %d: %w", row.identityID, err)
	}
	if tag.RowsAffected() == 0 { // disconnected or connected anew meanwhile
		return "", ErrNotFound
	}
	row.generation++
	return token.AccessToken, s.recovered(ctx, row)
}

// refreshFailed notes what a failed refresh says about the connection. The lease is still held, so the refresh token
// that was refused is the newest there is.
func (s *Store) refreshFailed(ctx context.Context, row stored, err error) error {
	if errors.Is(err, ErrRefused) {
		failure, _ := errors.AsType[*Error](err)
		return errors.Join(ErrReconnect, err, s.move(ctx, row, NeedsReconnect, RefreshRefused, failure.Status))
	}
	return s.stumbled(ctx, row, err)
}

// recovered notes that a connection that was not active gave a usable answer.
func (s *Store) recovered(ctx context.Context, row stored) error {
	if row.state == Active {
		return nil
	}
	return s.move(ctx, row, Active, Works, http.StatusOK)
}

// release gives a lease back, so that the next who needs a token need not wait for its end.
func (s *Store) release(ctx context.Context, row stored, lease string) error {
	_, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections SET refresh_lease = NULL, refresh_lease_until = NULL
		WHERE identity_id = $1 AND refresh_lease = $2`, row.identityID, lease)
	if err != nil {
		return fmt.Errorf("oauth: release identity %d: %w", row.identityID, err)
	}
	return nil
}
