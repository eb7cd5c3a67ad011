package auth

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Contact is how to write to a user.
type Contact struct {
	Email    string // as they typed it: not verified
	TimeZone string // a name of the IANA database; "": not known
}

// Contacts returns the contacts of those of these users who have an e-mail address.
func Contacts(ctx context.Context, pool *pgxpool.Pool, userIDs []int64) (map[int64]Contact, error) {
	rows, _ := pool.Query(ctx, `
		SELECT u.id, e.email, COALESCE(u.time_zone, '')
		FROM cairn.users u JOIN cairn.emails e ON e.user_id = u.id
		WHERE u.id = ANY($1)`, userIDs) // ForEachRow returns its error
	contacts := map[int64]Contact{}
	var id int64
	var c Contact
	_, err := pgx.ForEachRow(rows, []any{&id, &c.Email, &c.TimeZone}, func() error { contacts[id] = c; return nil })
	if err != nil {
		return nil, fmt.Errorf("auth: read contacts: %w", err)
	}
	return contacts, nil
}

// CountWithoutEmail counts the ids of users without an e-mail address. An id that stands twice counts twice.
func CountWithoutEmail(ctx context.Context, pool *pgxpool.Pool, userIDs []int64) (n int, err error) {
	err = pool.QueryRow(ctx, `
		SELECT count(*) FROM unnest($1::bigint[]) AS t (user_id)
		WHERE NOT EXISTS (SELECT FROM cairn.emails e WHERE e.user_id = t.user_id)`, userIDs).Scan(&n)
	if err != nil {
		return 0, fmt.Errorf("auth: count users without an e-mail address: %w", err)
	}
	return n, nil
}
