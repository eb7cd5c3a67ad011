package connection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/auth"
)

// Notice says that a connection is in NeedsReconnect, which only its owner can mend, and that the
// owner has not been told yet.
type Notice struct {
	IdentityID int64
	UserID     int64
	Provider   string
	Cause      Cause
	Since      time.Time    // together with IdentityID it names one break
	Owner      auth.Contact // with an e-mail address
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

// unnoticed are the connections to providers ($1) that need their owner, who has had no notice.
const unnoticed = `
	FROM cairn.connections
	WHERE state = 'needs_reconnect' AND noticed_since IS DISTINCT FROM state_since AND provider = ANY($1)`

// Notices calls show with every notice about connections to these providers whose owner has an e-mail address. Nothing
// is marked. It reads one at a time, so that no one gets a notice of what they have mended meanwhile. An error of show
// ends it.
func Notices(ctx context.Context, pool *pgxpool.Pool, providers []string, show func(Notice) error) error {
	var n Notice
	for {
		err := pool.QueryRow(ctx, `
			SELECT identity_id, user_id, provider, cause, state_since`+unnoticed+`
			AND identity_id > $2 ORDER BY identity_id LIMIT 1`, providers, n.IdentityID).
			Scan(&n.IdentityID, &n.UserID, &n.Provider, &n.Cause, &n.Since)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("connection: read notices: %w", err)
		}
		if n.Owner, err = auth.ContactOf(ctx, pool, n.UserID); err != nil {
			return fmt.Errorf("connection: read notices: %w", err)
		}
		if n.Owner.Email == "" {
			continue
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

// Unreachable counts the connections that need their owner, who has no e-mail address.
func Unreachable(ctx context.Context, pool *pgxpool.Pool, providers []string) (n int, err error) {
	rows, _ := pool.Query(ctx, `SELECT user_id`+unnoticed, providers) // CollectRows returns its error
	owners, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err == nil {
		n, err = auth.CountWithoutEmail(ctx, pool, owners)
	}
	if err != nil {
		return 0, fmt.Errorf("connection: count notices without an address: %w", err)
	}
	return n, nil
}
