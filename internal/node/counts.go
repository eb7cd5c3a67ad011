package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/config"
)

// compare counts the rows, and those of them that no import has taken.
func (s source) compare(ctx context.Context, tx pgx.Tx, all, notImported *int) error {
	err := tx.QueryRow(ctx, `
		SELECT count(*), count(*) FILTER (WHERE n.node_id IS NULL)
		FROM public.users LEFT JOIN cairn.node_users n ON n.node_id = users.id`).Scan(all, notImported)
	if err != nil {
		return fmt.Errorf("node: count public.users: %w", err)
	}
	return nil
}

// mostIDs is how many ids of people who deleted their account are listed.
const mostIDs = 1000

// countPeople counts the rows that were imported, and reads when the last import finished.
func (s *Status) countPeople(ctx context.Context, tx pgx.Tx, c config.Config) error {
	var now time.Time
	err := tx.QueryRow(ctx, `
		SELECT count(DISTINCT user_id) FILTER (WHERE node_id > 0), count(link_hash),
		       count(*) FILTER (WHERE link_used_at > now() - interval '7 days'),
		       count(*) FILTER (WHERE user_id IS NULL), now(), (SELECT max(finished_at) FROM cairn.node_imports)
		FROM cairn.node_users`).Scan(&s.Accounts, &s.Links, &s.LinksUsed, &s.Deleted, &now, &s.ImportedAt)
	if err != nil {
		return fmt.Errorf("node: count people: %w", err)
	}
	s.LinksEnd, s.SessionsEnd = endOn(c.Node.LinksUntil, now), endOn(c.Node.Sessions.Until, now)
	if !s.LinksEnd.open() {
		s.Links = 0
	}
	rows, _ := tx.Query(ctx, `
		SELECT node_id FROM cairn.node_users WHERE user_id IS NULL ORDER BY node_id LIMIT $1`,
		mostIDs) // AppendRows returns its error
	if s.DeletedIDs, err = pgx.AppendRows(s.DeletedIDs, rows, pgx.RowTo[int64]); err != nil {
		return fmt.Errorf("node: list people who deleted their account: %w", err)
	}
	return nil
}

// countAccounts counts what waits for its owners at providers.
func (s *Status) countAccounts(ctx context.Context, tx pgx.Tx, _ config.Config) (err error) {
	if s.Unconfirmed, err = auth.CountUnconfirmed(ctx, tx, strava); err != nil {
		return err
	}
	rows, _ := tx.Query(ctx, `
		SELECT provider, count(*) FROM cairn.connections c
		WHERE state = 'needs_reconnect' AND EXISTS (SELECT FROM cairn.node_users u WHERE u.user_id = c.user_id)
		GROUP BY provider`) // ForEachRow returns its error
	var provider string
	var n int
	_, err = pgx.ForEachRow(rows, []any{&provider, &n}, func() error { s.Reconnect[provider] = n; return nil })
	if err != nil {
		return fmt.Errorf("node: count connections that need their owners: %w", err)
	}
	return nil
}

// countWaysIn counts people who have neither a password nor a passkey of this site, nor an account at a provider that
// it asks. The sandbox asks all.
func (s *Status) countWaysIn(ctx context.Context, tx pgx.Tx, c config.Config) error {
	known, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		return err
	}
	if !c.Sandbox() {
		known = known.Usable()
	}
	var linked, stranded int
	err = tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE linked), count(*) FILTER (WHERE NOT linked) FROM (
			SELECT bool_or(link_hash IS NOT NULL) AS linked FROM cairn.node_users u
			WHERE user_id IS NOT NULL
			  AND NOT EXISTS (SELECT FROM cairn.passwords p WHERE p.user_id = u.user_id)
			  AND NOT EXISTS (SELECT FROM cairn.passkeys k WHERE k.user_id = u.user_id AND k.host = lower($2))
			  AND NOT EXISTS (
				SELECT FROM cairn.identities i WHERE i.user_id = u.user_id AND i.signs_in AND i.provider = ANY($1))
			GROUP BY user_id
		) without`, known.Keys(), c.Site().Hostname()).Scan(&linked, &stranded)
	if err != nil {
		return fmt.Errorf("node: count sign-in methods: %w", err)
	}
	if s.OnlyLink, s.NoMethod = linked, stranded; !s.LinksEnd.open() {
		s.OnlyLink, s.NoMethod = 0, linked+stranded
	}
	return nil
}

// countAdopted counts the sessions that were adopted on each of the last 7 days.
func (s *Status) countAdopted(ctx context.Context, tx pgx.Tx, _ config.Config) (err error) {
	rows, _ := tx.Query(ctx, `
		SELECT to_char(day, 'YYYY-MM-DD'), (
			SELECT count(*) FROM cairn.node_sessions
			WHERE adopted_at >= day AT TIME ZONE 'UTC' AND adopted_at < (day + interval '1 day') AT TIME ZONE 'UTC')
		FROM (SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AS today) t,
			generate_series(today - interval '6 days', today, interval '1 day') AS day
		ORDER BY day`) // CollectRows returns its error
	if s.Adopted, err = pgx.CollectRows(rows, pgx.RowToStructByPos[AdoptedOn]); err != nil {
		return fmt.Errorf("node: count adopted sessions: %w", err)
	}
	return nil
}

// probe reads one session, or fails as adopting would.
func (s express) probe(ctx context.Context, pool *pgxpool.Pool) error {
	_, err := s.read(ctx, pool, "")
	return err
}

// waiting counts the sessions that would be adopted on their people's next visit. Its memory grows with the number of
// people, by 8 bytes for each, and not with that of sessions.
func (s express) waiting(ctx context.Context, tx pgx.Tx) (n int, err error) {
	rows, _ := tx.Query(ctx, `
		SELECT node_id FROM cairn.node_users WHERE user_id IS NOT NULL AND ended_since IS NULL
		ORDER BY node_id`) // CollectRows returns its error
	welcome, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return 0, fmt.Errorf("node: list people whose sessions can be adopted: %w", err)
	}
	var ended time.Time
	if err := tx.QueryRow(ctx, `SELECT `+endedUpTo+` FROM cairn.node_settings e`).Scan(&ended); err != nil {
		return 0, fmt.Errorf("node: ask when all sessions were ended: %w", err)
	}
	rows, _ = tx.Query(ctx, `
		SELECT `+rowColumns+`
		FROM `+pgx.Identifier(s.Table).Sanitize()+` AS s WHERE NOT EXISTS (
			SELECT FROM cairn.node_sessions a
			WHERE a.sid_hash = sha256(convert_to(s.sid, 'UTF8')))
		AND NOT EXISTS (SELECT FROM cairn.node_ended_sessions e WHERE e.sid = s.sid)`) // ForEachRow returns its error
	var text string
	var expire, now time.Time
	_, err = pgx.ForEachRow(rows, []any{&text, &expire, &now}, func() error {
		stored := s.parse(text, expire, now)
		_, imported := slices.BinarySearch(welcome, stored.nodeID)
		if imported && stored.alive && !stored.staleAt(ended) {
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("node: read %s: %w", strings.Join(s.Table, "."), err)
	}
	return n, nil
}
