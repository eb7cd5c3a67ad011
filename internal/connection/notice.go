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

// Notice is about a connection in NeedsReconnect whose owner has not been notified yet.
type Notice struct {
	IdentityID int64
	UserID     int64
	Provider   string
	Cause      Cause
	Since      time.Time // of this state
	Owner      auth.Contact
}

// ErrNotifying means that another process is handing notices over.
var ErrNotifying = errors.New("connection: notices are being handed over already")

// notifyLock is the advisory lock of the process that hands notices over: "notice" in ASCII.
const notifyLock = 0x6e6f74696365

// markTimeout is for marking a notice.
const markTimeout = 3 * time.Second

// Notify passes every notice to hand, and marks it as soon as hand returns. If hand fails, the notice is left for the
// next run. If the process is killed or loses the database in between, the current notice is handed over again; none is
// lost. Errors: ErrNotifying.
//
// Notify checks its lock before each notice, and stops if it has lost it. hand may take long: no row is locked.
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

// unnoticed selects the connections that notices are about; $1 are the providers.
const unnoticed = `
	FROM cairn.connections
	WHERE state = 'needs_reconnect' AND noticed_since IS DISTINCT FROM state_since AND provider = ANY($1)`

// noticeBatch is how many connections are listed at once.
const noticeBatch = 100

// Notices calls show with every notice about connections to these providers whose owner has an e-mail address, and
// marks none. Errors: the first one of show.
func Notices(ctx context.Context, pool *pgxpool.Pool, providers []string, show func(Notice) error) error {
	last := int64(0)
	for {
		batch, err := listNotices(ctx, pool, providers, last)
		if err != nil {
			return err
		}
		for _, n := range batch {
			if err := showStill(ctx, pool, n, show); err != nil {
				return err
			}
			last = n.IdentityID
		}
		if len(batch) < noticeBatch {
			return nil
		}
	}
}

// listNotices returns the next notices after the identity with the id last. An owner without an e-mail address has an
// empty contact.
func listNotices(ctx context.Context, pool *pgxpool.Pool, providers []string, last int64) ([]Notice, error) {
	rows, _ := pool.Query(ctx, // CollectRows returns its error
		`SELECT identity_id, user_id, provider, cause, state_since`+unnoticed+`
		AND identity_id > $2 ORDER BY identity_id LIMIT $3`, providers, last, noticeBatch)
	batch, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Notice, err error) {
		err = row.Scan(&n.IdentityID, &n.UserID, &n.Provider, &n.Cause, &n.Since)
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("connection: read notices: %w", err)
	}
	owners := make([]int64, len(batch))
	for i, n := range batch {
		owners[i] = n.UserID
	}
	contacts, err := auth.Contacts(ctx, pool, owners)
	if err != nil {
		return nil, fmt.Errorf("connection: read notices: %w", err)
	}
	for i, n := range batch {
		batch[i].Owner = contacts[n.UserID]
	}
	return batch, nil
}

// showStill shows a notice unless its owner can't be written to, or has connected again since it was listed.
func showStill(ctx context.Context, pool *pgxpool.Pool, n Notice, show func(Notice) error) error {
	if n.Owner.Email == "" {
		return nil
	}
	var due bool
	err := pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT`+unnoticed+` AND identity_id = $2 AND state_since = $3)`,
		[]string{n.Provider}, n.IdentityID, n.Since).Scan(&due)
	if err != nil {
		return fmt.Errorf("connection: read notices: %w", err)
	}
	if !due {
		return nil
	}
	return show(n)
}

// noticed marks a notice, even if the process is stopping. If the connection has changed state since, there is nothing
// to mark.
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

// Unreachable counts the connections in NeedsReconnect whose owners have no e-mail address here.
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
