package connection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/oauth2"

	"cairn/internal/oauth"
	"cairn/internal/seal"
)

// stored is a connection as it was read, with its tokens.
type stored struct {
	identityID, userID, generation int64
	provider                       string
	token                          *oauth2.Token
	state                          State
	cause                          Cause
	fresh                          bool       // good for a call now
	leased                         bool       // an instance is refreshing it
	abandoned                      bool       // an instance was refreshing it, and died
	retryAt                        *time.Time // no call about it may be made before; nil: one may be made now
}

// Token returns a usable access token of a person's connection. One instance at a time refreshes a
// token that is about to expire; the others wait for its result. Errors: ErrNotFound, ErrReconnect,
// *oauth.Error.
func (s *Store) Token(ctx context.Context, p *oauth.Provider, userID int64) (string, error) {
	row, err := s.tokenAfter(ctx, p, userID, 0)
	if err != nil {
		return "", err
	}
	return row.token.AccessToken, nil
}

// tokenAfter is Token for a caller for whom the provider has refused the tokens of one generation, 0 for none: those
// don't count as fresh, whatever their expiry says. The returned row has the token.
func (s *Store) tokenAfter(ctx context.Context, p *oauth.Provider, userID, refused int64) (stored, error) {
	waiting, cancel := context.WithTimeout(ctx, s.limits.refresh())
	defer cancel()
	awaited := int64(0) // the generation that another caller was refreshing
	for {
		row, err := s.read(ctx, p, userID)
		switch {
		case err != nil:
			return stored{}, err
		case row.state == NeedsReconnect:
			return stored{}, ErrReconnect
		case row.fresh && row.generation > refused:
			return row, nil
		case row.token.RefreshToken == "":
			return stored{}, errors.Join(ErrReconnect,
				s.setState(ctx, row, NeedsReconnect, AccessRefused, http.StatusUnauthorized))
		case row.leased:
			awaited = row.generation
		case row.generation == awaited && !row.abandoned: // it failed; those who waited don't each try again
			return stored{}, row.shared(p)
		case row.retryAt != nil:
			return stored{}, row.tooSoon(p, "refresh")
		default:
			refreshed, err := s.refresh(ctx, p, row)
			if !errors.Is(err, ErrHeld) {
				return refreshed, err
			}
			awaited = row.generation
		}
		select {
		case <-waiting.Done():
			return stored{}, p.Fail("refresh", oauth.ErrUnavailable, 0, "")
		case <-time.After(s.limits.Poll):
		}
	}
}

// shared returns the failure of another caller's refresh, as the row records it.
func (row stored) shared(p *oauth.Provider) error {
	failure := &oauth.Error{Provider: p.Key, Call: "refresh", Kind: oauth.ErrUnavailable}
	if row.cause == SlowDown {
		failure.Kind = oauth.ErrRateLimited
	}
	if row.retryAt != nil {
		failure.Until = *row.retryAt
	}
	return failure
}

// tooSoon returns the failure of a call that is not made, because the provider does not want it yet.
func (row stored) tooSoon(p *oauth.Provider, call string) error {
	return &oauth.Error{Provider: p.Key, Call: call, Kind: oauth.ErrRateLimited, Until: *row.retryAt, Unsent: true}
}

// OwnerEnabled is a condition, in SQL, on a connection c. For a disabled account nothing is fetched or refreshed, and
// what comes is dropped.
const OwnerEnabled = `EXISTS (SELECT FROM cairn.users u WHERE u.id = c.user_id AND u.disabled_at IS NULL)`

