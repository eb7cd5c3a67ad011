package connection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/mail"
	"cairn/internal/oauth"
)

// State is how well a connection works, as of the last call. docs/connections.md, "States", draws how one leads to
// another. A connection that is Degraded or Suspended may have a time before which no call is made
// (Connection.RetryAt). Whether permissions are missing is not a state (oauth.Provider.Missing).
type State string

// States, and their stored words in cairn.connections and cairn.connection_events.
const (
	Active         State = "active"
	Degraded       State = "trouble"
	Suspended      State = "paused"
	NeedsReconnect State = "needs_reconnect"
	Revoking       State = "withdrawing" // in events only: the connection is gone
	Ended          State = "ended"       // likewise
)

// Name is the state's name outside of the database, where some states keep an older word.
func (s State) Name() string {
	switch s {
	case Degraded:
		return "degraded"
	case Suspended:
		return "suspended"
	case Revoking:
		return "revoking"
	}
	return string(s)
}

// MarshalJSON writes the name.
func (s State) MarshalJSON() ([]byte, error) { return json.Marshal(s.Name()) }

// Cause is why a connection is in its state.
type Cause string

// Causes. The first three belong to Active, NoAnswer to SlowDown to Degraded.
const (
	Connected      Cause = "connected"
	Reconnected    Cause = "reconnected"
	Works          Cause = "works" // it answered again
	NoAnswer       Cause = "no_answer"
	BadAnswer      Cause = "bad_answer"
	SlowDown       Cause = "slow_down"
	AppRefused     Cause = "app_refused"     // Suspended
	AthleteLimit   Cause = "athlete_limit"   // Suspended: our application has as many people as it may
	QuotaSpent     Cause = "quota_spent"     // Suspended, until the next day
	RefreshRefused Cause = "refresh_refused" // NeedsReconnect
	AccessRefused  Cause = "access_refused"  // NeedsReconnect
	Damaged        Cause = "damaged"         // NeedsReconnect: no key opens the tokens
	Imported       Cause = "imported"        // Active: it came from another server
	Unreadable     Cause = "unreadable"      // NeedsReconnect: it came without tokens that can be read
	AccountUnknown Cause = "account_unknown" // NeedsReconnect: it came without the account's id
	Disconnected   Cause = "disconnected"    // Revoking, or Ended
	Revoked        Cause = "told"            // Ended: the provider confirmed
	NotRevoked     Cause = "not_told"        // Ended: it did not for days, or there is no token left to revoke
)

// Name is the cause's name outside of the database, where some causes keep an older word.
func (c Cause) Name() string {
	switch c {
	case Revoked:
		return "revoked"
	case NotRevoked:
		return "not_revoked"
	}
	return string(c)
}

// MarshalJSON writes the name.
func (c Cause) MarshalJSON() ([]byte, error) { return json.Marshal(c.Name()) }

// Event is one change of a connection's state.
type Event struct {
	At     time.Time
	State  State
	Cause  Cause
	Status int // the provider's HTTP status, 0 if it gave none
}

type referenceKey struct{}

// WithReference adds the id of the current request, for the events that it leads to.
func WithReference(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, referenceKey{}, id)
}

func reference(ctx context.Context) string {
	id, _ := ctx.Value(referenceKey{}).(string)
	return id
}

// failed returns the state that a failed call leaves a connection in. A refusal leads to NeedsReconnect only where the
// caller knows that it is definite.
func failed(failure *oauth.Error) (State, Cause, int) {
	switch {
	case errors.Is(failure, oauth.ErrQuotaSpent):
		return Suspended, QuotaSpent, failure.Status
	case errors.Is(failure, oauth.ErrRateLimited):
		return Degraded, SlowDown, failure.Status
	case errors.Is(failure, oauth.ErrTooManyPeople):
		return Suspended, AthleteLimit, failure.Status
	case errors.Is(failure, oauth.ErrAppRefused):
		return Suspended, AppRefused, failure.Status
	case failure.Status == 0:
		return Degraded, NoAnswer, 0
	}
	return Degraded, BadAnswer, failure.Status
}

