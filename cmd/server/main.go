// Command server is Cairn: it signs people in, connects their accounts at Garmin, Foursquare and Strava, and keeps them
// signed in.
//
// server help lists the commands.
//
//	main.go       the program: the one table of commands, and how one is called; help.go explains them
//	serve.go      what serving is, in order: the parts are put together, and requests are answered
//	listen.go     the socket: PORT's, or one that systemd passes
//	sandbox.go    the providers, simulated where none has keys
//	stop.go       stopping so that nobody notices
//	presence.go   announcing this server to the others, and following which keys they hold
//	upkeep.go     what is done off the requests' path
//	metrics.go    the listener where Prometheus asks
//	proxies.go    warnings of untrusted proxies
//	log.go        where log lines go
//	limits.go     time limits and their defaults
//	version.go    which build this is
//
// internal/config reads the environment, and internal/admin has the commands that do not serve.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"syscall"
	_ "time/tzdata" // a container may have none

	"cairn/db/embedded"
	"cairn/internal/admin"
)

func main() { program(limits{}) }

// program is the process of this program; only tests give it other limits.
func program(l limits) {
	embedded.Supervise()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C does not wait
	if err := run(ctx, l, os.Args[1:], os.Environ(), os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cairn:", err)
		os.Exit(exitCode(err))
	}
}

// gcPercent is GOGC unless the environment sets it. Little lives long here and each request leaves
// some kilobytes, so Go's default of 100 collects dozens of times a second under load (make bench).
// More than 200 costs noticeable memory when many people sign in.
const gcPercent = 200

// command is one thing that the program does.
type command struct {
	name, args string // as they stand in the usage line
	summary    string // one line, without a full stop
	about      string // more, for its own help; lines of 80 characters at most
	run        func(ctx context.Context, e admin.Env, out io.Writer) error
}

// commands is the table of all commands, in the order in which help lists them.
func commands(l limits) []command {
	all := []command{
		{"serve", "", "Migrate the database and serve; the same as no command", aboutServe, l.withDefaults().serve},
		{"migrate", "", "Migrate the database and stop", admin.AboutMigrate, admin.Migrate},
		{
			"doctor", "[--json]", "Check everything a server needs, and explain what is found",
			admin.AboutDoctor, admin.Doctor,
		},
		{"health", "", "Ask the server on this machine whether it is ready", admin.AboutHealth, admin.Health},
		{"instances", "[--json]", "List the servers that run", admin.AboutInstances, admin.Instances},
		{"sessions", "list|end WHOSE [--json]", "List or end sessions", admin.AboutSessions, admin.Sessions},
		{"jobs", "[--json]", "Count the background work by kind and state", admin.AboutJobs, admin.Jobs},
		{
			"notices", "[--json | --each COMMAND]", "Mail people whose connection needs them",
			admin.AboutNotices, admin.Notices,
		},
		{"rekey", "", "Seal all tokens with the newest encryption key", admin.AboutRekey, admin.Rekey},
	}
	for _, s := range admin.Subscriptions() {
		all = append(all, command{s.Name(), "subscribe|show|unsubscribe [--json]", s.Summary(), s.About(), s.Run})
	}
	return append(all,
		command{
			"webhooks", "[--json]", "Print the addresses to enter at providers",
			admin.AboutWebhooks(), admin.Webhooks,
		},
		command{"version", "[--json]", "Say which build this is", aboutVersion, versionCommand},
		command{"help", "[COMMAND]", "Explain the commands", "", help},
	)
}

// run is the whole program but the exit. It returns nil when it was asked to stop and everything has ended.
func run(ctx context.Context, l limits, args, environ []string, stdout, stderr io.Writer) error {
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
	c, ok := find(commands(l), name)
	if !ok {
		return admin.UsageError(fmt.Sprintf("there is no command %q; see: server help", name))
	}
	log := func(level slog.Level) (*slog.Logger, func()) { return newLogger(stderr, level) }
	err := c.run(ctx, admin.Env{Args: rest, Environ: environ, Stderr: stderr, Log: log, Limits: l.admin()}, stdout)
	if errors.Is(err, flag.ErrHelp) {
		return c.explain(stdout)
	}
	if _, ok := errors.AsType[admin.UsageError](err); ok {
		return fmt.Errorf("%s: %w; see: server help %s", c.name, err, c.name)
	}
	return err
}

func find(all []command, name string) (command, bool) {
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return all[i], true
}

// exitCode is 2 for a call that is not understood, as Unix has it, and 1 for everything else that fails.
func exitCode(err error) int {
	if _, ok := errors.AsType[admin.UsageError](err); ok {
		return 2
	}
	return 1
}
