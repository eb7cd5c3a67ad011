package main

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// breaks is a server whose people lose their connections, and an operator who mails them.
type breaks struct {
	called
	dir string // has a file for each message that was handed over
}

func newBreaks(t *testing.T, env ...string) breaks {
	t.Helper()
	return breaks{newCalled(t, append([]string{"SMTP_PASSWORD=for the command"}, env...)...), t.TempDir()}
}

// person signs up and connects as one of the sandbox's people.
func (b breaks) person(email, provider, as string) testkit.Browser {
	b.t.Helper()
	p := testkit.NewBrowser(b.t)
	p.SignUp(b.url, email)
	p.Connect(b.url, provider, as)
	return p
}

// crowd signs up p0@example.org to p3@example.org, in this order, and breaks their connections.
func (b breaks) crowd() (people []testkit.Browser) {
	b.t.Helper()
	for i, as := range []string{"ada", "zofie", "moss", "max"} {
		people = append(people, b.person(fmt.Sprintf("p%d@example.org", i), "strava", as))
	}
	b.breakAll()
	return people
}

// snap revokes all access at the provider, and has one person's check find out.
func (b breaks) snap(provider string, finder testkit.Browser) {
	b.t.Helper()
	grants, err := b.sandbox.Grants(b.t.Context(), provider)
	if err != nil || len(grants) == 0 {
		b.t.Fatalf("%d grants, error %v", len(grants), err)
	}
	for _, g := range grants {
		if err := b.sandbox.RevokeGrant(b.t.Context(), g.ID); err != nil {
			b.t.Fatal(err)
		}
	}
	_, page := finder.Send(http.MethodPost, b.url+"/connections/"+provider+"/check", url.Values{})
	if page.Find("#card-"+provider+"[data-state=needs_reconnect]").Length() != 1 {
		b.t.Fatalf("the page does not say that %s needs its owner: %s", provider, page.Find("main").Text())
	}
}

// breakAll breaks every connection in the database.
func (b breaks) breakAll() {
	b.t.Helper()
	b.exec(`UPDATE cairn.connections SET state = 'needs_reconnect', cause = 'refresh_refused', state_since = now()`)
}

func (b breaks) exec(sql string) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql); err != nil {
		b.t.Fatal(err)
	}
}

// run runs the command, and returns what it prints on both outputs and its exit code. The shell command runs in b.dir.
func (b breaks) run(args ...string) (out, said string, code int) {
	b.t.Helper()
	if len(args) == 2 && args[0] == "--each" {
		args[1] = "cd " + b.dir + "; " + args[1]
	}
	return call(b.t, b.env, append([]string{"notices"}, args...)...)
}

// keep is a shell command that stores a message. The file has this name once it is complete.
const keep = `m=$(mktemp part.XXXXXX) && cat > "$m" && mv "$m" "message.${m#part.}"`

// handOver runs the command, which has to succeed, and returns the messages that it handed over.
func (b breaks) handOver() []string {
	b.t.Helper()
	if _, said, code := b.run("--each", keep); code != 0 {
		b.t.Fatalf("exit code %d:\n%s", code, said)
	}
	return b.taken()
}

// taken returns the messages that were handed over since the last call.
func (b breaks) taken() (messages []string) {
	b.t.Helper()
	files, _ := filepath.Glob(filepath.Join(b.dir, "message.*"))
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.t.Fatal(err)
		}
		messages = append(messages, string(text))
		_ = os.Remove(file)
	}
	return messages
}

// read parses a message and returns its two forms.
func (b breaks) read(message string) (header mail.Header, text, html string) {
	b.t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(message))
	if err != nil {
		b.t.Fatalf("%v:\n%s", err, message)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		b.t.Fatalf("it is %s, error %v", kind, err)
	}
	var forms []string
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, kind := range []string{"text/plain; charset=utf-8", "text/html; charset=utf-8"} {
		part, err := parts.NextPart() // which decodes quoted-printable
		if err != nil || part.Header.Get("Content-Type") != kind {
			b.t.Fatalf("want %s, error %v:\n%s", kind, err, message)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			b.t.Fatal(err)
		}
		forms = append(forms, string(text))
	}
	return m.Header, forms[0], forms[1]
}

// begin runs the command, as a process that can be killed, until the first message is handed over. goOn lets it finish.
func (b breaks) begin() *exec.Cmd {
	b.t.Helper()
	each := keep + "; while ! test -e go; do sleep 0.02; done"
	cmd := serverCommand(b.t, []string{"notices", "--each", each}, b.env...)
	cmd.Dir = b.dir
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { b.goOn(); _ = cmd.Process.Kill() })
	testkit.Eventually(b.t, "the first message is handed over", func() bool {
		files, _ := filepath.Glob(filepath.Join(b.dir, "message.*"))
		return len(files) == 1
	})
	return cmd
}

func (b breaks) goOn() {
	b.t.Helper()
	if err := os.WriteFile(filepath.Join(b.dir, "go"), nil, 0o600); err != nil {
		b.t.Error(err)
	}
}

