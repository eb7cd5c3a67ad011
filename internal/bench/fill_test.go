package bench

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/jackc/pgx/v5"
)

// cookies is how many different sessions the requests use.
const cookies = 10_000

// fill makes n people, each with a session that expires after the interval expiry. The sessions are an hour old: just
// after a sign-in, home asks whether to offer a passkey.
func fill(b *testing.B, address string, n int, expiry string) {
	b.Helper()
	pool := connect(b, address)
	execute(b, address, `
		INSERT INTO cairn.users (display_name) SELECT 'Person ' || i FROM generate_series(1, $1) AS i`, n)
	ends := scalar[time.Time](b, pool, `SELECT now() + $1::interval`, expiry)
	began := scalar[time.Time](b, pool, `SELECT now() - interval '1 hour'`)
	firefox := "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	rows := pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		return []any{hashed(token(i)), []byte("{}"), began, ends, int64(i + 1), "password", "192.0.2.1", firefox}, nil
	})
	columns := []string{"token", "data", "created", "expiry", "user_id", "method", "address", "user_agent"}
	if _, err := pool.CopyFrom(b.Context(), pgx.Identifier{"cairn", "sessions"}, columns, rows); err != nil {
		b.Fatal(err)
	}
	execute(b, address, `VACUUM ANALYZE`)
}

// fillStock makes n sessions as scs and pgxstore write them.
func fillStock(b *testing.B, address string, n int) {
	b.Helper()
	execute(b, address, `
		CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL)`)
	execute(b, address, `CREATE INDEX sessions_expiry_idx ON sessions (expiry)`)
	pool := connect(b, address)
	ends := scalar[time.Time](b, pool, `SELECT now() + interval '30 days'`)
	rows := pgx.CopyFromSlice(n, func(i int) ([]any, error) {
		data, err := scs.GobCodec{}.Encode(ends, map[string]any{"id": int64(i + 1), "name": fmt.Sprint("Person ", i+1)})
		return []any{token(i), data, ends}, err
	})
	columns := []string{"token", "data", "expiry"}
	if _, err := pool.CopyFrom(b.Context(), pgx.Identifier{"sessions"}, columns, rows); err != nil {
		b.Fatal(err)
	}
	execute(b, address, `VACUUM ANALYZE`)
}

// signedIn returns requests for a path with cookies of random sessions among the first n.
func signedIn(path string, n int) [][]byte {
	requests := make([][]byte, cookies)
	for i := range requests {
		requests[i] = getWith(path, token(rand.N(n)))
	}
	return requests
}
