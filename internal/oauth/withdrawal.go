package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
)

// Disconnect ends a person's connection at a provider: it is gone here at once, and the provider is told in the
// background until it confirms. Errors: ErrNotFound.
func (s *Store) Disconnect(ctx context.Context, p *Provider, userID int64) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error { return s.Forget(ctx, tx, p, userID, 0) })
}

// Forget is Disconnect within a transaction; with an identityID other than 0 only if the connection hangs on that
// identity. The tokens move to a withdrawal, where the provider has a way to be told.
func (s *Store) Forget(ctx context.Context, tx pgx.Tx, p *Provider, userID, identityID int64) error {
	var subject string
	var sealed []byte
	var expires *time.Time
	err := tx.QueryRow(ctx, `
		DELETE FROM cairn.connections c
		USING cairn.identities i
		WHERE i.id = c.identity_id AND c.user_id = $1 AND c.provider = $2 AND $3::bigint IN (0, c.identity_id)
		RETURNING c.identity_id, i.subject, c.sealed_tokens, c.token_expires_at`, userID, p.Key, identityID).
		Scan(&identityID, &subject, &sealed, &expires)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("oauth: forget connection to %s: %w", p.Key, err)
	}
	token, err := s.openTokens(sealed, place(identityID, userID, p.Key))
	if err != nil || !p.Revocable() { // nothing can be told, but it is gone, which is what was asked for
		return tell(ctx, tx, userID, p.Key, Ended, Disconnected)
	}
	if err := tell(ctx, tx, userID, p.Key, Withdrawing, Disconnected); err != nil {
		return err
	}
	return s.withdrawLater(ctx, tx, p, userID, subject, token, expires)
}

func (s *Store) withdrawLater(ctx context.Context, tx pgx.Tx, p *Provider, userID int64, subject string, token *oauth2.Token, expires *time.Time) error {
	sealed, err := s.sealTokens(token, withdrawalPlace(p.Key, subject))
	if err != nil {
		return err
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.withdrawals (user_id, provider, subject, sealed_tokens, token_expires_at)
		VALUES ($1, $2, $3, $4, $5) RETURNING id`, userID, p.Key, subject, sealed, expires).Scan(&id)
	if err != nil {
		return fmt.Errorf("oauth: store withdrawal from %s: %w", p.Key, err)
	}
	if s.Later == nil {
		return nil
	}
	return s.Later(ctx, tx, p.Key, id)
}

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
	token, err := s.tokenToRevoke(ctx, p, w)
	if errors.Is(err, ErrRefused) { // nothing is left to tell it with: it was taken back there, or a new pair was lost on its way
		return s.endWithdrawal(ctx, id, NotTold)
	}
	if err == nil {
		err = p.revoke(ctx, s.caller(p), token)
	}
	if err != nil && !errors.Is(err, ErrRefused) { // a token that is not valid any more is what revoking is for
		return err
	}
	return s.endWithdrawal(ctx, id, Told)
}

// GiveUp forgets a withdrawal that a provider did not confirm, and lets its person know.
func (s *Store) GiveUp(ctx context.Context, id int64) error {
	return s.endWithdrawal(ctx, id, NotTold)
}

// busyFor is how long telling may take: a refresh and a revocation.
const busyFor = 2*(gatePatience+callTimeout) + moveTimeout

// claimWithdrawal takes a withdrawal for a call. Errors: ErrNotFound; ErrHeld when somebody else makes that call, or its
// person is connecting again.
func (s *Store) claimWithdrawal(ctx context.Context, id int64) (withdrawal, error) {
	w := withdrawal{id: id}
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.claim(ctx, tx, &w); err != nil || s.Telling == nil {
			return err
		}
		return s.Telling(ctx, tx, w.provider, w.subject, busyFor)
	})
	return w, err
}

func (s *Store) claim(ctx context.Context, tx pgx.Tx, w *withdrawal) error {
	var sealed []byte
	err := tx.QueryRow(ctx, `
		UPDATE cairn.withdrawals SET busy_until = now() + $3::interval
		WHERE id = $1 AND COALESCE(held_until <= now(), true) AND COALESCE(busy_until <= now(), true)
		RETURNING provider, subject, sealed_tokens, token_expires_at IS NULL OR token_expires_at - $2::interval > now()`,
		w.id, callTimeout, busyFor).Scan(&w.provider, &w.subject, &sealed, &w.fresh)
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
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTimeout)
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
			SELECT COALESCE(bool_or(busy_until > now()), false) FROM held`, userID, p.Key, AttemptLife).Scan(&busy)
		if err != nil {
			return fmt.Errorf("oauth: hold withdrawals from %s: %w", p.Key, err)
		}
		if !busy {
			return nil
		}
		select {
		case <-ctx.Done():
			return s.caller(p).fail("revoke", ErrUnavailable, 0, "")
		case <-time.After(leasePoll):
		}
	}
}

// tokenToRevoke refreshes an access token that is over where the provider wants a live one to end a link. The new pair is
// stored before it is used, as everywhere: the old one may be worth nothing from now on.
func (s *Store) tokenToRevoke(ctx context.Context, p *Provider, w withdrawal) (*oauth2.Token, error) {
	if w.fresh || !p.revokesByAccess || w.token.RefreshToken == "" {
		return w.token, nil
	}
	token, err := s.caller(p).refresh(ctx, w.token.RefreshToken)
	if err != nil {
		return nil, err
	}
	sealed, err := s.sealTokens(token, withdrawalPlace(w.provider, w.subject))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), moveTimeout)
	defer cancel()
	_, err = s.pool.Exec(ctx, `
		UPDATE cairn.withdrawals SET sealed_tokens = $2, token_expires_at = now() + $3::interval WHERE id = $1`,
		w.id, sealed, lifeOf(token))
	if err != nil {
		return nil, fmt.Errorf("oauth: store refreshed tokens of withdrawal %d: %w", w.id, err)
	}
	return token, nil
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

// forgetWithdrawals drops what is still to be told about an account that is connected again: it would end the new
// connection too. A call that is under way can't be taken back: what it leads to is looked at later (Store.Telling).
func forgetWithdrawals(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := tx.Exec(ctx, `DELETE FROM cairn.withdrawals WHERE provider = $1 AND subject = $2`, provider, subject)
	if err != nil {
		return fmt.Errorf("oauth: drop withdrawals from %s: %w", provider, err)
	}
	return nil
}

// Pending returns all withdrawals.
func (s *Store) Pending(ctx context.Context) ([]int64, error) {
	rows, err := s.pool.Query(ctx, `SELECT id FROM cairn.withdrawals ORDER BY id`)
	if err != nil {
		return nil, fmt.Errorf("oauth: list withdrawals: %w", err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return nil, fmt.Errorf("oauth: list withdrawals: %w", err)
	}
	return ids, nil
}

// withdrawalPlace binds sealed tokens to what is to be withdrawn.
func withdrawalPlace(provider, subject string) string {
	return fmt.Sprintf("cairn.withdrawals/sealed_tokens/%s/%s", provider, subject)
}
