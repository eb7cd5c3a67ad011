package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// signIn is a sign-in whose credential was proven.
type signIn struct {
	userID int64
	method string
	kept   bool // the session outlives the browser
}

// SignIn begins a session with a new token, in one transaction with prove, which proves the person's credential again
// and says whose it is. A session that this browser had ends there too. method is as in Session; a session that is
// not kept ends with the browser, and after 12 hours. Errors: prove's.
func (m *Manager) SignIn(
	ctx context.Context, method string, kept bool, prove func(context.Context, pgx.Tx) (userID int64, err error),
) error {
	rq := requestOf(ctx)
	return m.replaceToken(ctx, rq, kept, func(tx pgx.Tx) (write, error) {
		userID, err := prove(ctx, tx)
		return func(ctx context.Context, token string, data []byte) pgx.Row {
			return m.store.insert(ctx, tx, rq, signIn{userID, method, kept}, token, data)
		}, err
	})
}

// ChangeAccess changes who gets into the account of the signed-in person: in one transaction with change, this
// session gets a new token, and all others of the user end if endOthers says why. change returns the sign-in method
// that it removed, or "": a session that began by it is not recent any more. The session keeps its id, its age and so
// its absolute limit. Errors: change's; ErrNone, ErrEnded.
func (m *Manager) ChangeAccess(
	ctx context.Context, endOthers Reason, change func(context.Context, pgx.Tx) (removed string, err error),
) error {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ErrNone
	}
	return m.replaceToken(ctx, rq, rq.found.Kept, func(tx pgx.Tx) (write, error) {
		removed, err := change(ctx, tx)
		if err == nil && endOthers != "" {
			_, err = m.EndOthers(ctx, tx, rq.found.UserID, rq.found.ID, endOthers)
		}
		return func(ctx context.Context, token string, data []byte) pgx.Row {
			return m.store.rotate(ctx, tx, rq, removed, token, data)
		}, err
	})
}

// write stores a session's data under a new token, which comes hashed. The row says for how long the session may go on.
type write func(ctx context.Context, token string, data []byte) pgx.Row

// replaceToken saves the request's session under a new token, in one transaction with prepare, which says how.
func (m *Manager) replaceToken(
	ctx context.Context, rq *request, kept bool, prepare func(tx pgx.Tx) (write, error),
) error {
	// scs makes a new token where a context has no data of its own yet. The deadline is that of the request.
	fresh := context.WithValue(context.Background(), requestKey{}, rq)
	if end, limited := ctx.Deadline(); limited {
		var cancel context.CancelFunc
		fresh, cancel = context.WithDeadline(fresh, end)
		defer cancel()
	}
	data, err := m.scs.Load(fresh, "")
	if err != nil {
		return err
	}
	defer func() { rq.write = nil }()
	var token, stored string
	err = pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) error {
		write, err := prepare(tx)
		if err != nil {
			return err
		}
		rq.write = func(ctx context.Context, hash string, data []byte) pgx.Row {
			stored = hash
			return write(ctx, hash, data)
		}
		token, _, err = m.scs.Commit(data)
		return err
	})
	if err != nil {
		return err
	}
	rq.data, rq.token, rq.stored, rq.kept = data, token, stored, kept
	return nil
}

// StillLive fails unless the session of this request still stands, and keeps it until the transaction is over. It is
// for acts that a session allows and that leave it as it is. Errors: ErrNone, ErrEnded.
func (m *Manager) StillLive(ctx context.Context, tx pgx.Tx) error {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ErrNone
	}
	var live bool
	err := tx.QueryRow(ctx, `
		SELECT true FROM cairn.sessions WHERE token = $1 AND now() < expiry AND method_removed = $2 FOR SHARE`,
		rq.stored, rq.found.methodRemoved).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("session: look for it again: %w", err)
	}
	return nil
}
