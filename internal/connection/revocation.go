package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"

	"cairn/internal/oauth"
)

// Revoker is an oauth.Adapter of a provider that revokes tokens.
type Revoker interface {
	// Revoke revokes one of a connection's tokens, and with it the others. It calls access if that takes a valid access
	// token. Errors: those of access; *oauth.Error. oauth.ErrRefused says that the token is no longer valid.
	Revoke(ctx context.Context, c *oauth.Caller, t *oauth2.Token, access Access) error
}

// Access returns a valid access token.
type Access func(ctx context.Context) (string, error)

// Revocable reports whether a provider revokes tokens. If it doesn't, only the person can remove our access.
func Revocable(p *oauth.Provider) bool {
	_, ok := p.Adapter.(Revoker)
	return ok
}

// Revocable reports whether a provider can be asked to revoke the tokens of a connection: some came without any.
func (c Connection) Revocable(p *oauth.Provider) bool {
	return Revocable(p) && c.Cause != Unreadable && c.Cause != AccountUnknown
}

// revocation is a row of cairn.withdrawals: tokens that have to be revoked at a provider.
type revocation struct {
	id                int64
	provider, subject string
	token             *oauth2.Token
	fresh             bool      // the access token is good for a call
	claimed           time.Time // until then
}

// Revoke revokes the tokens of a revocation at the provider, and deletes them when the provider has confirmed. It can
// be called again at any time. Errors: ErrHeld; those of the call. After either it has to be tried again.
func (s *Store) Revoke(ctx context.Context, id int64) error {
	v, err := s.claimRevocation(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil // it is done, or the account was connected again
	}
	if err != nil {
		return err
	}
	defer s.releaseRevocation(ctx, v)
	p := s.providers.Get(v.provider)
	if p == nil {
		return fmt.Errorf("connection: revoke at %s, which has no keys: %w", v.provider, oauth.ErrUnavailable)
	}
	revoker, ok := p.Adapter.(Revoker)
	if !ok {
		return s.endRevocation(ctx, id, NotRevoked)
	}
	switch err := s.revokeAt(ctx, p, revoker, v); {
	case errors.Is(err, errNoToken):
		return s.endRevocation(ctx, id, NotRevoked)
	case err != nil && !errors.Is(err, oauth.ErrRefused): // a token that is no longer valid counts as revoked
		return err
	}
	return s.endRevocation(ctx, id, Revoked)
}

// AbandonRevocation deletes a revocation that the provider did not confirm, and records that in its owner's history.
func (s *Store) AbandonRevocation(ctx context.Context, id int64) error {
	return s.endRevocation(ctx, id, NotRevoked)
}

// claimRevocation claims a revocation for a call. Errors: ErrNotFound; ErrHeld when another instance makes that
// call, its tokens are still being refreshed, or the person is connecting again.
func (s *Store) claimRevocation(ctx context.Context, id int64) (revocation, error) {
	v := revocation{id: id}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, &v); err != nil || s.queue == nil {
			return err
		}
		// If the account is connected again during the call, the call may end the new connection too.
		return s.syncs.EnqueueCheck(ctx, tx, v.provider, v.subject, s.limits.claim())
	})
	return v, err
}

func (s *Store) claim(ctx context.Context, tx pgx.Tx, v *revocation) error {
	var sealed []byte
	err := tx.QueryRow(ctx, `
		UPDATE cairn.withdrawals SET busy_until = now() + $3::interval, refresh_lease = NULL
		WHERE id = $1 AND COALESCE(held_until <= now(), true) AND COALESCE(busy_until <= now(), true)
		RETURNING provider, subject, sealed_tokens,
		          token_expires_at IS NULL OR token_expires_at - $2::interval > now(), busy_until`,
		v.id, s.limits.Call, s.limits.claim()).Scan(&v.provider, &v.subject, &sealed, &v.fresh, &v.claimed)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return whyNotClaimed(ctx, tx, v.id)
	case err != nil:
		return fmt.Errorf("connection: read revocation %d: %w", v.id, err)
	}
	v.token, err = s.openTokens(sealed, revocationData(v.provider, v.subject))
	return err
}

