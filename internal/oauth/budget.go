package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// share is how many percent of a budget may be used up when a call is sent. It depends on whom the call is for. What
// one share leaves is for those above it, so that neither background work nor people who press buttons keep others from
// signing in.
type share int

const (
	background share = 60  // work for which no person waits
	buttons    share = 80  // what a person asks about a connection
	signingIn  share = 100 // signing in and connecting
)

type shareKey struct{}

// InBackground marks work that no person waits for.
func InBackground(ctx context.Context) context.Context { return inShare(ctx, background) }

// ForPerson marks background work that a person waits for.
func ForPerson(ctx context.Context) context.Context { return inShare(ctx, buttons) }

// IsBackground reports whether work is marked by InBackground.
func IsBackground(ctx context.Context) bool { return shareOf(ctx) == background }

func inShare(ctx context.Context, s share) context.Context {
	return context.WithValue(ctx, shareKey{}, s)
}

func shareOf(ctx context.Context) share {
	if s, ok := ctx.Value(shareKey{}).(share); ok {
		return s
	}
	return buttons
}

// cost is what a call takes from the provider's quota.
type cost int

const (
	free        cost = iota // a refresh: token addresses have no quota of their own
	reservation             // an exchange does not count, but the call after it must be allowed
	single                  // a call to the API
)

// of returns how many calls are counted, and how many percent of a limit may be used up before; nil: limits don't
// matter.
func (c cost) of(ctx context.Context) (calls int, percent *int) {
	switch c {
	case single:
		calls = 1
	case free:
		return 0, nil
	}
	return calls, new(int(shareOf(ctx)))
}

// windows are the quarter hour and the day in which a call was counted, by their beginnings.
type windows struct{ quarter, day time.Time }

// reserveCall decides whether the provider $1 may be called now, and counts $2 calls if so. It may not be called while
// it wants no calls, nor once $3 percent of a limit are used up, of the quarter hour's or of the day's. Then until is
// when it may, otherwise NULL; day_spent says whether the day's limit is among the reasons. Without $3 limits don't
// matter. One that is not known doesn't either, and calls are counted once the quarter hour's is known.
//
// The clock is read under the budget's lock, so that no window opens twice, however many instances ask.
const reserveCall = `
	WITH locked AS MATERIALIZED (
		SELECT * FROM cairn.budgets WHERE provider = $1 FOR UPDATE
	), timed AS MATERIALIZED (
		SELECT *, clock_timestamp() AS at FROM locked
	), budget AS (
		SELECT at, paused_until, quarter_limit, day_limit,
		       quarter_limit * $3::int / 100 AS quarter_share, day_limit * $3::int / 100 AS day_share,
		       date_bin('15 minutes', at, 'epoch') AS quarter, date_bin('1 day', at, 'epoch') AS day,
		       CASE WHEN quarter = date_bin('15 minutes', at, 'epoch') THEN quarter_used ELSE 0 END AS quarter_used,
		       CASE WHEN day = date_bin('1 day', at, 'epoch') THEN day_used ELSE 0 END AS day_used
		FROM timed
	), verdict AS (
		SELECT *, COALESCE(day_used >= day_share, false) AS day_spent,
		       GREATEST(CASE WHEN paused_until > at THEN paused_until END,
		                CASE WHEN quarter_used >= quarter_share THEN quarter + interval '15 minutes' END,
		                CASE WHEN day_used >= day_share THEN day + interval '1 day' END) AS until
		FROM budget
	), counted AS (
		UPDATE cairn.budgets b
		SET quarter = v.quarter, quarter_used = v.quarter_used + $2, day = v.day, day_used = v.day_used + $2
		FROM verdict v
		WHERE b.provider = $1 AND v.until IS NULL AND v.quarter_limit IS NOT NULL
	)
	SELECT quarter, day, until, day_spent FROM verdict`