// want checks the recipients of messages.
func (b breaks) want(messages []string, want ...string) {
	b.t.Helper()
	var got []string
	for _, message := range messages {
		header, _, _ := b.read(message)
		to, err := header.AddressList("To")
		if err != nil || len(to) != 1 {
			b.t.Fatalf("to %v, error %v", to, err)
		}
		got = append(got, to[0].Address)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		b.t.Errorf("the messages go to %q, want %q", got, want)
	}
}

func TestNoticeIsACompleteMessage(t *testing.T) {
	t.Parallel()
	b := newBreaks(t, "NOTICE_FROM=Büro <cairn@example.org>")
	ada := b.person("ada@example.org", "strava", "ada")
	if out, said, code := b.run(); out != "" || code != 0 {
		t.Fatalf("while all is well: exit code %d\n%s%s", code, out, said)
	}
	b.snap("strava", ada)
	shown, _, code := b.run()
	if first, _, _ := strings.Cut(shown, "\n"); code != 0 || !strings.HasPrefix(first, "From cairn@example.org ") {
		t.Fatalf("exit code %d, it shows:\n%s", code, shown)
	}
	if n := len(b.taken()); n != 0 {
		t.Fatalf("%d messages were handed over by showing them", n)
	}
	messages := b.handOver()
	if len(messages) != 1 {
		t.Fatalf("%d messages, want one", len(messages))
	}
	header, text, html := b.read(messages[0])
	subject, err := new(mime.WordDecoder).DecodeHeader(header.Get("Subject"))
	if err != nil || subject != "Please connect Strava again" {
		t.Errorf("subject %q, error %v", subject, err)
	}
	for field, want := range map[string]mail.Address{
		"From": {Name: "Büro", Address: "cairn@example.org"},
		"To":   {Address: "ada@example.org"},
	} {
		if got, err := header.AddressList(field); err != nil || len(got) != 1 || *got[0] != want {
			t.Errorf("%s: %v, error %v", field, got, err)
		}
	}
	if at, err := header.Date(); err != nil || time.Since(at) > testkit.Patience {
		t.Errorf("date %v, error %v", at, err)
	}
	for field, want := range map[string]string{
		"Mime-Version":   "1.0",
		"Auto-Submitted": "auto-generated",
	} {
		if got := header.Get(field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	id := header.Get("Message-Id")
	if !strings.HasPrefix(id, "<notice.") || !strings.HasSuffix(id, "@example.org>") || !strings.Contains(shown, id) {
		t.Errorf("Message-ID %q is not the one that was shown", id)
	}
	for _, want := range []string{
		"Strava disconnected Cairn",
		"Access was revoked at Strava, or has expired. Reconnect it to go on. Nothing else is lost.",
		"Reconnect Strava",
		b.url + "/connections",
	} {
		if !strings.Contains(text, want) || !strings.Contains(html, want) {
			t.Errorf("%q is missing in:\n%s\n%s", want, text, html)
		}
	}
	if regexp.MustCompile(`src=|@import|url\(`).MatchString(html) {
		t.Errorf("it loads something:\n%s", html)
	}
	if strings.Contains(messages[0], "\r") || strings.Contains(messages[0], "Ada") {
		t.Errorf("it has \\r\\n line ends, or a name that a person typed:\n%q", messages[0])
	}
	if _, page := ada.Send(http.MethodGet, b.url+"/connections", nil); page.Find("#card-strava .banner").Length() != 1 {
		t.Errorf("the link leads to %s, which does not say what is wrong", page.Url)
	}
}

// A message says the same about a connection as its card, with times in its owner's zone.
func TestNoticeSaysWhy(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	b.person("ada@example.org", "strava", "ada")
	b.exec(`UPDATE cairn.connections SET state = 'needs_reconnect', cause = 'damaged', state_since = now()`)
	for zone, want := range map[string]string{"NULL": " UTC.", "'Asia/Tokyo'": " JST."} {
		b.exec(`UPDATE cairn.users SET time_zone = ` + zone)
		shown, _, _ := b.run()
		text := strings.ReplaceAll(shown, "=\n", "") // lines that quoted-printable has broken
		if _, since, found := strings.Cut(text, "\nNothing new has come from Strava since "); !found ||
			!strings.HasSuffix(strings.TrimSpace(strings.SplitAfterN(since, "\n", 2)[0]), want) {
			t.Errorf("in %s it shows:\n%s", zone, shown)
		}
	}
}

// Owners get one message for each break, however often the operator's timer fires.
func TestNoticesAreHandedOverOnce(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	ada := b.person("ada@example.org", "strava", "ada")
	b.snap("strava", ada)
	for round := range 2 {
		if n := len(b.handOver()); n != 1 {
			t.Fatalf("break %d: %d messages, want one", round, n)
		}
		if n := len(b.handOver()); n != 0 {
			t.Fatalf("break %d: %d messages the second time", round, n)
		}
		if out, _, _ := b.run(); out != "" {
			t.Errorf("break %d is still shown:\n%s", round, out)
		}
		ada.Connect(b.url, "strava", "ada")
		if n := len(b.handOver()); n != 0 {
			t.Errorf("%d messages about a connection that works", n)
		}
		b.snap("strava", ada)
	}
	ada.Send(http.MethodPost, b.url+"/connections/strava/disconnect", url.Values{})
	if n := len(b.handOver()); n != 0 {
		t.Errorf("%d messages about a connection that is gone", n)
	}
}

// If the command fails for one message, the others are still sent, and the next run tries that one again.
func TestNoticesThatFail(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	b.crowd()
	_, said, code := b.run("--each", "! grep -q '^To: <p1@'")
	if code != 1 || !strings.Contains(said, "the command failed for 1 of 4 messages") ||
		!strings.Contains(said, "exit status 1") || strings.Contains(said, "@example.org") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	b.want(b.handOver(), "p1@example.org")
}

// Some people have no address, or one that is not ASCII, or one that can't be in a header.
func TestNoticesByAddress(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	b.person("jörg@bücher.example", "garmin", "ada")
	b.person("bare@example.org", "garmin", "max")
	for _, name := range []string{"zofie", "moss"} {
		visitor := testkit.NewBrowser(t)
		_, consent := visitor.Send(http.MethodPost, b.url+"/login/strava", url.Values{})
		form := url.Values{"person": {name}, "decision": {"allow"}, "scope": {"read"}}
		visitor.Send(http.MethodPost, consent.Url.String(), form)
	}
	b.exec(`UPDATE cairn.passwords SET email = E'bare@example.org\nBcc: all@example.org' WHERE email LIKE 'bare%'`)
	b.breakAll()
	_, said, code := b.run("--each", keep)
	messages := b.taken()
	b.want(messages, "jörg@bücher.example")
	if code != 1 || !strings.Contains(said, "no e-mail address is known for 2") ||
		!strings.Contains(said, "can't be used in a message") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
}

// Only one process hands over messages at a time, and it skips connections that work again by then. A connection that
// breaks again while its message is being handed over is reported again.
func TestNoticesAreHandedOverByOne(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	people := b.crowd()
	first := b.begin()
	out, said, code := b.run("--each", keep)
	if code != 0 || !strings.Contains(said, "another server notices is running") {
		t.Errorf("the second exits with %d:\n%s%s", code, out, said)
	}
	people[1].Connect(b.url, "strava", "zofie")
	b.exec(`
		UPDATE cairn.connections SET state_since = now()
		WHERE identity_id = (SELECT min(identity_id) FROM cairn.connections)`)
	b.goOn()
	if err := first.Wait(); err != nil {
		t.Error(err)
	}
	b.want(b.taken(), "p0@example.org", "p2@example.org", "p3@example.org")
	b.want(b.handOver(), "p0@example.org")
}

// A run that is killed loses no message, and a run that is asked to stop sends none twice.
func TestNoticesRunThatIsStopped(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		signal os.Signal
		next   []string
	}{
		"killed":  {os.Kill, []string{"p0@example.org", "p1@example.org", "p2@example.org", "p3@example.org"}},
		"stopped": {os.Interrupt, []string{"p1@example.org", "p2@example.org", "p3@example.org"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBreaks(t)
			b.crowd()
			cmd := b.begin()
			if err := cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if tt.signal == os.Kill {
				_ = cmd.Wait()
			}
			b.goOn()
			if tt.signal != os.Kill && (cmd.Wait() == nil || cmd.ProcessState.ExitCode() != 1) {
				t.Errorf("exit code %d", cmd.ProcessState.ExitCode())
			}
			b.want(b.taken(), "p0@example.org")
			testkit.Eventually(t, "the lock is released", func() bool {
				var held bool
				err := b.pool.QueryRow(t.Context(), `
					SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory'
					AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`).Scan(&held)
				return err == nil && !held
			})
			b.want(b.handOver(), tt.next...)
		})
	}
}

func TestNoticesCommandsGetNoSecrets(t *testing.T) {
	t.Parallel()
	b := newBreaks(t)
	b.person("ada@example.org", "strava", "ada")
	b.breakAll()
	_, said, code := b.run("--each", "env")
	if code != 0 || !strings.Contains(said, "SMTP_PASSWORD=") {
		t.Errorf("exit code %d:\n%s", code, said)
	}
	for _, secret := range []string{"DATABASE_URL", "_SECRET", "fleet-strava"} {
		if strings.Contains(said, secret) {
			t.Errorf("the command sees %s", secret)
		}
	}
	for _, args := range [][]string{{"--each"}, {"--each", " "}, {"x"}, {"--all"}, {"--each", "cat", "--json"}} {
		_, said, code := call(t, b.env, append([]string{"notices"}, args...)...)
		if code != 2 || !strings.Contains(said, "see: server help notices") {
			t.Errorf("%q: exit code %d: %s", args, code, said)
		}
	}
	wantFailure(t, []string{"NOTICE_FROM=nobody"}, "notices", "NOTICE_FROM")
}