func whyNotClaimed(ctx context.Context, tx pgx.Tx, id int64) error {
	var held bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.withdrawals WHERE id = $1)`, id).Scan(&held)
	switch {
	case err != nil:
		return fmt.Errorf("connection: look for revocation %d: %w", id, err)
	case held:
		return ErrHeld
	}
	return ErrNotFound
}

// releaseRevocation gives a claim back, unless another instance has one by now. If that fails, those who wait for the
// call have to wait until the claim runs out.
func (s *Store) releaseRevocation(ctx context.Context, v revocation) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	_, _ = s.pool.Exec(ctx, `
		UPDATE cairn.withdrawals SET busy_until = NULL WHERE id = $1 AND busy_until = $2`, v.id, v.claimed)
}

// holdRevocations holds back a user's revocations at a provider while they connect it again: a revocation would end the
// new connection too. It waits for a call that is under way.
func (s *Store) holdRevocations(ctx context.Context, p *oauth.Provider, userID int64) error {
	for {
		var busy bool
		err := s.pool.QueryRow(ctx, `
			WITH held AS (
				UPDATE cairn.withdrawals SET held_until = now() + $3::interval
				WHERE user_id = $1 AND provider = $2
				RETURNING busy_until
			)
			SELECT COALESCE(bool_or(busy_until > now()), false) FROM held`, userID, p.Key, s.limits.Attempt).Scan(&busy)
		if err != nil {
			return fmt.Errorf("connection: hold revocations at %s: %w", p.Key, err)
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return p.Fail("revoke", oauth.ErrUnavailable, 0, "")
		case <-time.After(s.limits.Poll):
		}
	}
}

// errNoToken means that no token is left: access was revoked at the provider, or a refreshed pair was lost.
var errNoToken = errors.New("connection: no token is left to revoke")

// revokeAt revokes the tokens of a revocation. It ends before the claim runs out.
func (s *Store) revokeAt(ctx context.Context, p *oauth.Provider, r Revoker, v revocation) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.revocation())
	defer cancel()
	return r.Revoke(ctx, s.client.At(p), v.token, func(ctx context.Context) (string, error) {
		return s.validToken(ctx, p, v)
	})
}

// validToken returns the access token, refreshed if it has expired. As everywhere, the new pair is stored before it is
// used: the old one may no longer be valid.
func (s *Store) validToken(ctx context.Context, p *oauth.Provider, v revocation) (string, error) {
	if v.fresh || v.token.RefreshToken == "" {
		return v.token.AccessToken, nil
	}
	token, err := s.client.At(p).Refresh(ctx, v.token.RefreshToken)
	if errors.Is(err, oauth.ErrRefused) {
		return "", errNoToken
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	return token.AccessToken, s.replaceTokens(ctx, v, token)
}

// replaceTokens replaces the tokens of a revocation by refreshed ones.
func (s *Store) replaceTokens(ctx context.Context, v revocation, token *oauth2.Token) error {
	sealed, err := s.sealTokens(token, revocationData(v.provider, v.subject))
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `
		UPDATE cairn.withdrawals SET sealed_tokens = $2, token_expires_at = now() + $3::interval WHERE id = $1`,
		v.id, sealed, lifeOf(token))
	if err != nil {
		return fmt.Errorf("connection: store refreshed tokens of revocation %d: %w", v.id, err)
	}
	return nil
}

// endRevocation deletes a revocation, and records that in its owner's history if the account still exists.
func (s *Store) endRevocation(ctx context.Context, id int64, cause Cause) error {
	_, err := s.pool.Exec(ctx, `
		WITH gone AS (DELETE FROM cairn.withdrawals WHERE id = $1 RETURNING user_id, provider)
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference)
		SELECT gone.user_id, gone.provider, 'ended', $2, $3 FROM gone JOIN cairn.users u ON u.id = gone.user_id`,
		id, cause, reference(ctx))
	if err != nil {
		return fmt.Errorf("connection: end revocation %d: %w", id, err)
	}
	return nil
}

// PendingRevocations returns up to 1,000 revocations at a provider, by its key. If there are more, it picks them at
// random, so that each gets its turn.
func (s *Store) PendingRevocations(ctx context.Context, provider string) ([]int64, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT id FROM cairn.withdrawals WHERE provider = $1 ORDER BY random() LIMIT 1000`, provider)
	if err != nil {
		return nil, fmt.Errorf("connection: list revocations: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("connection: list revocations: %w", err)
	}
	return ids, nil
}
