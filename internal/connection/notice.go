package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
)

// Notice says that a connection is in NeedsReconnect, which only its owner can mend, and that the
// owner has not been told yet.
type Notice struct {
	IdentityID int64
	UserID     int64
	Provider   string
	Cause      Cause
	Since      time.Time // together with IdentityID it is of one break only
	Email      string    // of the owner, as they typed it: unproven
	TimeZone   string    // of the owner; "": not known
}

// ErrNotifying means that somebody else hands notices over.
var ErrNotifying = errors.New("connection: notices are being handed over already")

// notifyLock is the advisory lock of the process that hands notices over: "notice" in ASCII.
const notifyLock = 0x6e6f74696365

// markTimeout is for marking a notice.
const markTimeout = 3 * time.Second

// Notify has every notice handed over, and marks each at once. One for which hand fails is left for
// the next time. A process that is killed in between, or that loses the database, may have the one
// in hand handed over again; none is lost. Errors: ErrNotifying.
//
// The lock is looked at before each: when it is lost, nothing more is handed over. A hand may take
// its time, because no row is locked.
func Notify(ctx context.Context, pool *pgxpool.Pool, providers []string, hand func(Notice) error) error {
	lock := db.Lock{Key: notifyLock, Name: "cairn notices"}
	err := lock.Hold(ctx, pool, func(ctx context.Context, held func() error) error {
		return Notices(ctx, pool, providers, func(n Notice) error {
			if err := held(); err != nil {
				return err
			}
			if hand(n) != nil {
				return nil
			}
			return noticed(ctx, pool, n)
		})
	})
	if errors.Is(err, db.ErrLocked) {
		return ErrNotifying
	}
	return err
}

// unnoticed are the connections that need an owner who has not been told; p is that owner's way in by e-mail.
const unnoticed = `
	FROM cairn.connections c LEFT JOIN cairn.passwords p USING (user_id)
	WHERE c.state = 'needs_reconnect' AND c.noticed_since IS DISTINCT FROM c.state_since AND c.provider = ANY($1)`

// Notices shows every notice about connections to these providers to somebody. Nothing is marked.
// It reads one at a time, so that nobody is told of what they have mended meanwhile. Errors:
// show's, which end it.
func Notices(ctx context.Context, pool *pgxpool.Pool, providers []string, show func(Notice) error) error {
	var n Notice
	for {
		err := pool.QueryRow(ctx, `
			SELECT c.identity_id, c.user_id, c.provider, c.cause, c.state_since, p.email,
			       COALESCE((SELECT time_zone FROM cairn.users WHERE id = c.user_id), '')`+unnoticed+`
			AND p.email IS NOT NULL AND c.identity_id > $2 ORDER BY c.identity_id LIMIT 1`, providers, n.IdentityID).
			Scan(&n.IdentityID, &n.UserID, &n.Provider, &n.Cause, &n.Since, &n.Email, &n.TimeZone)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("connection: read notices: %w", err)
		}
		if err := show(n); err != nil {
			return err
		}
	}
}

// noticed marks a notice, also when the process that hands them over is to stop. If the connection
// has changed meanwhile, there is nothing to mark.
func noticed(ctx context.Context, pool *pgxpool.Pool, n Notice) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), markTimeout)
	defer cancel()
	_, err := pool.Exec(ctx, `
		UPDATE cairn.connections SET noticed_since = state_since
		WHERE identity_id = $1 AND state_since = $2`, n.IdentityID, n.Since)
	if err != nil {
		return fmt.Errorf("connection: mark the notice about identity %d, which was handed over and will be again: %w",
			n.IdentityID, err)
	}
	return nil
}

// Unreachable counts the connections that need owners of whom no e-mail address is known.
func Unreachable(ctx context.Context, pool *pgxpool.Pool, providers []string) (n int, err error) {
	if err := pool.QueryRow(ctx, `SELECT count(*)`+unnoticed+` AND p.email IS NULL`, providers).Scan(&n); err != nil {
		return 0, fmt.Errorf("connection: count notices without an address: %w", err)
	}
	return n, nil
}