// read reads a connection for a call about it. Errors: ErrNotFound, also if its owner is disabled; ErrReconnect.
func (s *Store) read(ctx context.Context, p *oauth.Provider, userID int64) (stored, error) {
	row := stored{userID: userID, provider: p.Key}
	var sealed []byte
	err := s.pool.QueryRow(ctx, `
		SELECT identity_id, generation, sealed_tokens, state, cause,
		       token_expires_at IS NULL OR token_expires_at - $3::interval > now(),
		       COALESCE(refresh_lease_until > now(), false), COALESCE(refresh_lease_until <= now(), false),
		       CASE WHEN retry_at > now() AND cause = 'slow_down' THEN retry_at END
		FROM cairn.connections c WHERE user_id = $1 AND provider = $2 AND `+OwnerEnabled,
		userID, p.Key, p.RefreshEarly).
		Scan(&row.identityID, &row.generation, &sealed, &row.state, &row.cause,
			&row.fresh, &row.leased, &row.abandoned, &row.retryAt)
	if errors.Is(err, pgx.ErrNoRows) {
		return stored{}, ErrNotFound
	}
	if err != nil {
		return stored{}, fmt.Errorf("connection: read connection to %s: %w", p.Key, err)
	}
	row.token, err = s.openTokens(sealed, associatedData(row.identityID, userID, p.Key))
	if errors.Is(err, seal.ErrOpen) { // unlike a missing key, this can't be fixed
		return stored{}, errors.Join(ErrReconnect, err, s.setState(ctx, row, NeedsReconnect, Damaged, 0))
	}
	return row, err
}

// lease takes the lease for a refresh of the generation that was read. Errors: ErrHeld if another caller was faster.
func (s *Store) lease(ctx context.Context, row stored) (string, error) {
	lease := rand.Text()
	tag, err := s.pool.Exec(ctx, `
		UPDATE cairn.connections c SET refresh_lease = $3, refresh_lease_until = now() + $4::interval
		WHERE identity_id = $1 AND generation = $2 AND state <> 'needs_reconnect'
		  AND (refresh_lease_until IS NULL OR refresh_lease_until <= now()) AND `+OwnerEnabled,
		row.identityID, row.generation, lease, s.limits.lease())
	if err != nil {
		return "", fmt.Errorf("connection: lease identity %d: %w", row.identityID, err)
	}
	if tag.RowsAffected() == 0 {
		return "", ErrHeld
	}
	return lease, nil
}

// refresh refreshes the tokens under a lease. It goes on if the browser leaves: an answer that is not stored would cost
// the connection. Errors: ErrHeld if the row has changed since it was read.
func (s *Store) refresh(ctx context.Context, p *oauth.Provider, row stored) (stored, error) {
	lease, err := s.lease(ctx, row)
	if err != nil {
		return stored{}, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.lease())
	defer cancel()
	token, theirs, err := s.newTokens(ctx, p, row)
	if err != nil {
		return stored{}, errors.Join(s.refreshFailed(ctx, row, err), s.release(ctx, row, lease))
	}
	sealed, err := s.sealTokens(token, associatedData(row.identityID, row.userID, p.Key))
	if err != nil {
		return stored{}, err
	}
	if err := s.storeTokens(ctx, row, lease, sealed, token, theirs); err != nil {
		return stored{}, errors.Join(err, s.release(ctx, row, lease))
	}
	row.generation, row.token = row.generation+1, token
	return row, s.markHealthy(ctx, row)
}

// newTokens refreshes the tokens. If another server has got others, it takes those, and refreshes them only if they are
// about to expire. That server may also refresh them at the same time, and then ours are refused.
func (s *Store) newTokens(ctx context.Context, p *oauth.Provider, row stored) (*oauth2.Token, *Theirs, error) {
	theirs := s.newer(ctx, row, nil)
	for {
		token := row.token
		if theirs != nil {
			token = theirs.Token
			if time.Until(token.Expiry) > p.RefreshEarly {
				return token, theirs, nil
			}
		}
		refreshed, err := s.client.At(p).Refresh(ctx, token.RefreshToken)
		if !errors.Is(err, oauth.ErrRefused) {
			return refreshed, theirs, err
		}
		newest := s.awaitNewer(ctx, row, theirs)
		switch {
		case newest != nil:
			theirs = newest
		case theirs != nil: // what that server has may be an old copy
			refreshed, err = s.client.At(p).Refresh(ctx, row.token.RefreshToken)
			return refreshed, theirs, err
		default:
			return nil, nil, err
		}
	}
}

