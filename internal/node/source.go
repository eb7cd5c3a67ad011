package node

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// errNoUsers says that a database is not the Node server's.
var errNoUsers = errors.New("this database has no table public.users with the columns id, a number, and " +
	"foursquare_user_id: it is not the Node server's")

// source reads the users of the Node server.
type source struct {
	pool    *pgxpool.Pool
	columns string // of the SELECT, NULL for those that the table lacks
	athlete bool   // it has strava_athlete_id
}

// person is a row of public.users. Columns that are NULL or missing are empty.
type person struct {
	id                 int64
	foursquareID, name string
	avatarURL, link    string
	athleteID          int64
	sealed             map[string]string // by provider
}

// optional are the columns that a table may lack, in the order of person.
var optional = []string{
	"display_name", "avatar_url", "secret_token", "strava_athlete_id",
	"access_token_encrypted", "strava_oauth_tokens_encrypted", "garmin_oauth_tokens_encrypted",
}

// openSource looks at the table. Errors: errNoUsers.
func openSource(ctx context.Context, pool *pgxpool.Pool) (source, error) {
	rows, _ := pool.Query(ctx, `
		SELECT column_name::text FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = 'users'
		  AND (column_name <> 'id' OR data_type IN ('smallint', 'integer', 'bigint'))`) // CollectRows returns its error
	there, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return source{}, fmt.Errorf("node: look at public.users: %w", err)
	}
	if !slices.Contains(there, "id") || !slices.Contains(there, "foursquare_user_id") {
		return source{}, errNoUsers
	}
	columns := []string{"id::bigint", "COALESCE(foursquare_user_id::text, '')"}
	for _, name := range optional {
		switch {
		case name == "strava_athlete_id" && slices.Contains(there, name):
			columns = append(columns, "COALESCE(strava_athlete_id::bigint, 0)")
		case name == "strava_athlete_id":
			columns = append(columns, "0::bigint")
		case slices.Contains(there, name):
			columns = append(columns, "COALESCE("+name+"::text, '')")
		default:
			columns = append(columns, "''")
		}
	}
	return source{pool, strings.Join(columns, ", "), slices.Contains(there, "strava_athlete_id")}, nil
}

// batchSize is how many rows are read and imported at once.
const batchSize = 500

// changedSince is true for rows that a transaction wrote that was not over when a snapshot was taken; $1 is the oldest
// such transaction, 0 for all rows. Transactions have 32 bits in a row, so it compares how long ago they began. A row's
// own time of change would not do: the Node server does not keep it.
const changedSince = `($1::bigint = 0 OR age(xmin) <= age(($1::bigint & 4294967295)::text::xid))`

// read returns the next rows after the one with the id last, in the order of their ids.
func (s source) read(ctx context.Context, since, last int64, limit int) (people []person, err error) {
	err = readSnapshot(ctx, s.pool, batchTime, func(ctx context.Context, tx pgx.Tx) error {
		// In the order of the index: id alone would mean the result, and be sorted; a parameter might be a large limit.
		rows, _ := tx.Query(ctx, `
			SELECT `+s.columns+` FROM public.users WHERE `+changedSince+` AND id > $2
			ORDER BY users.id LIMIT `+strconv.Itoa(limit), since, last) // CollectRows returns its error
		people, err = pgx.CollectRows(rows, scanPerson)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node: read public.users: %w", err)
	}
	return people, nil
}

func scanPerson(row pgx.CollectableRow) (p person, err error) {
	var f, s, g string
	err = row.Scan(&p.id, &p.foursquareID, &p.name, &p.avatarURL, &p.link, &p.athleteID, &f, &s, &g)
	p.sealed = map[string]string{foursquare: f, strava: s, garmin: g}
	return p, err
}

// count returns how many rows read will return.
func (s source) count(ctx context.Context, since int64) (n int, err error) {
	err = readSnapshot(ctx, s.pool, batchTime, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT count(*) FROM public.users WHERE `+changedSince, since).Scan(&n)
	})
	if err != nil {
		return 0, fmt.Errorf("node: count public.users: %w", err)
	}
	return n, nil
}

// sharedAthletes returns the Strava accounts that several rows claim.
func (s source) sharedAthletes(ctx context.Context) (map[int64]bool, error) {
	shared := map[int64]bool{}
	if !s.athlete {
		return shared, nil
	}
	err := readSnapshot(ctx, s.pool, batchTime, func(ctx context.Context, tx pgx.Tx) error {
		rows, _ := tx.Query(ctx, `
			SELECT strava_athlete_id::bigint FROM public.users
			WHERE strava_athlete_id IS NOT NULL GROUP BY 1 HAVING count(*) > 1`) // ForEachRow returns its error
		var id int64
		_, err := pgx.ForEachRow(rows, []any{&id}, func() error { shared[id] = true; return nil })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("node: look for Strava accounts that several users share: %w", err)
	}
	return shared, nil
}

// snapshot returns the oldest transaction that is not over, for changedSince, and since itself if it still can be
// compared with: 0 if it is from another cluster, or so long ago that the 32 bits have come around.
func (s source) snapshot(ctx context.Context, since int64) (now, usable int64, err error) {
	err = s.pool.QueryRow(ctx, `
		SELECT oldest, CASE WHEN $1 BETWEEN oldest - 1000000000 AND oldest THEN $1 ELSE 0 END
		FROM (SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS oldest) s`, since).Scan(&now, &usable)
	if err != nil {
		return 0, 0, fmt.Errorf("node: look at the transactions of the source: %w", err)
	}
	return now, usable, nil
}

// newestSealed returns the sealed values of the newest rows.
func (s source) newestSealed(ctx context.Context) ([]string, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT value FROM public.users
		CROSS JOIN LATERAL (SELECT `+s.columns+`) AS row (i, account, name, picture, link, athlete, f, s, g)
		CROSS JOIN LATERAL unnest(ARRAY[f, s, g]) AS value
		WHERE value <> '' ORDER BY users.id DESC LIMIT $1`, sampled) // CollectRows returns its error
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

var linkShape = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)

// linkHash returns the hash of a private link's token as it is stored here; nil: it is no such token.
func linkHash(token string) []byte {
	if !linkShape.MatchString(token) {
		return nil
	}
	return digest(token)
}

// sourceName names a source in cairn.node_imports without its credentials.
func sourceName(from string) string {
	if from == "" {
		return "own"
	}
	return hex.EncodeToString(digest(from)[:8])
}
