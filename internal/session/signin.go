package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// SignIn says how a session begins.
type SignIn struct {
	Method     string // as in Session
	Persistent bool   // it outlives the browser; if not, it also ends after 12 hours
	TwoFactors bool   // the sign-in proved two
}

// SignIn begins a session with a new token, in one transaction with prove, which checks the credential again and
// returns its user. The session that this browser had ends in the same transaction. Errors: prove's.
func (m *Manager) SignIn(
	ctx context.Context, in SignIn, prove func(context.Context, pgx.Tx) (userID int64, err error),
) error {
	rq := requestOf(ctx)
	return m.replaceToken(ctx, rq, in.Persistent, func(tx pgx.Tx) (write, error) {
		userID, err := prove(ctx, tx)
		return func(ctx context.Context, token string, data []byte) pgx.Row {
			return m.store.insert(ctx, tx, rq, userID, in, token, data)
		}, err
	})
}

// ChangeAccess changes who can sign in to the account of the signed-in person. In one transaction with change, this
// session gets a new token, and all others of the user end if there is a reason, endOthers. change returns the sign-in
// method that it removed, or "": a session that began with that method is no longer recent. The session keeps its id,
// its age and so its absolute limit. Errors: change's; ErrNoSession, ErrEnded.
func (m *Manager) ChangeAccess(
	ctx context.Context, endOthers Reason, change func(context.Context, pgx.Tx) (removed string, err error),
) error {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ErrNoSession
	}
	return m.replaceToken(ctx, rq, rq.found.Persistent, func(tx pgx.Tx) (write, error) {
		removed, err := change(ctx, tx)
		if err == nil && endOthers != "" {
			_, err = m.EndOthers(ctx, tx, rq.found.UserID, rq.found.ID, endOthers)
		}
		return func(ctx context.Context, token string, data []byte) pgx.Row {
			return m.store.rotate(ctx, tx, rq, removed, token, data)
		}, err
	})
}

// NoteSecondFactor notes that this session has proven a second factor, in the transaction of ChangeAccess.
func (m *Manager) NoteSecondFactor(ctx context.Context, tx pgx.Tx) error {
	_, err := tx.Exec(ctx, `UPDATE cairn.sessions SET two_factors = true WHERE token = $1`, requestOf(ctx).stored)
	if err != nil {
		return fmt.Errorf("session: note a second factor: %w", err)
	}
	return nil
}

// oneLevel says that a session has proven as many factors as its account has.
const oneLevel = `(two_factors OR NOT EXISTS (SELECT FROM cairn.second_factors f WHERE f.user_id = sessions.user_id))`

// write stores a session's data under a new token, given by its hash. The row has the seconds until the session's
// absolute limit.
type write func(ctx context.Context, token string, data []byte) pgx.Row

// replaceToken saves the request's session under a new token, in one transaction with prepare, which returns how.
func (m *Manager) replaceToken(
	ctx context.Context, rq *request, persistent bool, prepare func(tx pgx.Tx) (write, error),
) error {
	// scs makes a new token for a context without data. The request's deadline holds.
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
	var token string
	err = pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) (err error) {
		if rq.write, err = prepare(tx); err != nil {
			return err
		}
		if token, _, err = m.scs.Commit(data); err != nil {
			return err
		}
		rq.theirs, err = m.mirror(ctx, tx, hashToken(token), "")
		return err
	})
	if err != nil {
		return err
	}
	rq.data, rq.stored = data, hashToken(token)
	rq.token.value, rq.token.persistent = token, persistent
	return nil
}

// StillLive checks in a transaction that the session of this request has not ended, and locks it. It is for what a
// session allows and leaves as it is. A session with one factor counts as ended if the account has got a second one
// since the request began: it may not be recent any more. Errors: ErrNoSession, ErrEnded.
func (m *Manager) StillLive(ctx context.Context, tx pgx.Tx) error {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ErrNoSession
	}
	var live bool
	err := tx.QueryRow(ctx, `
		SELECT true FROM cairn.sessions
		WHERE token = $1 AND now() < expiry AND method_removed = $2 AND ($3 OR `+oneLevel+`) FOR SHARE`,
		rq.stored, rq.found.methodRemoved, rq.found.needsTwo).Scan(&live)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("session: find it again: %w", err)
	}
	return nil
}
