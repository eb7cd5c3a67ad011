// Package admin has the commands for operators. Each command has a file with its function and its help text.
// cmd/server has the table of their names.
//
//	command.go       what a command works with, and reading its arguments
//	database.go      opening the database, with or without migrating it
//	listing.go       listings: tables for people, JSON for programs
//	doctor.go        the list of the doctor's checks, which are in doctor_*.go
//	accounts.go      acts on accounts, with the parts in operator.go
//	person.go        how commands name a person
//	health.go, instances.go, jobs.go, rekey.go, sessions.go   commands
//	subscription.go  the subscription to a provider's events; webhooks.go prints addresses to enter by hand
//	mail.go          a test message, and the doctor's check of the mail server
package admin

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/config"
	"cairn/internal/oauth"
)

// Env is what a command works with.
type Env struct {
	Args    []string // after its name
	Environ []string // the variables, as "NAME=value"; of two with one name, the last one counts
	Stderr  io.Writer
	Log     func(slog.Level) (log *slog.Logger, flush func()) // makes the program's logger
	Limits  Limits
	Checks  []Check   // of the doctor, beside its own
	LockOut LockOutOf // may be nil
	// EndSessions is part of ending the sessions of a user, or of everybody if userID is 0. It calls end, which ends
	// ours, and returns a sentence for the operator, or "". nil: there are no others than ours.
	EndSessions func(ctx context.Context, tx pgx.Tx, c config.Config, userID int64, end func() error) (string, error)
}

// getenv returns the value of a variable.
func (e Env) getenv(name string) string {
	for _, variable := range slices.Backward(e.Environ) {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// Limits are the time limits of commands. A zero field stands for its default.
type Limits struct {
	Calls            oauth.Limits
	SessionLookup    time.Duration // as in session.Options
	SessionStatement time.Duration // likewise
	Health           time.Duration // for the server to answer health: 3 s
	Doctor           time.Duration // for each thing that the doctor asks: 5 s
}

func (l Limits) withDefaults() Limits {
	l.Health = cmp.Or(l.Health, 3*time.Second)
	l.Doctor = cmp.Or(l.Doctor, 5*time.Second)
	return l
}

// UsageError says what is wrong with the call of a command.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// Parse reads the flags of a command that has no other arguments. define may be nil. Errors: flag.ErrHelp, UsageError.
func Parse(args []string, define func(*flag.FlagSet)) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if define != nil {
		define(flags)
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return UsageError(err.Error())
	case flags.NArg() > 0:
		return UsageError(fmt.Sprintf("%q is one argument too many", flags.Arg(0)))
	}
	return nil
}

// ParseListing is Parse for commands whose only flag is --json.
func ParseListing(args []string) (asJSON bool, err error) {
	err = Parse(args, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "") })
	return asJSON, err
}

// Verb cuts off the first argument, which must be one of words. Errors: flag.ErrHelp, UsageError.
func Verb(args []string, words ...string) (word string, rest []string, err error) {
	switch {
	case len(args) == 0:
		return "", nil, UsageError("expected one of: " + strings.Join(words, ", "))
	case slices.Contains(words, args[0]):
		return args[0], args[1:], nil
	case slices.Contains([]string{"-h", "-help", "--help"}, args[0]):
		return "", nil, flag.ErrHelp
	}
	return "", nil, UsageError(fmt.Sprintf("%q is none of %s", args[0], strings.Join(words, ", ")))
}

// Config reads the environment, and in development the file .env.
func (e Env) Config() (config.Config, error) {
	getenv, err := config.WithDotEnv(e.getenv)
	if err != nil {
		return config.Config{}, err
	}
	c, err := config.Load(getenv)
	if err != nil {
		return config.Config{}, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	return c, nil
}

// configWithSecrets is Config, with the secrets that development generates.
func (e Env) configWithSecrets() (config.Config, error) {
	c, err := e.Config()
	if err != nil {
		return config.Config{}, err
	}
	return c.WithSecrets()
}