// storeTokens stores a new pair if the lease still holds, and returns ErrHeld otherwise. The old pair may
// no longer be valid, so if the database can't be reached, it tries until the lease runs out.
func (s *Store) storeTokens(
	ctx context.Context, row stored, lease string, sealed []byte, token *oauth2.Token, theirs *Theirs,
) error {
	for {
		n, err := s.tryToStore(ctx, row, lease, sealed, token, theirs)
		switch {
		case err == nil && n == 0:
			// The connection was disconnected or renewed since, or an earlier try stored the pair and its
			// answer was lost.
			return ErrHeld
		case err == nil:
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("connection: store refreshed tokens of identity %d: %w", row.identityID, err)
		case <-time.After(s.limits.Poll):
		}
	}
}

func (s *Store) tryToStore(
	ctx context.Context, row stored, lease string, sealed []byte, token *oauth2.Token, theirs *Theirs,
) (n int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Statement)
	defer cancel()
	const store = `
		UPDATE cairn.connections
		SET sealed_tokens = $3, token_expires_at = now() + $4::interval, generation = generation + 1,
		    checked_at = now(), tokens_at = now(), refresh_lease = NULL, refresh_lease_until = NULL
		WHERE identity_id = $1 AND refresh_lease = $2`
	args := []any{row.identityID, lease, sealed, lifeOf(token)}
	if s.mirror != nil {
		n, err = s.storeInBoth(ctx, store, args, Refreshed{row.provider, row.userID, 0, token}, theirs)
	} else {
		var tag pgconn.CommandTag
		tag, err = s.pool.Exec(ctx, store, args...)
		n = tag.RowsAffected()
	}
	if err == nil && n == 0 {
		err = s.handOver(ctx, lease, token)
	}
	return n, err
}

// storeInBoth stores new tokens here and for another server.
func (s *Store) storeInBoth(
	ctx context.Context, store string, args []any, to Refreshed, theirs *Theirs,
) (n int64, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := lockOwner(ctx, tx, to.UserID); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, store+` RETURNING generation`, args...).Scan(&to.Generation)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		n = 1
		s.writeMirror(ctx, tx, to, theirs)
		return nil
	})
	return n, err
}

// refreshFailed records what a failed refresh says about the connection. The lease is still held, so the refresh token
// that was refused is the newest one.
func (s *Store) refreshFailed(ctx context.Context, row stored, err error) error {
	if errors.Is(err, oauth.ErrRefused) {
		failure, _ := errors.AsType[*oauth.Error](err)
		return errors.Join(ErrReconnect, err, s.setState(ctx, row, NeedsReconnect, RefreshRefused, failure.Status))
	}
	return s.markFailed(ctx, row, err)
}

// markHealthy makes a connection active after a usable answer.
func (s *Store) markHealthy(ctx context.Context, row stored) error {
	if row.state == Active {
		return nil
	}
	return s.setState(ctx, row, Active, Works, http.StatusOK)
}

// release gives a lease back, so that those who need a token, or revoke it, need not wait until the lease runs out.
func (s *Store) release(ctx context.Context, row stored, lease string) error {
	_, err := s.pool.Exec(ctx, `
		WITH disconnected AS (
			UPDATE cairn.withdrawals SET refresh_lease = NULL, busy_until = NULL WHERE refresh_lease = $2
		)
		UPDATE cairn.connections SET refresh_lease = NULL, refresh_lease_until = NULL
		WHERE identity_id = $1 AND refresh_lease = $2`, row.identityID, lease)
	if err != nil {
		return fmt.Errorf("connection: release identity %d: %w", row.identityID, err)
	}
	return nil
}
