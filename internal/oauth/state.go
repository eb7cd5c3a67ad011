package oauth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// State is how a connection is, by its last real result.
//
//	        Connect
//	           │
//	           ▼      no usable answer, too many requests
//	        active ◄────────────────────► trouble
//	         ▲  │     our application is refused, or its day's quota is spent
//	         │  ├───────────────────────► paused
//	         │  │     the newest tokens are refused, or a fresh one, or are damaged here
//	Connect  │  └───────────────────────► needs reconnect
//	         └────────────────────────────────┘
//
// Disconnecting leads from each of these to withdrawing, until the provider has confirmed that it
// forgets us, and then to ended. Where a provider can't be told, it leads to ended at once.
//
// Trouble and paused may know when the provider can be asked again (Connection.RetryAt); nobody asks it before.
//
// A usable answer leads back from trouble and paused; only the owner can lead back from needs
// reconnect. Whether a connection is limited is not a state: that follows from the granted
// permissions (Provider.Missing).
type State string

// States, as they stand in cairn.connections and cairn.connection_events.
const (
	Active         State = "active"
	Trouble        State = "trouble"
	Paused         State = "paused"
	NeedsReconnect State = "needs_reconnect"
	Withdrawing    State = "withdrawing" // in events only, as it is no connection any more
	Ended          State = "ended"       // likewise
)

// Cause is why a connection came into its state.
type Cause string

// Causes. The first three belong to Active, NoAnswer to SlowDown to Trouble.
const (
	Connected      Cause = "connected"
	Reconnected    Cause = "reconnected"
	Works          Cause = "works" // it answered again
	NoAnswer       Cause = "no_answer"
	BadAnswer      Cause = "bad_answer"
	SlowDown       Cause = "slow_down"
	AppRefused     Cause = "app_refused"     // Paused
	AthleteLimit   Cause = "athlete_limit"   // Paused: our application has as many people as it may
	QuotaSpent     Cause = "quota_spent"     // Paused, until the next day
	RefreshRefused Cause = "refresh_refused" // NeedsReconnect
	AccessRefused  Cause = "access_refused"  // NeedsReconnect
	Damaged        Cause = "damaged"         // NeedsReconnect: no key opens the tokens
	Disconnected   Cause = "disconnected"    // Withdrawing, or Ended
	Told           Cause = "told"            // Ended: the provider confirmed
	NotTold        Cause = "not_told"        // Ended: it did not for days, or can't be told any more
)

// Event is one change of a connection's state.
type Event struct {
	At     time.Time
	State  State
	Cause  Cause
	Status int // the provider's HTTP status, 0 if it gave none
}

type referenceKey struct{}

// WithReference gives the id of the request that is served, for the history that its calls leave.
func WithReference(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, referenceKey{}, id)
}

func reference(ctx context.Context) string {
	id, _ := ctx.Value(referenceKey{}).(string)
	return id
}

// failed is the state that a failed call leaves a connection in. A refusal becomes NeedsReconnect only where the caller
// knows that it is definite.
func failed(failure *Error) (State, Cause, int) {
	switch {
	case errors.Is(failure, ErrQuotaSpent):
		return Paused, QuotaSpent, failure.Status
	case errors.Is(failure, ErrRateLimited):
		return Trouble, SlowDown, failure.Status
	case failure.TooManyPeople():
		return Paused, AthleteLimit, failure.Status
	case failure.AppRefused():
		return Paused, AppRefused, failure.Status
	case failure.Status == 0:
		return Trouble, NoAnswer, 0
	}
	return Trouble, BadAnswer, failure.Status
}

// stumbled notes what a failed call says about the connection, and returns err together with any
// error of its own. The call says nothing if the person left, if the failure is our own, or if
// background work was to let people go first.
func (s *Store) stumbled(ctx context.Context, row stored, err error) error {
	failure, ok := errors.AsType[*Error](err)
	if !ok || errors.Is(ctx.Err(), context.Canceled) || failure.unsent && shareOf(ctx) == background {
		return err
	}
	state, cause, status := failed(failure)
	var retryAt *time.Time
	if !failure.Until.IsZero() {
		retryAt = &failure.Until
	}
	return errors.Join(err, s.moveUntil(ctx, row, state, cause, status, retryAt))
}

// move changes the state of the connection as it was read, and records the change. Nothing happens
// if the connection is in that state already, or was made anew or disconnected meanwhile. It
// finishes even if the browser has left.
func (s *Store) move(ctx context.Context, row stored, to State, cause Cause, status int) error {
	return s.moveUntil(ctx, row, to, cause, status, nil)
}

// moveUntil is move to a state in which the provider must not be asked before retryAt, nil if that
// is not known. A new time alone is not recorded as a change.
func (s *Store) moveUntil(
	ctx context.Context, row stored, to State, cause Cause, status int, retryAt *time.Time,
) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limits.Statement)
	defer cancel()
	_, err := s.pool.Exec(ctx, `
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
	if err != nil {
		return fmt.Errorf("oauth: note that identity %d is in %s: %w", row.identityID, to, err)
	}
	return nil
}

// tell writes down what happened to a person's connection in a transaction of its own making.
func tell(ctx context.Context, tx pgx.Tx, userID int64, provider string, state State, cause Cause) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.connection_events (user_id, provider, state, cause, reference) VALUES ($1, $2, $3, $4, $5)`,
		userID, provider, state, cause, reference(ctx))
	if err != nil {
		return fmt.Errorf("oauth: note that %s is %s: %w", provider, cause, err)
	}
	return nil
}

// Tally is how many connections to a provider are in a state.
type Tally struct {
	Provider string
	State    State
	N        int
}

// Count counts everybody's connections by provider and state. It is the operator's.
func (s *Store) Count(ctx context.Context) ([]Tally, error) {
	rows, err := s.pool.Query(ctx, `
		SELECT provider, state, count(*)::int FROM cairn.connections GROUP BY provider, state ORDER BY provider, state`)
	if err != nil {
		return nil, fmt.Errorf("oauth: count connections: %w", err)
	}
	tallies, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Tally])
	if err != nil {
		return nil, fmt.Errorf("oauth: count connections: %w", err)
	}
	return tallies, nil
}
