package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"
)

// command is one thing that the program does.
type command struct {
	name, args string // as they stand in the usage line
	summary    string // one line, without a full stop
	about      string // more, for its own help; lines of 80 characters at most
	run        func(ctx context.Context, e env, out io.Writer) error
}

// commands is the table of all commands, in the order in which help lists them. One more is a function in a file of its
// own, and an entry here.
func commands() []command {
	return []command{
		{"serve", "", "Migrate the database and serve; the same as no command", aboutServe, serveCommand},
		{"migrate", "", "Migrate the database and stop", aboutMigrate, migrateCommand},
		{
			"doctor", "[--json]", "Check everything a server needs, and explain what is found",
			aboutDoctor, doctorCommand,
		},
		{"health", "", "Ask the server on this machine whether it is ready", aboutHealth, healthCommand},
		{"instances", "[--json]", "List the servers that run", aboutInstances, instancesCommand},
		{"sessions", "list|end WHOSE [--json]", "List or end sessions", aboutSessions, sessionsCommand},
		{"jobs", "[--json]", "Count the background work by kind and state", aboutJobs, jobsCommand},
		{
			"notices", "[--json | --each COMMAND]", "Mail people whose connection needs them",
			aboutNotices, noticesCommand,
		},
		{"rekey", "", "Seal all tokens with the newest encryption key", aboutRekey, rekeyCommand},
		{
			"strava", "subscribe|show|unsubscribe [--json]", "Manage the events that Strava sends",
			aboutStrava, stravaCommand,
		},
		{"webhooks", "[--json]", "Print the addresses to enter at providers", aboutWebhooks, webhooksCommand},
		{"version", "[--json]", "Say which build this is", aboutVersion, versionCommand},
		{"help", "[COMMAND]", "Explain the commands", "", helpCommand},
	}
}

// env is what a command works with.
type env struct {
	args   []string // behind its name
	getenv func(string) string
	stderr io.Writer
	limits limits
}

// usageError says that a command was called in a way it does not understand.
type usageError string

func (e usageError) Error() string { return string(e) }

// exitCode is 2 for a call that is not understood, as Unix has it, and 1 for everything else that fails.
func exitCode(err error) int {
	if _, ok := errors.AsType[usageError](err); ok {
		return 2
	}
	return 1
}

// run is the whole program but the exit. It returns nil when it was asked to stop and everything has ended.
func run(ctx context.Context, l limits, args []string, getenv func(string) string, stdout, stderr io.Writer) error {
	name, rest := "serve", args
	if len(args) > 0 {
		name, rest = args[0], args[1:]
	}
	switch name {
	case "-h", "-help", "--help":
		name = "help"
	case "-version", "--version":
		name = "version"
	}
	c, ok := find(name)
	if !ok {
		return usageError(fmt.Sprintf("there is no command %q; see: server help", name))
	}
	err := c.run(ctx, env{rest, getenv, stderr, l}, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return c.explain(stdout)
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return fmt.Errorf("%s: %w; see: server help %s", c.name, err, c.name)
	}
	return err
}

func find(name string) (command, bool) {
	all := commands()
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return all[i], true
}

// parse reads the flags of a command, which nothing may follow. define may be nil. Errors: flag.ErrHelp, usageError.
func parse(args []string, define func(*flag.FlagSet)) error {
	flags := flag.NewFlagSet("", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	if define != nil {
		define(flags)
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return usageError(err.Error())
	case flags.NArg() > 0:
		return usageError(fmt.Sprintf("%q is one argument too many", flags.Arg(0)))
	}
	return nil
}

// parseListing is parse for commands whose one flag is --json.
func parseListing(args []string) (asJSON bool, err error) {
	err = parse(args, func(f *flag.FlagSet) { f.BoolVar(&asJSON, "json", false, "") })
	return asJSON, err
}

// verb takes the first argument off, which must be one of these words. Errors: flag.ErrHelp, usageError.
func verb(args []string, words ...string) (word string, rest []string, err error) {
	switch {
	case len(args) == 0:
		return "", nil, usageError("one of these has to follow: " + strings.Join(words, ", "))
	case slices.Contains(words, args[0]):
		return args[0], args[1:], nil
	case slices.Contains([]string{"-h", "-help", "--help"}, args[0]):
		return "", nil, flag.ErrHelp
	}
	return "", nil, usageError(fmt.Sprintf("%q is none of %s", args[0], strings.Join(words, ", ")))
}

// config reads the environment, and in development the file .env.
func (e env) config() (Config, error) {
	getenv, err := withDotEnv(e.getenv)
	if err != nil {
		return Config{}, err
	}
	config, err := loadConfig(getenv)
	if err != nil {
		return Config{}, fmt.Errorf("the configuration has problems:\n%w", err)
	}
	config.limits = e.limits
	return config, nil
}

// database reads the environment and opens the database as it is, for commands that only use it.
func (e env) database(ctx context.Context, use func(Config, *pgxpool.Pool) error) error {
	config, err := e.config()
	if err != nil {
		return err
	}
	log, flush := newLogger(e.stderr, config.LogLevel)
	defer flush()
	return withSchema(ctx, config, log, func(pool *pgxpool.Pool) error { return use(config, pool) })
}
