package auth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Contact is how to write to a user.
type Contact struct {
	Email    string // as they typed it: not verified; "": none is known
	TimeZone string // a name of the IANA database; "": not known
}

// ContactOf returns a user's contact. It is empty if the user is gone.
func ContactOf(ctx context.Context, pool *pgxpool.Pool, userID int64) (Contact, error) {
	rows, _ := pool.Query(ctx, `
		SELECT COALESCE(p.email, ''), COALESCE(u.time_zone, '')
		FROM cairn.users u LEFT JOIN cairn.passwords p ON p.user_id = u.id
		WHERE u.id = $1`, userID) // CollectRows returns its error
	contacts, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Contact])
	if err != nil {
		return Contact{}, fmt.Errorf("auth: read the contact of user %d: %w", userID, err)
	}
	if len(contacts) == 0 {
		return Contact{}, nil
	}
	return contacts[0], nil
}

// CountWithoutEmail counts the ids of users without an e-mail address. An id that stands twice counts twice.
func CountWithoutEmail(ctx context.Context, pool *pgxpool.Pool, userIDs []int64) (n int, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*) FROM unnest($1::bigint[]) AS t (user_id)
		WHERE NOT EXISTS (SELECT FROM cairn.passwords p WHERE p.user_id = t.user_id)`, userIDs).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("auth: count users without an e-mail address: %w", err)
	}
	return n, nil
}
