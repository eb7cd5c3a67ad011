package node

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/admin"
	"cairn/internal/auth"
	"cairn/internal/config"
)

// Checks are what the doctor looks at of the change-over. They find nothing where there is no trace of a Node server.
func Checks() []admin.Check {
	return []admin.Check{checkImport, checkSealed, checkLinks, checkSessions, checkWayBack, checkStrava, checkGarmin}
}

// one is a check's only finding.
func one(v admin.Verdict, check, format string, args ...any) []admin.Finding {
	return []admin.Finding{{Verdict: v, Check: check, Text: fmt.Sprintf(format, args...)}}
}

// importLate is how old the last import may be while servers import every minute.
const importLate = 10 * time.Minute

func checkImport(ctx context.Context, c config.Config, pool *pgxpool.Pool) []admin.Finding {
	const check = "node import"
	if !c.Node.Import {
		return nil
	}
	if _, err := openSource(ctx, pool); err != nil {
		return one(admin.Failure, check, "NODE_IMPORT is on, but nothing can be read: %v", err)
	}
	var last *time.Time
	var late bool
	err := pool.QueryRow(ctx, `
		SELECT max(finished_at), COALESCE(max(finished_at) < now() - $2::interval, false)
		FROM cairn.node_imports WHERE source = $1`, sourceName(""), importLate).Scan(&last, &late)
	switch {
	case err != nil:
		return one(admin.Failure, check, "when the last import finished can't be read: %v", err)
	case last == nil:
		return one(admin.Warning, check, "NODE_IMPORT is on, but no import has finished: "+
			"a server does that every minute, or logs why it can't")
	case late:
		return one(admin.Warning, check, "the last import finished at %s, although NODE_IMPORT is on: "+
			"a server imports every minute, or logs why it can't", last.UTC().Format(time.RFC3339))
	}
	return one(admin.OK, check, "the last import finished at %s", last.UTC().Format(time.RFC3339))
}

// sampled is how many sealed values the doctor opens.
const sampled = 20

