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

// removed is the deleted row of a connection.
type removed struct {
	identityID  int64
	subject     string
	sealed      []byte
	expires     *time.Time
	lease       *string // of a refresh that may be under way
	leasedUntil *time.Time
}

// Disconnect ends a person's connection at a provider: it is gone here with the transaction, and its tokens are revoked
// in the background until the provider confirms. If they can't be, revoking is false, and only the person can remove
// our access there. If identityID is not 0, the connection must belong to that identity. Errors: ErrNotFound.
func (s *Store) Disconnect(
	ctx context.Context, tx pgx.Tx, p *oauth.Provider, userID, identityID int64,
) (revoking bool, err error) {
	if err := lockOwner(ctx, tx, userID); err != nil {
		return false, err
	}
	var r removed
	err = tx.QueryRow(ctx, `
		DELETE FROM cairn.connections
		WHERE user_id = $1 AND provider = $2 AND $3::bigint IN (0, identity_id)
		RETURNING identity_id, subject, sealed_tokens, token_expires_at, refresh_lease, refresh_lease_until`,
		userID, p.Key, identityID).Scan(&r.identityID, &r.subject, &r.sealed, &r.expires, &r.lease, &r.leasedUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, ErrNotFound
	}
	if err != nil {
		return false, fmt.Errorf("connection: disconnect from %s: %w", p.Key, err)
	}
	if !Revocable(p) {
		return false, record(ctx, tx, userID, p.Key, Ended, Disconnected)
	}
	token, err := s.openTokens(r.sealed, associatedData(r.identityID, userID, p.Key))
	if err != nil || token.AccessToken+token.RefreshToken == "" {
		// No token is left to revoke, but the connection is gone here, as was asked.
		return false, record(ctx, tx, userID, p.Key, Ended, NotRevoked)
	}
	if err := record(ctx, tx, userID, p.Key, Revoking, Disconnected); err != nil {
		return false, err
	}
	return true, s.revokeLater(ctx, tx, p, userID, r, token)
}

// lockOwner locks the user before the connection, the order that every transaction keeps (package session). The history
// refers to the user: without this, a deletion of the account would hold the user and wait for the connection, while
// this transaction holds the connection and waits for the user.
func lockOwner(ctx context.Context, tx pgx.Tx, userID int64) error {
	if _, err := tx.Exec(ctx, `SELECT FROM cairn.users WHERE id = $1 FOR KEY SHARE`, userID); err != nil {
		return fmt.Errorf("connection: lock user %d: %w", userID, err)
	}
	return nil
}

// revokeLater stores a revocation. If a refresh is under way, the revocation waits until the refresh has handed its
// tokens over, or its lease has run out.
func (s *Store) revokeLater(
	ctx context.Context, tx pgx.Tx, p *oauth.Provider, userID int64, r removed, token *oauth2.Token,
) error {
	sealed, err := s.sealTokens(token, revocationData(p.Key, r.subject))
	if err != nil {
		return err
	}
	var id int64
	err = tx.QueryRow(ctx, `
		INSERT INTO cairn.withdrawals (
			user_id, provider, subject, sealed_tokens, token_expires_at, refresh_lease, busy_until
		) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id`,
		userID, p.Key, r.subject, sealed, r.expires, r.lease, r.leasedUntil).Scan(&id)
	if err != nil {
		return fmt.Errorf("connection: store a revocation at %s: %w", p.Key, err)
	}
	return s.enqueueRevocation(ctx, tx, p.Key, id)
}

// handOver gives a new pair of tokens to the revocation of a connection that was disconnected while it was refreshed:
// now this pair has to be revoked at the provider. There is no such revocation if the lease was lost in another way.
func (s *Store) handOver(ctx context.Context, lease string, token *oauth2.Token) error {
	var v revocation
	err := s.pool.QueryRow(ctx, `SELECT id, provider, subject FROM cairn.withdrawals WHERE refresh_lease = $1`, lease).
		Scan(&v.id, &v.provider, &v.subject)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("connection: look for the revocation of a refreshed connection: %w", err)
	}
	return s.replaceTokens(ctx, v, token)
}

// dropRevocations deletes the revocations of an account that is connected again: they would end the new connection too.
// A call that is under way can't be stopped, so the connection is checked after it (Syncs).
func dropRevocations(ctx context.Context, tx pgx.Tx, provider, subject string) error {
	_, err := tx.Exec(ctx, `DELETE FROM cairn.withdrawals WHERE provider = $1 AND subject = $2`, provider, subject)
	if err != nil {
		return fmt.Errorf("connection: drop revocations at %s: %w", provider, err)
	}
	return nil
}

// revocationData binds sealed tokens to their table, column, provider and account.
func revocationData(provider, subject string) string {
	return fmt.Sprintf("cairn.withdrawals/sealed_tokens/%s/%s", provider, subject)
}
