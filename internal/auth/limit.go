package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/db"
)

// LimitError says that a rate limit is exceeded, and when the action is allowed again.
type LimitError struct {
	Limit      string // its name
	RetryAfter time.Duration
}

func (e *LimitError) Error() string { return "auth: rate limit exceeded (" + e.Limit + ")" }

// Allow counts one action and returns a *LimitError if a limit is exceeded. The counts go from narrow to wide: after
// one that refuses, the others are not counted, so that a client that goes on does not use up a limit that it shares.
// One statement counts and decides, so that parallel actions on many instances can't slip through.
func (a *Accounts) Allow(ctx context.Context, counts ...Count) error {
	return a.allow(ctx, a.pool, counts)
}

// database is the pool, or a transaction.
type database interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func (a *Accounts) allow(ctx context.Context, on database, counts []Count) error {
	counters := a.counters(counts)
	var args []any
	for _, c := range counters {
		args = append(args, c.bucket, c.max, c.window)
	}
	return a.refusal(counters, on.QueryRow(ctx, countStatement(len(counters)), args...))
}

// StillAllowed returns what Allow would return, and counts nothing. It is for the first step of an action whose last
// step is counted.
func (a *Accounts) StillAllowed(ctx context.Context, counts ...Count) error {
	counters := a.counters(counts)
	var buckets []string
	var limits []int
	for _, c := range counters {
		buckets, limits = append(buckets, c.bucket), append(limits, c.max)
	}
	return a.refusal(counters, a.pool.QueryRow(ctx, `
		SELECT w.index - 1, EXTRACT(epoch FROM r.resets_at - now())::float8 AS wait
		FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS w (bucket, max, index)
		JOIN cairn.rate_limits r USING (bucket)
		WHERE r.hits >= w.max AND r.resets_at > now() ORDER BY wait DESC LIMIT 1`, buckets, limits))
}

// counter is one row of cairn.rate_limits.
type counter struct {
	name, bucket string
	max          int
	window       time.Duration
}

func (a *Accounts) counters(counts []Count) (all []counter) {
	for _, c := range counts {
		for _, s := range c.subjects {
			all = append(all, counter{c.limit.Name, a.bucket(c.limit, s), s.max, c.limit.Window})
		}
	}
	return all
}

// refusal reads the index of the counter that refused, and the seconds until its window ends. No row means that none
// did.
func (a *Accounts) refusal(counters []counter, row pgx.Row) error {
	var index int
	var seconds float64
	err := row.Scan(&index, &seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("auth: count %s: %w", counters[0].name, err)
	}
	name := counters[index].name
	if a.refused != nil {
		a.refused(name)
	}
	return &LimitError{Limit: name, RetryAfter: time.Duration(seconds * float64(time.Second))}
}

// countStatement increments n counters, each only if the one before it allowed the action. It returns the index of the
// counter that refused, with the seconds until its window ends (the longest, if several refuse). If a counter is
// exhausted already, none is incremented: otherwise a network that goes on would leave a row for each e-mail that it
// tries. Counters of one kind are locked before those of the next, so that there is no deadlock.
func countStatement(n int) string {
	var with, refused, given []string
	source := `WHERE NOT EXISTS (SELECT FROM exhausted)`
	for i := range n {
		given = append(given, fmt.Sprintf(`(%d, $%d::text, $%d::int)`, i, 3*i+1, 3*i+2))
		with = append(with, fmt.Sprintf(`c%d AS (
			INSERT INTO cairn.rate_limits AS r (bucket, hits, resets_at)
			SELECT $%d::text, 1, now() + $%d::interval %s
			ON CONFLICT (bucket) DO UPDATE SET
				hits = CASE WHEN r.resets_at <= now() THEN 1 ELSE LEAST(r.hits, 1000000) + 1 END,
				resets_at = CASE WHEN r.resets_at <= now() THEN EXCLUDED.resets_at ELSE r.resets_at END
			RETURNING hits <= $%d::int AS allowed, EXTRACT(epoch FROM resets_at - now())::float8 AS wait)`,
			i, 3*i+1, 3*i+3, source, 3*i+2))
		refused = append(refused, fmt.Sprintf(`SELECT %d, wait FROM c%d WHERE NOT allowed`, i, i))
		source = fmt.Sprintf(`FROM c%d WHERE allowed`, i)
	}
	return `WITH exhausted AS (
			SELECT index, EXTRACT(epoch FROM resets_at - now())::float8 AS wait
			FROM (VALUES ` + strings.Join(given, ", ") + `) AS given (index, bucket, max)
			JOIN cairn.rate_limits USING (bucket)
			WHERE resets_at > now() AND hits >= max
		), ` + strings.Join(with, ", ") + `
		SELECT index, wait FROM exhausted UNION ALL ` + strings.Join(refused, " UNION ALL ") + `
		ORDER BY wait DESC LIMIT 1`
}

// Reset deletes the counters of an action that has succeeded. It locks them in the order of Allow.
func (a *Accounts) Reset(ctx context.Context, counts ...Count) error {
	var buckets []string
	for _, c := range a.counters(counts) {
		buckets = append(buckets, c.bucket)
	}
	_, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.rate_limits WHERE bucket IN (
			SELECT r.bucket FROM unnest($1::text[]) WITH ORDINALITY AS w (bucket, index)
			JOIN cairn.rate_limits r USING (bucket) ORDER BY w.index FOR UPDATE OF r)`, buckets)
	if err != nil {
		return fmt.Errorf("auth: reset counters: %w", err)
	}
	return nil
}

// Sweep deletes one batch of counters whose window has ended, and reports whether more may be left.
func (a *Accounts) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.rate_limits WHERE bucket IN (
			SELECT bucket FROM cairn.rate_limits WHERE resets_at < now()
			ORDER BY resets_at LIMIT $1 FOR UPDATE SKIP LOCKED)`, db.Batch)
	if err != nil {
		return false, fmt.Errorf("auth: sweep: %w", err)
	}
	return tag.RowsAffected() == db.Batch, nil
}

// bucket returns the name of a counter. It is a keyed hash, because a plain one of an address can be guessed.
func (a *Accounts) bucket(l Limit, s subject) string {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(l.Name + "\x00" + s.name))
	return l.Name + " " + hex.EncodeToString(mac.Sum(nil)[:16])
}