// checkSealed opens the newest sealed values, while they are imported or were.
func checkSealed(ctx context.Context, c config.Config, pool *pgxpool.Pool) []admin.Finding {
	const check = "node keys"
	var imported bool
	err := pool.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.node_users)`).Scan(&imported)
	if err != nil {
		return one(admin.Failure, check, "what was imported can't be read: %v", err)
	}
	if !imported && !c.Node.Import && !c.Node.Both && c.Node.EncryptionKey == "" {
		return nil
	}
	from, err := openSource(ctx, pool)
	if err != nil {
		return nil // the values are elsewhere, or another check says why they can't be read
	}
	values, err := from.newestSealed(ctx)
	if err != nil {
		return one(admin.Failure, check, "sealed values can't be read: %v", err)
	}
	return sealedFindings(c, values)
}

func sealedFindings(c config.Config, values []string) []admin.Finding {
	const check = "node keys"
	lasting, err := newKeys(keyTexts(c)...)
	if err != nil {
		return one(admin.Failure, check, "%v", err)
	}
	address, err := newKeys(c.DatabaseURL)
	if err != nil {
		return one(admin.Failure, check, "%v", err)
	}
	var closed, byAddress int
	for _, value := range values {
		if _, err := lasting.open(value); err == nil {
			continue
		}
		if _, err := address.open(value); err == nil {
			byAddress++
		} else {
			closed++
		}
	}
	var found []admin.Finding
	if closed > 0 {
		found = one(admin.Warning, check, "%d of the newest %d sealed values in public.users don't open: "+
			"their owners would have to connect again. Set NODE_ENCRYPTION_KEY to what ENCRYPTION_KEY was at the Node "+
			"server or, if it had none, to its DATABASE_URL", closed, len(values))
	}
	if byAddress > 0 {
		found = append(found, one(admin.Warning, check, "%d of the newest %d sealed values in public.users are sealed "+
			"with a key made of DATABASE_URL, which changes when the address does: set NODE_ENCRYPTION_KEY to the "+
			"address as it is now, which is the same key", byAddress, len(values))...)
	}
	if found == nil && len(values) > 0 {
		return one(admin.OK, check, "the newest %d sealed values in public.users open", len(values))
	}
	return found
}

// endSoon is how long before something ends the doctor begins to warn.
const endSoon = 14 // days

// checkEnd warns of something that ends soon, or has ended.
func checkEnd(e *End, check, on, off, variable string) []admin.Finding {
	left := admin.DaysTo(e.day, time.Now().UTC())
	switch {
	case !e.open():
		return one(admin.Warning, check, "%s any more: %s was the last day (%s). Unset %s, or set it to a later day",
			off, e.Day, left, variable)
	case e.DaysLeft < endSoon:
		return one(admin.Warning, check, "%s until %s (%s): server node status counts whom that concerns",
			on, e.Day, left)
	}
	return one(admin.OK, check, "%s until %s (%s)", on, e.Day, left)
}

func checkLinks(_ context.Context, c config.Config, _ *pgxpool.Pool) []admin.Finding {
	if end := endOn(c.Node.LinksUntil, time.Now()); end != nil {
		return checkEnd(end, "node links", "private links work", "private links don't work", "NODE_LINKS_UNTIL")
	}
	return nil
}

func checkSessions(ctx context.Context, c config.Config, pool *pgxpool.Pool) (found []admin.Finding) {
	const check = "node sessions"
	end := endOn(c.Node.Sessions.Until, time.Now())
	if end == nil {
		return nil
	}
	if end.open() && len(c.Node.Sessions.Secrets) == 0 {
		found = one(admin.Failure, check, "NODE_SESSIONS_UNTIL is set, but no secret: "+
			"set NODE_SESSION_SECRET to the Node server's SESSION_SECRET")
	}
	sessions := express{c.Node.Sessions}
	if err := sessions.probe(ctx, pool); err != nil && end.open() {
		found = append(found, one(admin.Failure, check, "NODE_SESSIONS_UNTIL is set, but %s can't be read: %v",
			strings.Join(sessions.Table, "."), err)...)
	}
	if found != nil {
		return found
	}
	return checkEnd(end, check, "sessions are adopted", "sessions are not adopted", "NODE_SESSIONS_UNTIL")
}

func checkWayBack(ctx context.Context, c config.Config, pool *pgxpool.Pool) []admin.Finding {
	const check = "node way back"
	if !c.Node.Both {
		return nil
	}
	if err := tryToWrite(ctx, pool, c.Node.Sessions.Table); err != nil {
		return one(admin.Failure, check, "NODE_WINDOW is both, but %v: what ends here goes on at the Node server, "+
			"and servers don't start", err)
	}
	var lost bool
	err := pool.QueryRow(ctx, `
		SELECT NOT EXISTS (SELECT FROM `+pgx.Identifier(c.Node.Sessions.Table).Sanitize()+` n WHERE n.sid = e.marker)
		FROM cairn.node_settings e WHERE marker IS NOT NULL`).Scan(&lost)
	if err == nil && lost {
		return one(admin.Warning, check, "the row that servers keep in %s is missing: that table was emptied or "+
			"replaced. This signs nobody out, but signing out at the Node server does not count here until a server "+
			"has written the row again, within a minute", strings.Join(c.Node.Sessions.Table, "."))
	}
	return one(admin.OK, check, "the Node server's tables can be written")
}

func checkStrava(ctx context.Context, _ config.Config, pool *pgxpool.Pool) []admin.Finding {
	const check = "node strava"
	var n int
	err := readSnapshot(ctx, pool, countTime, func(ctx context.Context, tx pgx.Tx) (err error) {
		n, err = auth.CountUnconfirmed(ctx, tx, strava)
		return err
	})
	switch {
	case err != nil:
		return one(admin.Failure, check, "accounts can't be counted: %v", err)
	case n == 0:
		return nil
	}
	return one(admin.OK, check, "%s from the Node server can't sign in until their owners allow it on the account "+
		"page. If the owner of one is kept out by somebody who only claimed it: server node free",
		admin.Plural(n, "Strava account"))
}

// garminEnd is when Garmin ends OAuth 1, which the Node server used.
var garminEnd = time.Date(2026, time.December, 31, 0, 0, 0, 0, time.UTC)

// checkGarmin counts the Node server's Garmin tokens, here and not imported yet. None has its account's id with it.
func checkGarmin(ctx context.Context, _ config.Config, pool *pgxpool.Pool) []admin.Finding {
	const check = "node garmin"
	var here, there int
	from, missing := openSource(ctx, pool)
	err := readSnapshot(ctx, pool, countTime, func(ctx context.Context, tx pgx.Tx) error {
		err := tx.QueryRow(ctx, `
			SELECT count(*) FROM cairn.connections
			WHERE provider = $1 AND cause = 'account_unknown'`, garmin).Scan(&here)
		if err != nil || missing != nil {
			return err
		}
		return tx.QueryRow(ctx, `
			SELECT count(*) FROM public.users
			CROSS JOIN LATERAL (SELECT `+from.columns+`) AS row (i, account, name, picture, link, athlete, f, s, g)
			LEFT JOIN cairn.node_users n ON n.node_id = users.id
			WHERE g <> '' AND n.node_id IS NULL`).Scan(&there)
	})
	switch {
	case err != nil:
		return one(admin.Failure, check, "old tokens can't be counted: %v", err)
	case here+there == 0:
		return nil
	}
	return one(admin.Warning, check, "old tokens of Garmin: %s here, and %d more in public.users, not imported. "+
		"Those of OAuth 1 stop working on %s (%s), and none says whose account it is: their owners have to connect "+
		"Garmin again", admin.Plural(here, "connection"), there, garminEnd.Format(time.DateOnly),
		admin.DaysTo(garminEnd, time.Now().UTC()))
}
