package admin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/mail"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// AboutNotices explains Notices.
const AboutNotices = `
Without an argument it prints the messages in mailbox format, and marks none as sent.

  --each COMMAND  runs a shell command, like 'sendmail -t', with each message on its
                  standard input, and marks the message as sent if the command exits
                  with 0 within a minute. The command can't see this program's
                  secrets, unless both run as root
  --json          prints what the messages are about instead, as one JSON object a
                  line: provider, user_id, email, since
`

// noticeRow is a line of the listing.
type noticeRow struct {
	Provider string    `json:"provider"`
	UserID   int64     `json:"user_id"`
	Email    string    `json:"email"` // not verified
	Since    time.Time `json:"since"` // since when the owner has to connect again
}

// Notices prints or sends mails to people who have to connect again.
func Notices(ctx context.Context, e Env, out io.Writer) error {
	each, asJSON, err := parseNotices(e.Args)
	if err != nil {
		return err
	}
	return e.Database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		n, err := newNotifier(e, c, out)
		if err != nil {
			return err
		}
		n.json = asJSON
		return n.notices(ctx, pool, each)
	})
}

// parseNotices reads the arguments. each is the shell command for each message; "": only print them.
func parseNotices(args []string) (each string, asJSON bool, err error) {
	given := false
	err = Parse(args, func(f *flag.FlagSet) {
		f.Func("each", "", func(value string) error { each, given = value, true; return nil })
		f.BoolVar(&asJSON, "json", false, "")
	})
	switch {
	case err != nil:
		return "", false, err
	case given && strings.TrimSpace(each) == "":
		return "", false, UsageError("--each takes a shell command")
	case given && asJSON:
		return "", false, UsageError("it takes --each or --json, not both")
	}
	return each, asJSON, nil
}

// notifier writes messages to people who have to connect again, and prints or sends them.
type notifier struct {
	site      *url.URL
	environ   []string // the command's environment, without secrets
	from      *mail.Address
	providers oauth.Registry
	out, said io.Writer     // for messages, and for what else an operator reads
	json      bool          // print JSON instead of messages
	limit     time.Duration // for the command to take one message
}

// notices prints the messages, or runs the shell command each for each. It fails if the command failed for some.
func (n notifier) notices(ctx context.Context, pool *pgxpool.Pool, each string) error {
	var keys []string
	for _, p := range n.providers {
		keys = append(keys, p.Key)
	}
	unreachable, err := connection.Unreachable(ctx, pool, keys)
	if err != nil {
		return err
	}
	if unreachable > 0 {
		_, _ = fmt.Fprintf(n.said, "no e-mail address is known for %d; their owners see it on the page\n", unreachable)
	}
	if each == "" {
		return connection.Notices(ctx, pool, keys, n.show)
	}
	if err := hide(); err != nil {
		return err
	}
	return n.handOver(ctx, pool, keys, each)
}

// newNotifier returns a notifier for the providers that are on the page, because no other can be connected again.
func newNotifier(e Env, c config.Config, out io.Writer) (notifier, error) {
	n := notifier{
		site: c.Site(), environ: config.WithoutSecrets(slices.Clone(e.Environ)), from: c.Mail.From,
		out: out, said: e.Stderr, limit: e.Limits.withDefaults().Message,
	}
	if n.from == nil {
		return notifier{}, errors.New("MAIL_FROM is required: PUBLIC_URL has no host name for an e-mail address")
	}
	apps := c.Apps
	if c.Sandbox() {
		apps = map[string]oauth.App{}
		for _, p := range config.Providers() {
			apps[p.Key] = oauth.App{ClientID: "sandbox"}
		}
	}
	providers, err := c.Registered(apps, n.site)
	n.providers = providers.Usable()
	return n, err
}

// show prints a message in mailbox format, or what it is about as JSON.
func (n notifier) show(notice connection.Notice) error {
	if n.json {
		return writeJSON(n.out, noticeRow{notice.Provider, notice.UserID, notice.Owner.Email, notice.Since.UTC()})
	}
	message, err := n.message(notice)
	if err != nil {
		n.failed(notice, err)
		return nil
	}
	_, err = fmt.Fprintf(n.out, "From %s %s\n%s\n", n.from.Address, time.Now().UTC().Format(time.ANSIC), message)
	return err
}

func (n notifier) failed(notice connection.Notice, err error) {
	_, _ = fmt.Fprintf(n.said, "%s of user %d: %v\n", notice.Provider, notice.UserID, err)
}

// handOver runs command for each message, and goes on if it fails.
func (n notifier) handOver(ctx context.Context, pool *pgxpool.Pool, keys []string, command string) error {
	taken, failed := 0, 0
	err := connection.Notify(ctx, pool, keys, func(notice connection.Notice) error {
		message, err := n.message(notice)
		if err == nil {
			err = n.give(ctx, command, message)
		}
		if err != nil {
			failed++
			n.failed(notice, err)
			return err
		}
		taken++
		return nil
	})
	_, _ = fmt.Fprintf(n.said, "handed over %d\n", taken)
	switch {
	case errors.Is(err, connection.ErrNotifying):
		_, _ = fmt.Fprintln(n.said, "another server notices is running")
		return nil
	case err == nil && failed > 0:
		return fmt.Errorf("the command failed for %d of %d messages; the next run tries again", failed, taken+failed)
	}
	return err
}

// give runs a shell command with a message on its standard input. The command may finish even if ctx ends.
func (n notifier) give(ctx context.Context, command string, message []byte) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = n.environ
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), n.said, n.said
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("the command took more than %v", n.limit)
	}
	return err
}
