package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
)

// share is for whom a call is: how many percent of a budget may be used up when it is sent. What
// one share leaves is for those above it, so that no work that can wait, and nobody who presses
// buttons, keeps others from signing in.
type share int

const (
	background share = 60  // work that nobody waits for
	buttons    share = 80  // what a person asks about a connection
	signingIn  share = 100 // signing in and connecting
)

type shareKey struct{}

// InBackground marks work that nobody waits for.
func InBackground(ctx context.Context) context.Context { return inShare(ctx, background) }

// ForPerson marks work that is done in the background, but that a person waits for.
func ForPerson(ctx context.Context) context.Context { return inShare(ctx, buttons) }

func inShare(ctx context.Context, s share) context.Context {
	return context.WithValue(ctx, shareKey{}, s)
}

func shareOf(ctx context.Context) share {
	if s, ok := ctx.Value(shareKey{}).(share); ok {
		return s
	}
	return buttons
}

// need is what a call takes from the provider's quota.
type need int

const (
	nothing need = iota // a refresh: token addresses have no quota of their own
	room                // an exchange, because what comes next needs it, and a code is good only once
	one                 // a call to the API
)

// of returns how many calls are counted, and how many percent of a limit may be used up then; nil:
// limits do not matter.
func (n need) of(ctx context.Context) (cost int, percent *int) {
	switch n {
	case one:
		cost = 1
	case nothing:
		return 0, nil
	}
	return cost, new(int(shareOf(ctx)))
}

// permit is leave for one call. It was counted in the windows that began then.
type permit struct{ quarter, day time.Time }

// reserve asks the budget for a call, and counts it. It is one statement, which reads the clock
// under the budget's lock, so that no window opens twice, however many instances ask. Errors:
// *Error with Until.
func (c *caller) reserve(ctx context.Context, call string, n need) (permit, error) {
	if c.pool == nil {
		return permit{}, nil
	}
	cost, percent := n.of(ctx)
	var p permit
	var until *time.Time
	var day bool
	err := c.pool.QueryRow(ctx, `
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
		SELECT quarter, day, until, day_spent FROM verdict`,
		c.provider.Key, cost, percent).Scan(&p.quarter, &p.day, &until, &day)
	if err != nil {
		return permit{}, fmt.Errorf("oauth: reserve a call to %s: %w", c.provider.Key, err)
	}
	if until == nil {
		return p, nil
	}
	refusal := &Error{Provider: c.provider.Key, Call: call, Kind: ErrRateLimited, Until: *until, unsent: true}
	if day {
		refusal.Kind = ErrQuotaSpent
	}
	return permit{}, refusal
}

// learn stores what an answer says about the quota, and for how long its provider wants no calls.
// It completes an *Error with Until. If this can't be stored now, the next answer says it again, so
// that is no reason to lose this answer.
func (c *caller) learn(ctx context.Context, p permit, header http.Header, err error) error {
	failure, _ := errors.AsType[*Error](err)
	heard, each := c.told(header, failure)
	if c.pool == nil || heard == (told{}) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.limits.Statement)
	defer cancel()
	var until *time.Time
	var day, known bool
	if each {
		known = c.pool.QueryRow(ctx, `SELECT now() + $1::interval`, heard.wait).Scan(&until) == nil
	} else {
		known = c.keep(ctx, p, heard).Scan(&until, &day) == nil
	}
	if known && until != nil && failure != nil && (heard.wait != nil || failure.Kind == ErrRateLimited) {
		failure.Until = *until
		if day && failure.Kind == ErrRateLimited {
			failure.Kind = ErrQuotaSpent
		}
	}
	return err
}

// keep stores what the provider said. It leaves a window alone that is over by now, and it lowers
// no count within a window: answers come in any order, and the calls under way have been counted.
func (c *caller) keep(ctx context.Context, p permit, heard told) pgx.Row {
	return c.pool.QueryRow(ctx, `
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
		c.provider.Key, p.quarter, p.day,
		heard.quarterLimit, heard.dayLimit, heard.quarterLeft, heard.dayLeft, heard.wait)
}

// Budget is what all instances together may ask of a provider, and have asked.
type Budget struct {
	Provider                string
	QuarterUsed, QuarterMax int       // in this quarter hour
	DayUsed, DayMax         int       // in this UTC day
	PausedUntil             time.Time // zero unless the provider wants no calls now
}

// Budgets returns the budgets of the providers whose quota is known, and of those that want no
// calls now. It is for the operator.
func (s *Store) Budgets(ctx context.Context) ([]Budget, error) {
	rows, err := s.pool.Query(ctx, `
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
