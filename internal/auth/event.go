package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
	"cairn/internal/mail"
	"cairn/internal/text"
)

// Event is something that happened to an account and that its owner should know.
type Event struct {
	Kind  mail.Kind
	Facts mail.Facts
	At    time.Time
}

const (
	eventLife = 90 * 24 * time.Hour
	maxEvents = 200 // that an account has: the newest
)

// Origin is where a request comes from. What it leads to has it among its facts.
type Origin struct {
	Address   string // of the client
	UserAgent string // as the browser sent it
	Operator  bool   // it is no request, but an act of the operator
}

type originKey struct{}

// WithOrigin adds where a request comes from. The zero Origin takes it away, for what no browser caused.
func WithOrigin(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// byOperator marks, as the fact "by", what an operator did.
const byOperator = "operator"

// origin returns the facts about where something comes from.
func origin(ctx context.Context) mail.Facts {
	o, _ := ctx.Value(originKey{}).(Origin)
	switch {
	case o.Operator:
		return mail.Facts{"by": byOperator}
	case o.Address != "":
		return mail.Facts{"address": o.Address, "agent": text.Clean(300, o.UserAgent)}
	}
	return mail.Facts{}
}

// Notify records an event, and mails it to the account's address if that is verified, in the transaction of its cause.
func (a *Accounts) Notify(ctx context.Context, tx pgx.Tx, userID int64, kind mail.Kind, facts mail.Facts) error {
	said := origin(ctx)
	maps.Copy(said, facts)
	if err := record(ctx, tx, userID, kind, said); err != nil {
		return err
	}
	return a.mailTo(ctx, tx, userID, kind, said)
}

// record records an event, and deletes the oldest if there are too many.
func record(ctx context.Context, tx pgx.Tx, userID int64, kind mail.Kind, facts mail.Facts) error {
	_, err := tx.Exec(ctx, `
		WITH old AS (
			DELETE FROM cairn.account_events WHERE id IN (
				SELECT id FROM cairn.account_events WHERE user_id = $1 ORDER BY id DESC OFFSET $4 - 1))
		INSERT INTO cairn.account_events (user_id, kind, facts) VALUES ($1, $2, $3)`, userID, kind, facts, maxEvents)
	if err != nil {
		return fmt.Errorf("auth: record what happened to user %d: %w", userID, err)
	}
	return nil
}

// mailTo mails what happened to the account's address if it is verified.
func (a *Accounts) mailTo(ctx context.Context, tx pgx.Tx, userID int64, kind mail.Kind, facts mail.Facts) error {
	d, err := a.draft(ctx, tx, userID, kind, facts)
	if err != nil || d.To == "" {
		return err
	}
	return a.mail.Put(ctx, tx, d)
}

// draft returns the message about what happened. Its To is "" if it is not to be sent: the address is not verified, or
// the account's owner does not want it.
func (a *Accounts) draft(
	ctx context.Context, tx pgx.Tx, userID int64, kind mail.Kind, facts mail.Facts,
) (mail.Draft, error) {
	if a.mail == nil {
		return mail.Draft{}, nil
	}
	var email, name, zone string
	var now time.Time
	err := tx.QueryRow(ctx, `
		SELECT e.email, u.display_name, COALESCE(u.time_zone, ''), now()
		FROM cairn.emails e JOIN cairn.users u ON u.id = e.user_id
		WHERE e.user_id = $1 AND e.verified_at IS NOT NULL AND ($2 OR $3 <> ALL (u.unwanted_mail))`,
		userID, !slices.Contains(mail.Optional, kind), string(kind)).Scan(&email, &name, &zone, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return mail.Draft{}, nil
	}
	if err != nil {
		return mail.Draft{}, fmt.Errorf("auth: find the address of user %d: %w", userID, err)
	}
	said := mail.Facts{"name": name, "zone": zone, "at": now.UTC().Format(time.RFC3339)}
	maps.Copy(said, facts)
	if kind == mail.AccountDeleted {
		userID = 0 // the message must not go with the account
	}
	return mail.Draft{UserID: userID, To: email, Kind: kind, Facts: said}, nil
}

// selectEvents reads the newest $3 events of the user $1 that are not older than $2.
const selectEvents = `
	SELECT kind, facts, at FROM cairn.account_events
	WHERE user_id = $1 AND at > now() - $2::interval
	ORDER BY id DESC LIMIT $3`

// Events returns what happened to an account in the last 90 days, the newest first.
func (a *Accounts) Events(ctx context.Context, userID int64, limit int) ([]Event, error) {
	rows, _ := a.pool.Query(ctx, selectEvents, userID, eventLife, limit) // CollectRows returns its error
	events, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Event])
	if err != nil {
		return nil, fmt.Errorf("auth: read what happened to user %d: %w", userID, err)
	}
	return events, nil
}

// SweepEvents deletes one batch of old events, and reports whether more may be left.
func (a *Accounts) SweepEvents(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.account_events WHERE id IN (
			SELECT id FROM cairn.account_events WHERE at < now() - $1::interval ORDER BY at LIMIT $2
			FOR UPDATE SKIP LOCKED)`, eventLife, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep events: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}