// reserve asks the budget for a call, and counts it. Errors: *Error with Until.
func (c *Caller) reserve(ctx context.Context, call string, cost cost) (windows, error) {
	if c.client.pool == nil {
		return windows{}, nil
	}
	calls, percent := cost.of(ctx)
	var w windows
	var until *time.Time
	var day bool
	err := c.client.pool.QueryRow(ctx, reserveCall, c.Key, calls, percent).Scan(&w.quarter, &w.day, &until, &day)
	if err != nil {
		return windows{}, fmt.Errorf("oauth: reserve a call to %s: %w", c.Key, err)
	}
	if until == nil {
		return w, nil
	}
	refusal := &Error{Provider: c.Key, Call: call, Kind: ErrRateLimited, Until: *until, Unsent: true}
	if day {
		refusal.Kind = ErrQuotaSpent
	}
	return windows{}, refusal
}

// update stores what an answer says about the quota, and for how long the provider wants no calls. It adds Until to an
// *Error. If the database can't store it, the answer is returned all the same: the next one says it again.
func (c *Caller) update(ctx context.Context, w windows, header http.Header, err error) error {
	failure, _ := errors.AsType[*Error](err)
	limit := c.rateLimit(header, failure)
	if c.client.pool == nil || limit == (RateLimit{}) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.client.limits.Statement)
	defer cancel()
	var until *time.Time
	var day, known bool
	if errors.Is(err, ErrPersonLimited) {
		known = c.client.pool.QueryRow(ctx, `SELECT now() + $1::interval`, limit.Wait).Scan(&until) == nil
	} else {
		known = c.store(ctx, w, limit).Scan(&until, &day) == nil
	}
	if known && until != nil && failure != nil && (limit.Wait != nil || errors.Is(err, ErrRateLimited)) {
		failure.Until = *until
		if day && errors.Is(err, ErrRateLimited) {
			failure.Kind = ErrQuotaSpent
		}
	}
	return err
}

// store stores a rate limit. It ignores what is about a window that has ended, and never lowers a count within a
// window: answers come in any order, and calls under way are counted already.
func (c *Caller) store(ctx context.Context, w windows, limit RateLimit) pgx.Row {
	return c.client.pool.QueryRow(ctx, `
		UPDATE cairn.budgets
		SET quarter_limit = COALESCE($4::int, quarter_limit), day_limit = COALESCE($5::int, day_limit),
		    quarter_used = GREATEST(quarter_used,
		        CASE WHEN quarter = $2 THEN COALESCE($4::int, quarter_limit) - $6::int END),
		    day_used = GREATEST(day_used, CASE WHEN day = $3 THEN COALESCE($5::int, day_limit) - $7::int END),
		    paused_until = GREATEST(paused_until, now() + $8::interval)
		WHERE provider = $1
		RETURNING GREATEST(CASE WHEN paused_until > now() THEN paused_until END,
		                   CASE WHEN quarter_used >= quarter_limit THEN quarter + interval '15 minutes' END,
		                   CASE WHEN day_used >= day_limit THEN day + interval '1 day' END),
		          COALESCE(day_used >= day_limit, false)`,
		c.Key, w.quarter, w.day, limit.QuarterLimit, limit.DayLimit, limit.QuarterLeft, limit.DayLeft, limit.Wait)
}

// Budget is what all instances together may ask of a provider, and have asked.
type Budget struct {
	Provider                string
	QuarterUsed, QuarterMax int       // in this quarter hour
	DayUsed, DayMax         int       // in this UTC day
	PausedUntil             time.Time // zero unless the provider wants no calls now
}

// Budgets returns the budgets of the providers whose quota is known, and of those that want no calls now. It is for
// operators.
func Budgets(ctx context.Context, pool *pgxpool.Pool) ([]Budget, error) {
	rows, err := pool.Query(ctx, `
		SELECT provider,
		       CASE WHEN quarter = date_bin('15 minutes', now(), 'epoch') THEN quarter_used ELSE 0 END,
		       COALESCE(quarter_limit, 0),
		       CASE WHEN day = date_bin('1 day', now(), 'epoch') THEN day_used ELSE 0 END, COALESCE(day_limit, 0),
		       CASE WHEN paused_until > now() THEN paused_until ELSE '0001-01-01 00:00Z' END
		FROM cairn.budgets WHERE quarter_limit IS NOT NULL OR paused_until > now() ORDER BY provider`)
	if err != nil {
		return nil, fmt.Errorf("oauth: read budgets: %w", err)
	}
	budgets, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Budget])
	if err != nil {
		return nil, fmt.Errorf("oauth: read budgets: %w", err)
	}
	return budgets, nil
}
