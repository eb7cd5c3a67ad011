package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/jobs"
	"cairn/internal/session"
)

var errSessionsUsage = errors.New("usage: server sessions list|end --user E-MAIL | --all")

// order is what an operator wants done with sessions.
type order struct {
	verb  string // "list" or "end"
	email string
	all   bool
}

// parseOrder reads the arguments behind "sessions". All must be said, so that a forgotten e-mail ends nobody's session.
func parseOrder(args []string) (order, error) {
	if len(args) == 0 || args[0] != "list" && args[0] != "end" {
		return order{}, errSessionsUsage
	}
	o := order{verb: args[0]}
	flags := flag.NewFlagSet("sessions", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&o.email, "user", "", "e-mail of the person")
	flags.BoolVar(&o.all, "all", false, "everybody")
	if err := flags.Parse(args[1:]); err != nil || flags.NArg() > 0 || o.all == (o.email != "") {
		return order{}, errSessionsUsage
	}
	return o, nil
}

// operate lists or ends sessions. Ending takes effect on the next request, on every instance that runs.
func operate(ctx context.Context, config Config, pool *pgxpool.Pool, o order, out io.Writer) error {
	sessions := session.New(session.Options{Pool: pool, Lifetime: config.Lifetime, MaxLifetime: config.MaxLifetime})
	userID := int64(0)
	if !o.all {
		var err error
		userID, err = auth.New(pool, config.SessionSecret).Find(ctx, o.email)
		if errors.Is(err, auth.ErrNotFound) {
			return errors.New("nobody signs in with this e-mail address")
		}
		if err != nil {
			return err
		}
	}
	if o.verb == "list" {
		return listSessions(ctx, sessions, userID, out)
	}
	ended, err := endSessions(ctx, sessions, userID)
	if err == nil {
		_, err = fmt.Fprintf(out, "ended %d sessions\n", ended)
	}
	return err
}

func endSessions(ctx context.Context, sessions *session.Manager, userID int64) (int64, error) {
	if userID == 0 {
		return sessions.EndAll(ctx)
	}
	return sessions.EndOthers(ctx, sessions.Pool, userID, 0, session.ByOperator)
}

func listSessions(ctx context.Context, sessions *session.Manager, userID int64, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "USER\tSIGNED IN\tLAST SEEN\tWITH\tADDRESS\tBROWSER")
	write := func(d session.Device) error {
		_, err := fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%q\n", d.UserID, d.Created.UTC().Format(time.RFC3339), d.LastSeen.UTC().Format(time.RFC3339), d.Method, d.Address, d.UserAgent)
		return err
	}
	if userID == 0 {
		if err := sessions.Each(ctx, write); err != nil {
			return err
		}
		return table.Flush()
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
	return table.Flush()
}

// listJobs prints how much background work there is.
func listJobs(ctx context.Context, pool *pgxpool.Pool, out io.Writer) error {
	tallies, err := jobs.Count(ctx, pool)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "KIND\tSTATE\tJOBS\tOLDEST")
	for _, t := range tallies {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\n", t.Kind, t.State, t.N, t.Oldest.UTC().Format(time.DateTime))
	}
	return table.Flush()
}
