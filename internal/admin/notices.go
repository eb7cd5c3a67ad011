package admin

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/routes"
)

// AboutNotices explains Notices.
const AboutNotices = `
Without an argument it shows the messages, as in a mailbox file, and marks nothing.

  --each COMMAND  gives each message to a shell command, like 'sendmail -t', on its
                  standard input, and marks it when that ends with 0 in a minute.
                  It can't see the secrets of this program, unless both run as root
  --json          shows what the messages are about instead, as one JSON object a
                  line: provider, user_id, email, since
`

// noticeRow is a line of the listing.
type noticeRow struct {
	Provider string    `json:"provider"`
	UserID   int64     `json:"user_id"`
	Email    string    `json:"email"` // unproven
	Since    time.Time `json:"since"` // when the connection came to need its owner
}

// Notices mails people whose connection needs them.
func Notices(ctx context.Context, e Env, out io.Writer) error {
	each, asJSON, err := parseNotices(e.Args)
	if err != nil {
		return err
	}
	return e.database(ctx, func(c config.Config, pool *pgxpool.Pool) error {
		n, err := newNotifier(e, c, out)
		if err != nil {
			return err
		}
		n.json = asJSON
		return n.notices(ctx, pool, each)
	})
}

// parseNotices reads the arguments: the shell command that gets each message, "" to show them only.
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

// notifier makes messages to the owners of connections that need them.
type notifier struct {
	site      *url.URL
	environ   []string // what the command gets, without secrets
	from      *mail.Address
	providers oauth.Registry
	out, said io.Writer     // messages that are shown; what an operator reads besides
	json      bool          // what is shown is JSON
	limit     time.Duration // with a command, for one message
}

// notices shows the messages, or gives each to a shell command. Its error says that not all were taken.
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
		_, _ = fmt.Fprintf(n.said, "no e-mail address is known for %d; the page tells their owners\n", unreachable)
	}
	if each == "" {
		return connection.Notices(ctx, pool, keys, n.show)
	}
	if err := hide(); err != nil {
		return err
	}
	return n.handOver(ctx, pool, keys, each)
}

// newNotifier knows the providers that people find on the page: the others can't be connected again.
func newNotifier(e Env, c config.Config, out io.Writer) (notifier, error) {
	n := notifier{
		site: c.Site(), environ: config.WithoutSecrets(slices.Clone(e.Environ)), from: c.NoticeFrom,
		out: out, said: e.Stderr, limit: e.Limits.withDefaults().Message,
	}
	if n.from == nil {
		n.from = &mail.Address{Name: "Cairn", Address: "cairn@" + n.site.Hostname()}
	}
	if _, err := mail.ParseAddress(n.from.String()); err != nil {
		return notifier{}, errors.New("NOTICE_FROM is needed: PUBLIC_URL has no name to make an e-mail address of")
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

// show writes a message as in a mailbox file, or what it is about.
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

// handOver gives each message to command, and goes on when that fails.
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
		_, _ = fmt.Fprintln(n.said, "another server notices is at work")
		return nil
	case err == nil && failed > 0:
		return fmt.Errorf("%d of %d messages were not taken; they are tried again the next time", failed, taken+failed)
	}
	return err
}

// give runs a shell command with a message on its standard input. It may finish when the server is asked to stop.
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

// message is a complete message, with lines that end in a single \n, as programs like sendmail
// expect. The same notice has the same Message-ID each time. An address that is not ASCII stands in
// the header as it is (RFC 6532).
func (n notifier) message(notice connection.Notice) ([]byte, error) {
	to, err := mail.ParseAddress(notice.Owner.Email)
	if err != nil || to.Address != notice.Owner.Email {
		return nil, errors.New("the e-mail address is not fit for a message")
	}
	i := slices.IndexFunc(n.providers, func(p *oauth.Provider) bool { return p.Key == notice.Provider })
	letter, err := routes.NewLetter(n.providers[i], notice, n.site)
	if err != nil {
		return nil, err
	}
	contentType, body, err := alternatives(letter)
	if err != nil {
		return nil, err
	}
	_, host, _ := strings.Cut(n.from.Address, "@")
	var message bytes.Buffer
	for _, field := range [][2]string{
		{"From", n.from.String()},
		{"To", (&mail.Address{Address: to.Address}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", letter.Subject)},
		{"Date", time.Now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", fmt.Sprintf("<notice.%d.%d@%s>", notice.IdentityID, notice.Since.UnixMicro(), host)},
		{"MIME-Version", "1.0"},
		{"Content-Type", contentType},
		{"Auto-Submitted", "auto-generated"},
	} {
		message.WriteString(field[0] + ": " + field[1] + "\n")
	}
	message.WriteString("\n")
	message.Write(body)
	return bytes.ReplaceAll(message.Bytes(), []byte("\r\n"), []byte("\n")), nil
}

// alternatives are the two forms of a letter as one body, the plainer one first (RFC 2046, section 5.1.4).
func alternatives(letter routes.Letter) (contentType string, body []byte, err error) {
	var both bytes.Buffer
	forms := multipart.NewWriter(&both)
	for _, form := range []struct{ kind, text string }{{"text/plain", letter.Text}, {"text/html", letter.HTML}} {
		part, err := forms.CreatePart(textproto.MIMEHeader{
			"Content-Type":              {form.kind + "; charset=utf-8"},
			"Content-Transfer-Encoding": {"quoted-printable"},
		})
		if err != nil {
			return "", nil, err
		}
		encoded := quotedprintable.NewWriter(part)
		_, err = encoded.Write([]byte(form.text))
		if err := errors.Join(err, encoded.Close()); err != nil {
			return "", nil, err
		}
	}
	err = forms.Close()
	return "multipart/alternative; boundary=" + forms.Boundary(), both.Bytes(), err
}
