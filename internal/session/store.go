package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/jackc/pgx/v5"

	"cairn/internal/text"
)

// maxUserAgent is how many characters are kept of a browser's name; the schema holds as many.
const maxUserAgent = 512

// store is scs's store. pgxstore supplies the layout and the context-free methods of scs.Store, which scs does not call
// where it finds the three below. Its clean-up goroutine stays off, because ours is bounded and stops with the server.
//
// scs hands in tokens as browsers have them. The database has them hashed, as the request state does (request.stored).
type store struct {
	*pgxstore.PostgresStore
	Options
	lookups *lookups
	// The statements that find sessions, without and with a Mirror.
	plain, mirrored string
}

func newStore(o Options) store {
	s := store{PostgresStore: pgxstore.NewWithCleanupInterval(o.Pool, 0), Options: o, plain: statement("", "")}
	if o.Mirror != nil {
		join, ended, lacking, id := o.Mirror.Lookup()
		s.mirrored = statement(", "+ended+", "+lacking+", "+id, " "+join)
	}
	s.lookups = &lookups{query: s.query, timeout: o.LookupTimeout}
	return s
}

// row is a session and its user as one query finds them. now is the database's clock, like all of its times. Requests
// that look for the same session at once share its row, so it is not changed.
type row struct {
	Session
	data                  []byte
	now, expiry, lastSeen time.Time

	endedElsewhere bool   // another server has ended it (Options.Mirror)
	lacking        bool   // another server lacks it
	theirs         string // its id there; "": none
}

// FindCtx hands scs the data of the session that the middleware has found.
func (s store) FindCtx(ctx context.Context, _ string) (data []byte, found bool, err error) {
	return requestOf(ctx).found.data, true, nil
}

// selectSession reads live sessions by the hashes of their tokens. {more} and {join} are for a Mirror.
const selectSession = `
		SELECT s.token, s.data, s.id, s.user_id, u.display_name, COALESCE(u.avatar_url, ''),
		       COALESCE(u.time_zone, ''), COALESCE(u.units, ''),
		       s.method, s.created, s.kept, s.method_removed, s.two_factors, f.user_id IS NOT NULL,
		       now(), s.expiry, s.last_seen{more}
		FROM cairn.sessions s
		JOIN cairn.users u ON u.id = s.user_id
		LEFT JOIN cairn.second_factors f ON f.user_id = s.user_id{join}
		WHERE s.token = ANY($1) AND now() < s.expiry`

// statement is selectSession with what a Mirror adds.
func statement(more, join string) string {
	return strings.NewReplacer("{more}", more, "{join}", join).Replace(selectSession)
}

// read runs one of the statements. What follows from the times of a session is computed here: PostgreSQL would take
// longer to set up such expressions than to find the row.
func (s store) read(ctx context.Context, statement string, tokens []string) (map[string]*row, error) {
	rows, _ := s.Pool.Query(ctx, statement, tokens) // ForEachRow returns its error
	found := make(map[string]*row, len(tokens))
	var token string
	var r row
	fields := []any{
		&token, &r.data, &r.ID, &r.UserID, &r.Name, &r.AvatarURL, &r.TimeZone, &r.Units, &r.Method,
		&r.Created, &r.Persistent, &r.methodRemoved, &r.TwoFactors, &r.needsTwo, &r.now, &r.expiry, &r.lastSeen,
	}
	if statement != s.plain {
		fields = append(fields, &r.endedElsewhere, &r.lacking, &r.theirs)
	}
	_, err := pgx.ForEachRow(rows, fields, func() error {
		if r.now.Before(r.Created.Add(s.MaxLifetime)) {
			one := r // its data is not the next row's: pgx allocates for each
			one.unproven = slices.Contains(s.Unproven, r.Method)
			one.Recent = one.RecentAt(r.now)
			found[token] = &one
		}
		return nil
	})
	return found, err
}

// needsRenewal reports whether it is time to extend the sliding expiry: once a day at most, and once more when the
// absolute limit is near, so that the session lasts until then.
func (s store) needsRenewal(r *row) bool {
	extended, limit := r.now.Add(s.Lifetime), r.Created.Add(s.MaxLifetime)
	if !limit.After(extended) {
		return r.Persistent && r.expiry.Before(limit)
	}
	return r.Persistent && r.expiry.Before(extended.Add(-s.renewAfter()))
}

// needsTouch reports whether last_seen is out of date.
func (r *row) needsTouch() bool { return r.lastSeen.Before(r.now.Add(-touchAfter)) }

// CommitCtx saves a session. A row is inserted only at sign-in (request.write) and otherwise only updated, so a session
// that has ended can't come back.
func (s store) CommitCtx(ctx context.Context, token string, data []byte, _ time.Time) error {
	ctx, cancel := s.finishing(ctx)
	defer cancel()
	rq := requestOf(ctx)
	var row pgx.Row
	switch {
	case rq.write != nil:
		row = rq.write(ctx, hashToken(token), data)
	case rq.stored != "":
		row = s.Pool.QueryRow(ctx, `
			UPDATE cairn.sessions SET data = $2
			WHERE token = $1 AND now() < expiry
			RETURNING EXTRACT(epoch FROM created + $3::interval - now())::float8`, rq.stored, data, s.MaxLifetime)
	default:
		return ErrNoSession
	}
	var seconds float64
	err := row.Scan(&seconds)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrEnded
	}
	if err != nil {
		return fmt.Errorf("session: save: %w", err)
	}
	rq.token.remaining = time.Duration(seconds * float64(time.Second))
	return nil
}

