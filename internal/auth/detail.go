package auth

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// Detail is an account, with what else its owner sees of it.
type Detail struct {
	Account
	Trusted []TrustedBrowser // the most recently used first
	Undos   []Undo           // by what the session has proven
	Events  []Event          // of the last 90 days, the newest first
}

// Detail returns an account in detail, with that many events, read in one round trip: the database may be far away.
// proven is what the session has proven. Errors: ErrNotFound.
func (a *Accounts) Detail(ctx context.Context, userID int64, proven Factors, events int) (d Detail, err error) {
	var batch pgx.Batch
	account := a.queueAccount(&batch, userID)
	batch.Queue(selectTrusted, userID).Query(collectInto(&d.Trusted))
	batch.Queue(selectUndos, userID, proven.Began, proven.Code, undoneBefore).Query(collectInto(&d.Undos))
	batch.Queue(selectEvents, userID, eventLife, events).Query(collectInto(&d.Events))
	d.Account, err = account(a.pool.SendBatch(ctx, &batch).Close())
	return d, err
}

// collectInto reads rows into a slice, by position.
func collectInto[T any](all *[]T) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*all, err = pgx.CollectRows(rows, pgx.RowToStructByPos[T])
		return err
	}
}
