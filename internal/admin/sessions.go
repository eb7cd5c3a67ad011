package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/session"
)

// AboutSessions explains Sessions.
const AboutSessions = `
WHOSE is one of these:
  --user E-MAIL       the person who signs in with this e-mail and a password
  --user-id N         the user with this id
  --provider NAME:ID  the person who signs in with this account at a provider
  --id N              one session (only "end"); the list shows the ids
  --all               everyone, which has to be explicit so that a forgotten
                      argument ends nothing

Ending takes effect with the next request, on every server. The next page tells
the person that the operator signed them out. Sessions that the Node server began
before don't come over any more, and end there while NODE_WINDOW is both. What
can't end there, the command says.

--json has "list" print one JSON object a line: id, user_id, method, created,
last_seen, kept, address, user_agent.
`

// order is what to do with which sessions: those of a person, one, or all.
type order struct {
	verb string // "list" or "end"
	person
	id   int64
	all  bool
	json bool
}

func parseOrder(args []string) (o order, err error) {
	if o.verb, args, err = Verb(args, "list", "end"); err != nil {
		return order{}, err
	}
	err = Parse(args, func(f *flag.FlagSet) {
		o.person.define(f)
		f.Int64Var(&o.id, "id", 0, "")
		f.BoolVar(&o.all, "all", false, "")
		f.BoolVar(&o.json, "json", false, "")
	})
	if err != nil {
		return order{}, err
	}
	chosen := o.person.chosen()
	for _, set := range []bool{o.id > 0, o.all} {
		if set {
			chosen++
		}
	}
	switch {
	case chosen != 1 || o.id < 0 || o.userID < 0:
		return order{}, UsageError("it takes one of --user, --user-id, --provider, --id and --all")
	case o.verb == "list" && o.id > 0:
		return order{}, UsageError("--id is for \"end\" only")
	case o.verb == "end" && o.json:
		return order{}, UsageError("--json is for \"list\" only")
	}
	return o, o.person.check()
}

// Sessions lists or ends sessions. Ending takes effect with the next request, on every running server.
func Sessions(ctx context.Context, e Env, out io.Writer) error {
	o, err := parseOrder(e.Args)
	if err != nil {
		return err
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		sessions := session.New(session.Options{
			Pool: pool, Lifetime: c.Lifetime, MaxLifetime: c.MaxLifetime,
			LookupTimeout: e.Limits.SessionLookup, StatementTimeout: e.Limits.SessionStatement,
		})
		userID, err := o.person.find(ctx, auth.New(pool, c.SessionSecret, auth.Options{}))
		if err != nil {
			return err
		}
		if o.verb == "list" {
			return listSessions(ctx, sessions, userID, o.json, out)
		}
		if o.id > 0 {
			return endSession(ctx, sessions, o.id, out)
		}
		return endSessions(ctx, e, c, sessions, userID, out)
	})
}

func endSession(ctx context.Context, sessions *session.Manager, id int64, out io.Writer) error {
	err := sessions.EndByID(ctx, id)
	switch {
	case errors.Is(err, session.ErrNoSession):
		return fmt.Errorf("there is no session %d", id)
	case err == nil:
		_, err = fmt.Fprintf(out, "ended session %d\n", id)
	}
	return err
}

// endSessions ends the sessions of a user, or of everybody if userID is 0, and prints what it did.
func endSessions(
	ctx context.Context, e Env, c config.Config, sessions *session.Manager, userID int64, out io.Writer,
) error {
	var ended int64
	var said string
	err := pgx.BeginFunc(ctx, sessions.Pool, func(tx pgx.Tx) (err error) {
		end := func() (err error) {
			if userID == 0 {
				ended, err = sessions.EndAll(ctx, tx)
			} else {
				ended, err = sessions.EndOthers(ctx, tx, userID, 0, session.ByOperator)
			}
			return err
		}
		if e.EndSessions == nil {
			return end()
		}
		said, err = e.EndSessions(ctx, tx, c, userID, end)
		return err
	})
	if err != nil {
		return err
	}
	whose := "of all users"
	if userID != 0 {
		whose = fmt.Sprintf("of user %d", userID)
	}
	if said != "" {
		said = "note: " + said + "\n"
	}
	_, err = fmt.Fprintf(out, "ended %s %s\n%s", Plural(ended, "session"), whose, said)
	return err
}

// Plural returns a number of things, with an s unless it is one.
func Plural[N int | int64](n N, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// SessionRow is a line of the listing.
type SessionRow struct {
	ID        int64     `json:"id"`
	UserID    int64     `json:"user_id"`
	Method    string    `json:"method"`
	Created   time.Time `json:"created"`
	LastSeen  time.Time `json:"last_seen"`
	Kept      bool      `json:"kept"` // it outlives the browser
	Address   string    `json:"address"`
	UserAgent string    `json:"user_agent"`
}

func listSessions(ctx context.Context, sessions *session.Manager, userID int64, asJSON bool, out io.Writer) error {
	row, end := list(out, asJSON, "ID\tUSER\tSIGNED IN\tLAST SEEN\tWITH\tADDRESS\tBROWSER", func(r SessionRow) string {
		return fmt.Sprintf("%d\t%d\t%s\t%s\t%s\t%s\t%q",
			r.ID, r.UserID, stamp(r.Created), stamp(r.LastSeen), r.Method, r.Address, r.UserAgent)
	})
	write := func(d session.Device) error {
		return row(SessionRow{
			d.ID, d.UserID, d.Method, d.Created.UTC(), d.LastSeen.UTC(), d.Persistent, d.Address, d.UserAgent,
		})
	}
	if userID == 0 {
		if err := sessions.Each(ctx, write); err != nil {
			return err
		}
		return end()
	}
	devices, err := sessions.List(ctx, userID)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if err := write(d); err != nil {
			return err
		}
	}
	return end()
}