// finishing returns a context for a statement that finishes even when the browser has gone. It lasts until the
// request's deadline, because on a slow line one statement can take most of that time, and for StatementTimeout at
// least.
func (s store) finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	end, limited := ctx.Deadline()
	ctx = context.WithoutCancel(ctx)
	shortly, cancel := context.WithTimeout(ctx, s.StatementTimeout)
	if soonest, _ := shortly.Deadline(); limited && end.After(soonest) {
		cancel()
		return context.WithDeadline(ctx, end)
	}
	return shortly, cancel
}

// rotate gives a session a new token, and records that its sign-in method was removed, if it was. Like StillLive, it
// takes no session with one factor whose account has got a second one meanwhile. A request of the same browser that
// still has the old token gets no explanation.
func (s store) rotate(ctx context.Context, tx pgx.Tx, rq *request, removed, token string, data []byte) pgx.Row {
	return tx.QueryRow(ctx, `
		WITH moved AS (
			UPDATE cairn.sessions SET token = $2, data = $3, method_removed = method_removed OR method = $6
			WHERE token = $1 AND now() < expiry AND ($7 OR `+oneLevel+`)
			RETURNING user_id, created
		), noted AS (
			INSERT INTO cairn.ended_sessions (token, user_id, reason)
			SELECT $1, user_id, $4 FROM moved
			ON CONFLICT (token) DO NOTHING
		)
		SELECT EXTRACT(epoch FROM created + $5::interval - now())::float8 FROM moved`,
		rq.stored, token, data, Replaced, s.MaxLifetime, removed, rq.found.needsTwo)
}

// insert begins a session and ends the one that the browser had, in one statement: a crash leaves one of the two. If
// the browser's token is stale, the reason why its session ended is replaced, too.
func (s store) insert(
	ctx context.Context, tx pgx.Tx, rq *request, userID int64, in SignIn, token string, data []byte,
) pgx.Row {
	return tx.QueryRow(ctx, `
		WITH ended AS (
			DELETE FROM cairn.sessions WHERE token = $1
		), noted AS (
			INSERT INTO cairn.ended_sessions (token, user_id, reason)
			SELECT $1, $5, $11 WHERE $1 <> ''
			ON CONFLICT (token) DO UPDATE SET reason = EXCLUDED.reason
		)
		INSERT INTO cairn.sessions (token, data, expiry, user_id, method, kept, address, user_agent, two_factors)
		VALUES ($2, $3, now() + $4::interval, $5, $6, $7, $8, $9, $12)
		RETURNING EXTRACT(epoch FROM $10::interval)::float8`,
		cmp.Or(rq.stored, rq.staleToken), token, data, s.lifetime(in.Persistent), userID, in.Method, in.Persistent,
		rq.address, rq.browser(), s.MaxLifetime, Replaced, in.TwoFactors)
}

// browser is the browser's name as it is stored.
func (rq *request) browser() string { return text.Clean(maxUserAgent, rq.userAgent) }

func (s store) lifetime(persistent bool) time.Duration {
	if !persistent {
		return min(nonPersistentLifetime, s.Lifetime, s.MaxLifetime)
	}
	return min(s.Lifetime, s.MaxLifetime)
}

// DeleteCtx ends the session of a browser that signs out. It finishes even when the browser has gone: a sign-out must
// not depend on the line.
func (s store) DeleteCtx(ctx context.Context, _ string) error {
	ctx, cancel := s.finishing(ctx)
	defer cancel()
	_, err := end(ctx, s.Pool, SignedOut, `token = $2`, requestOf(ctx).stored)
	return err
}

// renew extends a sliding session, unless another request has done so. A failure does not fail the page: the next
// request tries again.
func (m *Manager) renew(rq *request) {
	ctx, cancel := m.store.finishing(rq.data)
	defer cancel()
	if m.Mirror == nil {
		_, _ = m.Pool.Exec(ctx, renewStatement, m.store.renewal(rq)...)
		return
	}
	_ = pgx.BeginFunc(ctx, m.Pool, func(tx pgx.Tx) error {
		var w Mirrored
		err := tx.QueryRow(ctx, renewStatement+` RETURNING id, user_id, expiry, kept`, m.store.renewal(rq)...).
			Scan(&w.SessionID, &w.UserID, &w.Expiry, &w.Persistent)
		if err != nil {
			return err
		}
		return m.despite(ctx, tx, func(tx pgx.Tx) error { return m.Mirror.Renew(ctx, tx, w) })
	})
}

const renewStatement = `
	UPDATE cairn.sessions SET expiry = LEAST(now() + $2::interval, created + $3::interval)
	WHERE token = $1 AND now() < expiry AND kept
	  AND expiry < CASE WHEN created + $3::interval <= now() + $2::interval THEN created + $3::interval
	                    ELSE now() + $2::interval - $4::interval END`

func (s store) renewal(rq *request) []any {
	return []any{rq.stored, s.Lifetime, s.MaxLifetime, s.renewAfter()}
}

// renewAfter is the time between two renewals: a day, or half of a lifetime that an operator has set shorter.
func (s store) renewAfter() time.Duration { return min(renewAfter, s.Lifetime/2) }
