package sandbox

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

//go:embed assets/schema.sql
var schema string

// schemaLock keeps instances that start together from making the schema at once: IF NOT EXISTS alone races.
const schemaLock = 0x6361_6972_6e73_6278 // "cairnsbx"

const codeLife = 5 * time.Minute

// ErrNoGrant means that the grant was never given or has been revoked.
var ErrNoGrant = errors.New("sandbox: no such grant")

type store struct{ pool *pgxpool.Pool }

// Grant is one person's consent at one provider. It ends when it is revoked; consenting again replaces Permissions.
type Grant struct {
	ID          int64
	Provider    string
	Person      string   // "ada", as in the consent form
	Permissions []string // Strava's scopes or Garmin's permissions
	GrantedAt   time.Time
}

func (s store) setUp(ctx context.Context) error {
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(schemaLock)); err != nil {
			return fmt.Errorf("sandbox: wait for the schema lock: %w", err)
		}
		if _, err := tx.Exec(ctx, schema); err != nil {
			return fmt.Errorf("sandbox: make the schema: %w", err)
		}
		_, err := tx.Exec(ctx, `
			WITH codes AS (DELETE FROM cairn_sandbox.codes WHERE expires_at < now()),
			     tokens AS (DELETE FROM cairn_sandbox.tokens WHERE expires_at < now() - interval '7 days'),
			     deliveries AS (DELETE FROM cairn_sandbox.deliveries WHERE sent_at < now() - interval '7 days'),
			     requests AS (DELETE FROM cairn_sandbox.requests WHERE requested_at < now() - interval '30 days')
			DELETE FROM cairn_sandbox.quota_use WHERE quarter < now() - interval '2 days'`)
		if err != nil {
			return fmt.Errorf("sandbox: delete old rows: %w", err)
		}
		return nil
	})
}

// allow records the consent and its code.
func (s store) allow(ctx context.Context, c consent, person string, permissions []string) error {
	_, err := s.pool.Exec(ctx, `
		WITH g AS (
			INSERT INTO cairn_sandbox.grants (provider, person, permissions)
			VALUES ($1, $2, $3)
			ON CONFLICT (provider, person) DO UPDATE SET permissions = EXCLUDED.permissions, granted_at = now()
			RETURNING id)
		INSERT INTO cairn_sandbox.codes (hash, grant_id, redirect_uri, challenge, expires_at)
		SELECT $4, g.id, $5, $6, now() + make_interval(secs => $7) FROM g`,
		c.provider, person, permissions, hashOf(c.code), c.redirectURI, c.challenge, codeLife.Seconds())
	if err != nil {
		return fmt.Errorf("sandbox: record consent: %w", err)
	}
	return nil
}

// consumedCode is a code that was just deleted; it may have expired.
type consumedCode struct {
	Grant
	RedirectURI string
	Challenge   string
	Fresh       bool
}

// consumeCode deletes the code, so that of several requests with it one at most succeeds.
func (s store) consumeCode(ctx context.Context, provider, code string) (consumedCode, bool, error) {
	return oneRow[consumedCode](ctx, s, "consume code", `
		DELETE FROM cairn_sandbox.codes c
		USING cairn_sandbox.grants g
		WHERE c.hash = $1 AND g.id = c.grant_id AND g.provider = $2
		RETURNING g.id, g.provider, g.person, g.permissions, g.granted_at,
			c.redirect_uri, c.challenge, c.expires_at > now() AS fresh`,
		hashOf(code), provider)
}

// Grants lists the grants at the provider, newest first.
func (s store) Grants(ctx context.Context, provider string) ([]Grant, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT id, provider, person, permissions, granted_at
		FROM cairn_sandbox.grants WHERE provider = $1
		ORDER BY granted_at DESC, id DESC`, provider) // CollectRows returns its error
	grants, err := pgx.CollectRows(rows, pgx.RowToStructByName[Grant])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list grants: %w", err)
	}
	return grants, nil
}

// grantOf returns the person's grant at the provider.
func (s store) grantOf(ctx context.Context, provider, person string) (Grant, bool, error) {
	return oneRow[Grant](ctx, s, "find grant", `
		SELECT id, provider, person, permissions, granted_at
		FROM cairn_sandbox.grants WHERE provider = $1 AND person = $2`, provider, person)
}

// recordRequest counts a request, whether it succeeds or fails.
func (s store) recordRequest(ctx context.Context, provider, call string) error {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.requests (provider, call) VALUES ($1, $2)`, provider, call)
	if err != nil {
		return fmt.Errorf("sandbox: record request: %w", err)
	}
	return nil
}

// Requests returns how many requests the provider has had in the last 30 days, failed ones included, by call: Exchange,
// Refresh, UserInfo and so on, with Elsewhere and Other.
func (s store) Requests(ctx context.Context, provider string) (map[string]int, error) {
	counts := map[string]int{}
	rows, _ := s.pool.Query(ctx, `
		SELECT call, count(*) FROM cairn_sandbox.requests
		WHERE provider = $1 GROUP BY call`, provider)
	var call string
	var n int
	_, err := pgx.ForEachRow(rows, []any{&call, &n}, func() error {
		counts[call] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: count requests: %w", err)
	}
	return counts, nil
}

// TokenRequests returns how many requests there were to the provider's token endpoint by grant type:
// "authorization_code" and "refresh_token".
func (s store) TokenRequests(ctx context.Context, provider string) (map[string]int, error) {
	requests, err := s.Requests(ctx, provider)
	return map[string]int{"authorization_code": requests[Exchange], "refresh_token": requests[Refresh]}, err
}

// oneRow reads a row that may be missing.
func oneRow[T any](ctx context.Context, s store, what, sql string, args ...any) (row T, found bool, err error) {
	rows, _ := s.pool.Query(ctx, sql, args...)
	row, err = pgx.CollectOneRow(rows, pgx.RowToStructByName[T])
	if errors.Is(err, pgx.ErrNoRows) {
		return row, false, nil
	}
	if err != nil {
		return row, false, fmt.Errorf("sandbox: %s: %w", what, err)
	}
	return row, true, nil
}
