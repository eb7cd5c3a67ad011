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
// background until it confirms. telling is false if it can't be told: then only the person can take access back there.
// Errors: ErrNotFound.
func (s *Store) Disconnect(ctx context.Context, p *Provider, userID int64) (telling bool, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		telling, err = s.Forget(ctx, tx, p, userID, 0)
		return err
	})
	return telling && err == nil, err
}

// forgotten is what was in the row of a connection.
type forgotten struct {
	identityID  int64
	subject     string
	sealed      []byte
	expires     *time.Time
	lease       *string // of a refresh that may be under way
	leasedUntil *time.Time
}

// Forget is Disconnect within a transaction; with an identityID other than 0 only if the connection hangs on that
// identity. The tokens move to a withdrawal, where the provider has a way to be told.
func (s *Store) Forget(
	ctx context.Context, tx pgx.Tx, p *Provider, userID, identityID int64,
) (telling bool, err error) {
	if err := lockOwner(ctx, tx, userID); err != nil {
		return false, err
	}
	var f forgotten
	err = tx.QueryRow(ctx, `
		DELETE FROM cairn.connections c
		USING cairn.identities i
		WHERE i.id = c.identity_id AND c.user_id = $1 AND c.provider = $2 AND $3::bigint IN (0, c.identity_id)
		RETURNING c.identity_id, i.subject, c.sealed_tokens, c.token_expires_at,
		          c.refresh_lease, c.refresh_lease_until`,
		userID, p.Key, identityID).Scan(&f.identityID, &f.subject, &f.sealed, &f.expires, &f.lease, &f.leasedUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrNotFound
	}
	if err != nil {
		return false, fmt.Errorf("oauth: forget connection to %s: %w", p.Key, err)
	}
	if !p.Revocable() {
		return false, tell(ctx, tx, userID, p.Key, Ended, Disconnected)
	}
	token, err := s.openTokens(f.sealed, place(f.identityID, userID, p.Key))
	if err != nil { // it can't be told, but it is gone here, which is what was asked for
		return false, tell(ctx, tx, userID, p.Key, Ended, NotTold)
	}
	if err := tell(ctx, tx, userID, p.Key, Withdrawing, Disconnected); err != nil {
		return false, err
	}
	return true, s.withdrawLater(ctx, tx, p, userID, f, token)
}

// lockOwner comes before the lock of a connection, as everywhere (package session): the
// connection's history refers to the user, so that a removal of the whole account would be waited
// for with the connection in hand.
func lockOwner(ctx context.Context, tx pgx.Tx, userID int64) error {
	if _, err := tx.Exec(ctx, `SELECT FROM cairn.users WHERE id = $1 FOR KEY SHARE`, userID); err != nil {
		return fmt.Errorf("oauth: lock user %d: %w", userID, err)
	}
	return nil
}

// withdrawLater makes a withdrawal. If a refresh is under way, nobody tells the provider before the
// refresh has handed its tokens over, or its lease is over.
func (s *Store) withdrawLater(
	ctx context.Context, tx pgx.Tx, p *Provider, userID int64, f forgotten, token *oauth2.Token,
) error {
	sealed, err := s.sealTokens(token, withdrawalPlace(p.Key, f.subject))
	if err != nil {
		return err
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.withdrawals (
			user_id, provider, subject, sealed_tokens, token_expires_at, refresh_lease, busy_until
		) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
		userID, p.Key, f.subject, sealed, f.expires, f.lease, f.leasedUntil).Scan(&id)
	if err != nil {
		return fmt.Errorf("oauth: store withdrawal from %s: %w", p.Key, err)
	}
	if s.queue == nil {
		return nil
	}
	return s.queue.EnqueueRevocation(ctx, tx, p.Key, id)
}

// handOver gives a new pair of tokens to the withdrawal of a connection that was disconnected while
// it was refreshed: now this pair has to be revoked at the provider. There is no such withdrawal if
// the lease was lost in another way.
func (s *Store) handOver(ctx context.Context, lease string, token *oauth2.Token) error {
	var w withdrawal
	err := s.pool.QueryRow(ctx, `SELECT id, provider, subject FROM cairn.withdrawals WHERE refresh_lease = $1`, lease).
		Scan(&w.id, &w.provider, &w.subject)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("oauth: look for the withdrawal of a refreshed connection: %w", err)
	}
	return s.renewWithdrawal(ctx, w, token)
}

// forgetWithdrawals drops what is still to be told about an account that is connected again: it would end the new
// connection too. A call that is under way can't be taken back: what it leads to is checked later (Enqueuer).
func forgetWithdrawals(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := tx.Exec(ctx, `DELETE FROM cairn.withdrawals WHERE provider = $1 AND subject = $2`, provider, subject)
	if err != nil {
		return fmt.Errorf("oauth: drop withdrawals from %s: %w", provider, err)
	}
	return nil
}

// withdrawalPlace binds sealed tokens to what is to be withdrawn.
func withdrawalPlace(provider, subject string) string {
	return fmt.Sprintf("cairn.withdrawals/sealed_tokens/%s/%s", provider, subject)
}
