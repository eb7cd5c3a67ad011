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
)

// LimitError says that an action was tried too often, and when it may be tried again.
type LimitError struct {
	Limit      string // its name
	RetryAfter time.Duration
}

func (e *LimitError) Error() string { return "auth: tried too often (" + e.Limit + ")" }

// Allow counts one action in one statement, and returns a *LimitError when it is one too many. The counts go from
// narrow to wide: where one refuses, those after it are not counted, so that somebody who goes on after a refusal does
// not use up what others have too. Counting and deciding are one, so parallel tries on many instances cannot slip
// through between them.
func (a *Accounts) Allow(ctx context.Context, counts ...Count) error {
	counters := a.counters(counts)
	var args []any
	for _, c := range counters {
		args = append(args, c.bucket, c.hits, c.window)
	}
	return a.refusal(counters, a.pool.QueryRow(ctx, countStatement(len(counters)), args...))
}

// StillAllowed is what Allow would say, and counts nothing: for the first step of something whose last one is limited.
func (a *Accounts) StillAllowed(ctx context.Context, counts ...Count) error {
	counters := a.counters(counts)
	var buckets []string
	var hits []int
	for _, c := range counters {
		buckets, hits = append(buckets, c.bucket), append(hits, c.hits)
	}
	return a.refusal(counters, a.pool.QueryRow(ctx, `
		SELECT w.place - 1, EXTRACT(epoch FROM r.resets_at - now())::float8 AS wait
		FROM unnest($1::text[], $2::int[]) WITH ORDINALITY AS w (bucket, hits, place)
		JOIN cairn.rate_limits r USING (bucket)
		WHERE r.hits >= w.hits AND r.resets_at > now() ORDER BY wait DESC LIMIT 1`, buckets, hits))
}

// counter is one row of a count.
type counter struct {
	name, bucket string
	hits         int
	window       time.Duration
}

func (a *Accounts) counters(counts []Count) (all []counter) {
	for _, c := range counts {
		for _, s := range c.who {
			all = append(all, counter{c.limit.Name, a.bucket(c.limit, s), s.hits, c.limit.Window})
		}
	}
	return all
}

// refusal makes an error of the place of the counter that refused, and the seconds until its window ends; no row: none
// did.
func (a *Accounts) refusal(counters []counter, row pgx.Row) error {
	var place int
	var seconds float64
	err := row.Scan(&place, &seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("auth: count %s: %w", counters[0].name, err)
	}
	name := counters[place].name
	if a.refused != nil {
		a.refused(name)
	}
	return &LimitError{Limit: name, RetryAfter: time.Duration(seconds * float64(time.Second))}
}

// countStatement increments n counters, each only if the one before it allowed the action, and returns the place of the
// one that did not, with the seconds until its window ends (the longest, of several). Where one is used up already
// nothing is counted: a network that goes on after a refusal would leave a row for each e-mail that it tries. Counters
// of one kind are locked before those of the next, so that two of these statements do not wait for each other.
func countStatement(n int) string {
	var with, refused, given []string
	source := `WHERE NOT EXISTS (SELECT FROM spent)`
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
	return `WITH spent AS (
			SELECT place, EXTRACT(epoch FROM resets_at - now())::float8 AS wait
			FROM (VALUES ` + strings.Join(given, ", ") + `) AS given (place, bucket, most)
			JOIN cairn.rate_limits USING (bucket)
			WHERE resets_at > now() AND hits >= most
		), ` + strings.Join(with, ", ") + `
		SELECT place, wait FROM spent UNION ALL ` + strings.Join(refused, " UNION ALL ") + `
		ORDER BY wait DESC LIMIT 1`
}

// Forgive forgets counts of an action that has succeeded. They go in the order of Allow, so that none waits for
// another.
func (a *Accounts) Forgive(ctx context.Context, counts ...Count) error {
	var buckets []string
	for _, c := range a.counters(counts) {
		buckets = append(buckets, c.bucket)
	}
	_, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.rate_limits WHERE bucket IN (
			SELECT r.bucket FROM unnest($1::text[]) WITH ORDINALITY AS w (bucket, place)
			JOIN cairn.rate_limits r USING (bucket) ORDER BY w.place FOR UPDATE OF r)`, buckets)
	if err != nil {
		return fmt.Errorf("auth: forgive: %w", err)
	}
	return nil
}

// Sweep deletes one batch of counters that are over and reports whether more may be left.
func (a *Accounts) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.rate_limits WHERE bucket IN (
			SELECT bucket FROM cairn.rate_limits WHERE resets_at < now()
			ORDER BY resets_at LIMIT 500 FOR UPDATE SKIP LOCKED)`)
	if err != nil {
		return false, fmt.Errorf("auth: sweep: %w", err)
	}
	return tag.RowsAffected() == 500, nil
}

// bucket names a counter. It is keyed, because there are too few addresses for a plain hash to hide one.
func (a *Accounts) bucket(l Limit, s subject) string {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(l.Name + "\x00" + s.name))
	return l.Name + " " + hex.EncodeToString(mac.Sum(nil)[:16])
}
