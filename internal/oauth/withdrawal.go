package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
)

// withdrawal is a provider that has to be told.
type withdrawal struct {
	id                int64
	provider, subject string
	token             *oauth2.Token
	fresh             bool // the access token is good for a call
}

// Withdraw tells a provider that the tokens of a withdrawal are not wanted any more, and forgets them when it has
// confirmed. It may be run again, at any time. provider finds one by its key, nil if it has no keys here. Errors: those
// of the call; it is then to be tried again.
func (s *Store) Withdraw(ctx context.Context, id int64, provider func(key string) *Provider) error {
	w, err := s.claimWithdrawal(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil // it was done before, or connected again
	}
	if err != nil {
		return err
	}
	defer s.releaseWithdrawal(ctx, id)
	p := provider(w.provider)
	if p == nil {
		return fmt.Errorf("oauth: withdraw from %s, which has no keys: %w", w.provider, ErrUnavailable)
	}
	switch err := s.takeBack(ctx, p, w); {
	case errors.Is(err, errNothingToTellWith):
		return s.endWithdrawal(ctx, id, NotTold)
	case err != nil && !errors.Is(err, ErrRefused): // a token that is not valid any more is what revoking is for
		return err
	}
	return s.endWithdrawal(ctx, id, Told)
}

// GiveUp forgets a withdrawal that a provider did not confirm, and lets its person know.
func (s *Store) GiveUp(ctx context.Context, id int64) error {
	return s.endWithdrawal(ctx, id, NotTold)
}

// claimWithdrawal claims a withdrawal for a call. Errors: ErrNotFound; ErrHeld when another
// instance makes that call, its tokens are still being refreshed, or its person is connecting
// again.
func (s *Store) claimWithdrawal(ctx context.Context, id int64) (withdrawal, error) {
	w := withdrawal{id: id}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, &w); err != nil || s.queue == nil {
			return err
		}

		// The call may end a connection that somebody makes meanwhile. When it has ended, somebody has to check
		// whether there is such a connection, and how it is.
		return s.queue.EnqueueCheck(ctx, tx, w.provider, w.subject, s.limits.claim())
	})
	return w, err
}

func (s *Store) claim(ctx context.Context, tx pgx.Tx, w *withdrawal) error {
	var sealed []byte
	err := tx.QueryRow(ctx, `
		UPDATE cairn.withdrawals SET busy_until = now() + $3::interval, refresh_lease = NULL
		WHERE id = $1 AND COALESCE(held_until <= now(), true) AND COALESCE(busy_until <= now(), true)
		RETURNING provider, subject, sealed_tokens,
		          token_expires_at IS NULL OR token_expires_at - $2::interval > now()`,
		w.id, s.limits.Call, s.limits.claim()).Scan(&w.provider, &w.subject, &sealed, &w.fresh)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return whyNotClaimed(ctx, tx, w.id)
	case err != nil:
		return fmt.Errorf("oauth: read withdrawal %d: %w", w.id, err)
	}
	w.token, err = s.openTokens(sealed, withdrawalPlace(w.provider, w.subject))
	return err
}

func whyNotClaimed(ctx context.Context, tx pgx.Tx, id int64) error {
	var held bool
	err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.withdrawals WHERE id = $1)`, id).Scan(&held)
	switch {
	case err != nil:
		return fmt.Errorf("oauth: look for withdrawal %d: %w", id, err)
	case held:
		return ErrHeld
	}
	return ErrNotFound
}

// releaseWithdrawal lets whoever waits for the end of a call go on. When it fails, they wait a little longer.
func (s *Store) releaseWithdrawal(ctx context.Context, id int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	_, _ = s.pool.Exec(ctx, `UPDATE cairn.withdrawals SET busy_until = NULL WHERE id = $1`, id)
}

// holdWithdrawals keeps a person's provider from being told while they connect it again, which would end the new
// connection too. It waits for a call that is under way.
func (s *Store) holdWithdrawals(ctx context.Context, p *Provider, userID int64) error {
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
			return fmt.Errorf("oauth: hold withdrawals from %s: %w", p.Key, err)
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return s.caller(p).fail("revoke", ErrUnavailable, 0, "")
		case <-time.After(s.limits.Poll):
		}
	}
}

// errNothingToTellWith means that no token is left: access was revoked at the provider, or a new
// pair was lost on its way.
var errNothingToTellWith = errors.New("oauth: no token is left to tell the provider with")

// takeBack revokes the tokens of a withdrawal in the way that the provider has. It is over before the claim is.
func (s *Store) takeBack(ctx context.Context, p *Provider, w withdrawal) error {
	ctx, cancel := context.WithTimeout(ctx, s.limits.revocation())
	defer cancel()
	if p.revoke != nil {
		err := p.revoke(ctx, s.caller(p), w.token)
		if !statusIs(err, http.StatusNotFound) && !statusIs(err, http.StatusMethodNotAllowed) {
			return err
		}
	}
	accessToken, err := s.aliveToken(ctx, p, w)
	if err != nil {
		return err
	}
	return p.revokeByAccess(ctx, s.caller(p), accessToken)
}

// aliveToken refreshes an access token that is over. As everywhere, the new pair is stored before
// it is used: the old one may be worth nothing from now on.
func (s *Store) aliveToken(ctx context.Context, p *Provider, w withdrawal) (string, error) {
	if w.fresh || w.token.RefreshToken == "" {
		return w.token.AccessToken, nil
	}
	token, err := s.caller(p).refresh(ctx, w.token.RefreshToken)
	if errors.Is(err, ErrRefused) {
		return "", errNothingToTellWith
	}
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	return token.AccessToken, s.renewWithdrawal(ctx, w, token)
}

// renewWithdrawal stores the tokens that are to be revoked instead of those that were.
func (s *Store) renewWithdrawal(ctx context.Context, w withdrawal, token *oauth2.Token) error {
	sealed, err := s.sealTokens(token, withdrawalPlace(w.provider, w.subject))
	if err != nil {
		return err
	}
	_, err = s.pool.Exec(ctx, `
		UPDATE cairn.withdrawals SET sealed_tokens = $2, token_expires_at = now() + $3::interval WHERE id = $1`,
		w.id, sealed, lifeOf(token))
	if err != nil {
		return fmt.Errorf("oauth: store refreshed tokens of withdrawal %d: %w", w.id, err)
	}
	return nil
}

// endWithdrawal forgets the tokens and tells their person, if there still is one.
func (s *Store) endWithdrawal(ctx context.Context, id int64, cause Cause) error {
	_, err := s.pool.Exec(ctx, `
		WITH gone AS (DELETE FROM cairn.withdrawals WHERE id = $1 RETURNING user_id, provider)
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference)
		SELECT gone.user_id, gone.provider, 'ended', $2, $3 FROM gone JOIN cairn.users u ON u.id = gone.user_id`,
		id, cause, reference(ctx))
	if err != nil {
		return fmt.Errorf("oauth: end withdrawal %d: %w", id, err)
	}
	return nil
}

// Pending returns all withdrawals from a provider, by its key.
func (s *Store) Pending(ctx context.Context, provider string) ([]int64, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM cairn.withdrawals WHERE provider = $1 ORDER BY id`, provider)
	if err != nil {
		return nil, fmt.Errorf("oauth: list withdrawals: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("oauth: list withdrawals: %w", err)
	}
	return ids, nil
}
