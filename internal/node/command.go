package node

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/admin"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// About explains Command.
const About = `
import reads public.users in this database, or in the one at --from, and makes an
account, a sign-in method and connections of each row. It can run while both servers
run, and again at any time: it brings what is new, and nothing that was ended here.
--dry-run counts and writes nothing. --json prints the summary as one JSON object.
It exits with 1 if it refused rows, which it names by their ids, with --json among
the errors.

link --user ID prints a link that signs in the user with this id once, within half an
hour, as if with a sign-in method: for somebody whose Foursquare account is gone. Find
out who asks before you send it.

status says how far the change-over has come, and what would be lost by switching the
Node server off today. --json prints one JSON object: node_users, not_imported,
accounts, reconnect, unconfirmed, links, links_used, only_link, no_method, adopted
(day, sessions), not_adopted, deleted, deleted_ids (at the Node server, at most 1000),
import, imported_at, links_end and sessions_end (day, days_left), losses.

free PROVIDER SUBJECT (like strava 1234567) takes an account at a provider, with its
connection, from the user to whom an import gave it without a proof, so that its owner
can sign in with it. It says which user had it. Accounts that sign in stay as they are.
`

// Command runs one of the commands for the change-over from the Node server.
func Command(ctx context.Context, e admin.Env, out io.Writer) error {
	verb, rest, err := admin.Verb(e.Args, "import", "link", "status", "free")
	if err != nil {
		return err
	}
	e.Args = rest
	return map[string]func(context.Context, admin.Env, io.Writer) error{
		"import": importCommand, "link": linkCommand, "status": statusCommand, "free": freeCommand,
	}[verb](ctx, e, out)
}

// importFlags are those of the command import.
type importFlags struct {
	from        string
	dry, asJSON bool
}

func importCommand(ctx context.Context, e admin.Env, out io.Writer) error {
	var flags importFlags
	err := admin.Parse(e.Args, func(f *flag.FlagSet) {
		f.StringVar(&flags.from, "from", "", "")
		f.BoolVar(&flags.dry, "dry-run", false, "")
		f.BoolVar(&flags.asJSON, "json", false, "")
	})
	if err != nil {
		return err
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		c, err := c.WithSecrets()
		if err != nil {
			return err
		}
		if err := admin.NoneOlder(ctx, pool, needs, "can't tell imported accounts from proven ones"); err != nil {
			return err
		}
		d, err := depsOf(ctx, c, pool, e.Limits.Calls)
		if err != nil {
			return err
		}
		log, flush := e.Log(c.LogLevel)
		defer flush()
		d.Log = log
		return flags.run(ctx, d, e.Stderr, out)
	})
}

func (f importFlags) run(ctx context.Context, d Deps, stderr, out io.Writer) error {
	r := Run{Source: sourceName(f.from), All: true, Dry: f.dry, Progress: progressOn(stderr)}
	if f.from != "" {
		from, err := db.Open(ctx, f.from, d.Log)
		if err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		defer from.Close()
		r.From = from
	}
	importer, err := NewImporter(d, f.from)
	if err != nil {
		return err
	}
	people := out
	if f.asJSON {
		people = stderr
	}
	r.Refused = func(row int64, why string) { _, _ = fmt.Fprintf(people, "row %d is refused: %s\n", row, why) }
	done, err := importer.Import(ctx, r)
	switch {
	case errors.Is(err, db.ErrLocked):
		return fmt.Errorf("another import is running: %w", err)
	case errors.Is(err, errNoUsers), errors.Is(err, db.ErrOneConnection):
		return err
	}
	if f.asJSON {
		err = errors.Join(err, json.NewEncoder(out).Encode(done))
	} else {
		done.write(out)
	}
	switch {
	case err != nil:
		return fmt.Errorf("stopped; run it again, and it goes on from here: %w", err)
	case len(done.Refused) > 0:
		return errors.New("rows were refused, in whole or in part; everything else was imported")
	}
	return nil
}

// depsOf makes what an import needs in a command.
func depsOf(ctx context.Context, c config.Config, pool *pgxpool.Pool, calls oauth.Limits) (Deps, error) {
	sealer, err := admin.NewSealer(ctx, pool, c)
	if err != nil {
		return Deps{}, err
	}
	providers, err := c.Registered(c.Apps, c.Site())
	if err != nil {
		return Deps{}, err
	}
	connections := connection.New(connection.Deps{
		Pool: pool, Sealer: sealer, Client: oauth.NewClient(pool, oauth.Options{Limits: calls}), Providers: providers,
	})
	return Deps{Pool: pool, Connections: connections, Config: c}, nil
}

// needs is the schema version from which on a server knows that some identities don't sign in.
const needs = 20

// progressOn returns a function that shows progress on a terminal, nil if out is none.
func progressOn(out io.Writer) func(done, all int) {
	if !admin.IsTerminal(out) {
		return nil
	}
	began := time.Now()
	return func(done, all int) {
		rate := float64(done) / max(time.Since(began).Seconds(), 0.001)
		left := time.Duration(float64(all-done) / rate * float64(time.Second)).Round(time.Second)
		end := "\r"
		if done >= all {
			end = "\n"
		}
		_, _ = fmt.Fprintf(out, "\r%d of %d rows, %.0f a second, %v left   %s", done, all, rate, left, end)
	}
}

func linkCommand(ctx context.Context, e admin.Env, out io.Writer) error {
	var userID int64
	err := admin.Parse(e.Args, func(f *flag.FlagSet) { f.Int64Var(&userID, "user", 0, "") })
	switch {
	case err != nil:
		return err
	case userID <= 0:
		return admin.UsageError("--user ID is required; server sessions list shows the ids")
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		token, err := newOperatorLink(ctx, pool, userID)
		if errors.Is(err, auth.ErrNotFound) {
			return fmt.Errorf("there is no user %d", userID)
		}
		if errors.Is(err, auth.ErrDisabled) {
			return fmt.Errorf("user %d is disabled", userID)
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s%s?token=%s\n", c.Site(), linkPage, token)
		return err
	})
}