// markFailed records what a failed call says about the connection, and returns err together with any
// error of its own. The call says nothing if the person left, if the failure is our own, or if it was
// background work that was not sent.
func (s *Store) markFailed(ctx context.Context, row stored, err error) error {
	failure, ok := errors.AsType[*oauth.Error](err)
	if !ok || errors.Is(ctx.Err(), context.Canceled) || failure.Unsent && oauth.IsBackground(ctx) {
		return err
	}
	state, cause, status := failed(failure)
	var retryAt *time.Time
	if !failure.Until.IsZero() {
		retryAt = &failure.Until
	}
	return errors.Join(err, s.setStateUntil(ctx, row, state, cause, status, retryAt))
}

// setState changes the state of a connection, and records the change. Nothing happens if the connection is
// in that state already, or if it has been renewed or disconnected since it was read. It finishes even if
// the browser has left.
func (s *Store) setState(ctx context.Context, row stored, to State, cause Cause, status int) error {
	return s.setStateUntil(ctx, row, to, cause, status, nil)
}

// setStateUntil is setState to a state in which the provider must not be called before retryAt; nil: the time
// is not known. A new time alone is not recorded as a change. The owner is told of NeedsReconnect.
func (s *Store) setStateUntil(
	ctx context.Context, row stored, to State, cause Cause, status int, retryAt *time.Time,
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		moved, err := setStateTx(ctx, tx, row, to, cause, status, retryAt)
		if err != nil || !moved || to != NeedsReconnect || s.accounts == nil {
			return err
		}
		facts := mail.Facts{"provider": row.provider, "cause": string(cause)}
		return s.accounts.Notify(auth.WithOrigin(ctx, auth.Origin{}), tx, row.userID, mail.NeedsReconnect, facts)
	})
	if err != nil {
		return fmt.Errorf("connection: note that identity %d is in %s: %w", row.identityID, to, err)
	}
	return nil
}

// setStateTx reports whether the state was changed.
func setStateTx(
	ctx context.Context, tx pgx.Tx, row stored, to State, cause Cause, status int, retryAt *time.Time,
) (moved bool, err error) {
	tag, err := tx.Exec(ctx, `
		WITH owner AS MATERIALIZED ( -- locked before the connection, because the event refers to it
			SELECT id FROM cairn.users WHERE id = $8 FOR KEY SHARE
		), moved AS (
			UPDATE cairn.connections SET state = $3, cause = $4, retry_at = $7,
				state_since = CASE WHEN state <> $3 OR state <> 'active' AND cause <> $4 THEN now() ELSE state_since END
			WHERE identity_id = $1 AND generation = $2 AND user_id = (SELECT id FROM owner)
			  AND (state <> $3 OR state <> 'active' AND cause <> $4 OR retry_at IS DISTINCT FROM $7)
			RETURNING user_id, provider, state_since
		)
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, status, reference)
		SELECT user_id, provider, $3, $4, $5, $6 FROM moved WHERE state_since = now()`,
		row.identityID, row.generation, to, cause, status, reference(ctx), retryAt, row.userID)
	return tag.RowsAffected() > 0, err
}

// record stores what happened to a person's connection.
func record(ctx context.Context, tx pgx.Tx, userID int64, provider string, state State, cause Cause) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference) VALUES ($1, $2, $3, $4, $5)`,
		userID, provider, state, cause, reference(ctx))
	if err != nil {
		return fmt.Errorf("connection: note that %s is %s: %w", provider, cause, err)
	}
	return nil
}

// Tally is how many connections to a provider are in a state.
type Tally struct {
	Provider string
	State    State
	N        int
}

// Count counts all connections by provider and state. It is for operators.
func Count(ctx context.Context, pool *pgxpool.Pool) ([]Tally, error) {
	rows, err := pool.Query(ctx, `
		SELECT provider, state, count(*)::int FROM cairn.connections GROUP BY provider, state ORDER BY provider, state`)
	if err != nil {
		return nil, fmt.Errorf("connection: count connections: %w", err)
	}
	tallies, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Tally])
	if err != nil {
		return nil, fmt.Errorf("connection: count connections: %w", err)
	}
	return tallies, nil
}
