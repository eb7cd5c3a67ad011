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
			     requests AS (DELETE FROM cairn_sandbox.token_requests WHERE requested_at < now() - interval '30 days')
			DELETE FROM cairn_sandbox.usage WHERE quarter < now() - interval '2 days'`)
		if err != nil {
			return fmt.Errorf("sandbox: clear what is long over: %w", err)
		}
		return nil
	})
}

// allow records the consent and the code that stands for it.
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

// spentCode is a code that has just been taken out; it may have been too old.
type spentCode struct {
	Grant
	RedirectURI string
	Challenge   string
	Fresh       bool
}

// spendCode takes the code out, so that of several attempts one at most gets it.
func (s store) spendCode(ctx context.Context, provider, code string) (spentCode, bool, error) {
	return oneRow[spentCode](ctx, s, "spend code", `
		DELETE FROM cairn_sandbox.codes c
		USING cairn_sandbox.grants g
		WHERE c.hash = $1 AND g.id = c.grant_id AND g.provider = $2
		RETURNING g.id, g.provider, g.person, g.permissions, g.granted_at,
			c.redirect_uri, c.challenge, c.expires_at > now() AS fresh`,
		hashOf(code), provider)
}

// Grants lists the consents in force at the provider, newest first.
func (s store) Grants(ctx context.Context, provider string) ([]Grant, error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT id, provider, person, permissions, granted_at
		FROM cairn_sandbox.grants WHERE provider = $1
		ORDER BY granted_at DESC, id DESC`, provider) // an error comes back from CollectRows
	grants, err := pgx.CollectRows(rows, pgx.RowToStructByName[Grant])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list grants: %w", err)
	}
	return grants, nil
}

// RevokeGrant is the person removing our app at the provider: the grant and all its tokens are gone.
func (s store) RevokeGrant(ctx context.Context, id int64) error {
	tag, err := s.pool.Exec(ctx, `DELETE FROM cairn_sandbox.grants WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("sandbox: revoke grant: %w", err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNoGrant
	}
	return nil
}

// recordTokenRequest counts a request to the token endpoint, whatever becomes of it.
func (s store) recordTokenRequest(ctx context.Context, provider, grantType string) error {
	if grantType != "authorization_code" && grantType != "refresh_token" {
		grantType = "other"
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.token_requests (provider, grant_type) VALUES ($1, $2)`, provider, grantType)
	if err != nil {
		return fmt.Errorf("sandbox: record token request: %w", err)
	}
	return nil
}

// TokenRequests counts the requests the provider's token endpoint has had in the last 30 days, refused ones
// included, by grant type: "authorization_code", "refresh_token", "other".
func (s store) TokenRequests(ctx context.Context, provider string) (map[string]int, error) {
	counts := map[string]int{}
	rows, _ := s.pool.Query(ctx, `
		SELECT grant_type, count(*) FROM cairn_sandbox.token_requests
		WHERE provider = $1 GROUP BY grant_type`, provider)
	var grantType string
	var n int
	_, err := pgx.ForEachRow(rows, []any{&grantType, &n}, func() error {
		counts[grantType] = n
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox: count token requests: %w", err)
	}
	return counts, nil
}

// usage is how many API calls a provider has had, this one included.
type usage struct{ Quarter, Hour, Day int }

// countCall counts one API call. Windows turn with the UTC clock, as Strava's do.
func (s store) countCall(ctx context.Context, provider string) (usage, error) {
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.usage (provider, quarter, calls)
		VALUES ($1, date_bin('15 minutes', now(), 'epoch'), 1)
		ON CONFLICT (provider, quarter) DO UPDATE SET calls = usage.calls + 1`, provider)
	if err != nil {
		return usage{}, fmt.Errorf("sandbox: count API call: %w", err)
	}
	used, _, err := oneRow[usage](ctx, s, "read usage", `
		SELECT coalesce(sum(calls) FILTER (WHERE quarter = date_bin('15 minutes', now(), 'epoch')), 0) AS quarter,
		       coalesce(sum(calls) FILTER (WHERE quarter >= date_bin('1 hour', now(), 'epoch')), 0) AS hour,
		       coalesce(sum(calls), 0) AS day
		FROM cairn_sandbox.usage
		WHERE provider = $1 AND quarter >= date_bin('1 day', now(), 'epoch')`, provider)
	return used, err
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
