// Command server is Cairn: it signs people in, connects their accounts at Garmin, Foursquare and Strava, and keeps them
// signed in.
//
// server help lists the commands.
//
//	main.go       the table of commands, and running one; help.go explains them
//	serve.go      serving, in order: putting the parts together, answering requests, stopping
//	assemble.go   putting the parts together
//	listen.go     the socket: PORT's, or one that systemd passes
//	sandbox.go    the providers, simulated if none has keys
//	stop.go       stopping without failing a request
//	presence.go   announcing this server to the others, and keeping track of which keys they hold
//	upkeep.go     periodic work outside requests: deleting expired rows, recording when sessions were last seen
//	mail.go       what takes mail: the operator's server, or the sandbox's mailbox
//	metrics.go    the listener for Prometheus
//	proxies.go    warnings about untrusted proxies
//	log.go        where log lines go
//	limits.go     time limits and their defaults
//	build.go      which build this is; version.go prints it
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
	_ "time/tzdata" // a container may have no time zones

	"cairn/db/embedded"
	"cairn/internal/admin"
	"cairn/internal/node"
)

func main() { program(limits{}) }

// program is main with limits, which only tests set.
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

// gcPercent is GOGC, unless the environment sets it. Little memory is in use and each request allocates some
// kilobytes, so Go's default of 100 collects dozens of times a second under load (make bench). More than 200 costs
// noticeable memory when many people sign in.
const gcPercent = 200

// command is a command of the program.
type command struct {
	name, args string // as the usage line shows them
	summary    string // one line, without a full stop
	about      string // the rest of its help; lines of 80 characters at most
	run        func(ctx context.Context, e admin.Env, out io.Writer) error
}

// commands returns all commands, in the order in which help lists them.
func commands(l limits) []command {
	all := []command{
		{"serve", "", "Migrate the database and serve; the same as no command", aboutServe, l.withDefaults().serve},
		{"migrate", "", "Migrate the database and exit", admin.AboutMigrate, admin.Migrate},
		{
			"doctor", "[--json]", "Check everything a server needs, and explain the findings",
			admin.AboutDoctor, admin.Doctor,
		},
		{"health", "", "Ask the server on this machine whether it is ready", admin.AboutHealth, admin.Health},
		{"instances", "[--json]", "List the running servers", admin.AboutInstances, admin.Instances},
		{"sessions", "list|end WHOSE [--json]", "List or end sessions", admin.AboutSessions, admin.Sessions},
		{
			"accounts", "list|show|disable|enable|reset-link|delete|invite …",
			"List accounts, act on one, invite people",
			admin.AboutAccounts, admin.Accounts,
		},
		{"jobs", "[--json]", "Count the background work by kind and state", admin.AboutJobs, admin.Jobs},
		{"mail", "test ADDRESS", "Send a test message", admin.AboutMail, admin.Mail},
		{"rekey", "", "Seal all tokens with the newest encryption key", admin.AboutRekey, admin.Rekey},
	}
	all = append(all, command{
		"node", "import|link|status|free", "Change over from the Node server", node.About, node.Command,
	})
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

// run runs the command that args name. It returns nil if the command succeeds, or stops because ctx is done.
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
	err := c.run(ctx, admin.Env{
		Args: rest, Environ: environ, Stderr: stderr, Log: log, Limits: l.admin(),
		Checks: node.Checks(), EndSessions: node.EndSessions, LockOut: node.LockOut,
	}, stdout)
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

// exitCode returns 2 for a wrong call, as is usual on Unix, and 1 for every other failure.
func exitCode(err error) int {
	if _, ok := errors.AsType[admin.UsageError](err); ok {
		return 2
	}
	return 1
}
