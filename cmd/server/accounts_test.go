package main

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/admin"
	"cairn/internal/seal"
	"cairn/internal/testkit"
)

// operated is a server whose operator can run the command "accounts".
type operated struct {
	*serving
	t        *testing.T
	database string
	env      []string
}

func newOperated(t *testing.T, env ...string) operated {
	t.Helper()
	database := dbtest.NewPatientURL(t)
	env = append([]string{"PORT=0", "DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + database}, env...)
	return operated{start(t, env...), t, database, env}
}

func (o operated) accounts(args string) string {
	o.t.Helper()
	return commandOutput(o.t, o.env, append([]string{"accounts"}, strings.Fields(args)...)...)
}

// activity is the recent activity on a person's account page.
func (o operated) activity(b testkit.Browser) string {
	o.t.Helper()
	_, page := b.Send(http.MethodGet, o.url+"/account", nil)
	return page.Find("#activity").Text()
}

// Somebody who has lost phone and recovery codes gets in again with a password, or with a link for one.
func TestOperatorResetsFactors(t *testing.T) {
	t.Parallel()
	o := newOperated(t, "ENCRYPTION_KEY="+testkit.Key1)
	ada := testkit.NewBrowser(t)
	ada.SignUp(o.url, "ada@example.org")
	wantFailure(t, o.env, "accounts reset-factors", "see: server help accounts")
	key, err := hex.DecodeString(testkit.Key1)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	app := hex.EncodeToString(sealer.Seal([]byte("a secret"), ""))
	factors := `
		INSERT INTO cairn.second_factors (user_id, app, app_since) VALUES (1, '\x` + app + `', now())
		ON CONFLICT DO NOTHING;
		INSERT INTO cairn.recovery_codes (user_id, start, hash) VALUES (1, 'abcd', '');
		INSERT INTO cairn.passkey_users (user_id, handle) VALUES (1, sha256('1')) ON CONFLICT DO NOTHING;
		INSERT INTO cairn.passkeys (user_id, credential_id, public_key, host, name, aaguid, counter, backup_eligible,
		                            backed_up)
		VALUES (1, sha256('2'), '', 'localhost', 'Phone', decode(repeat('00', 16), 'hex'), 0, false, false)`
	testkit.Execute(t, o.database, factors)
	if row := readLines[admin.AccountRow](t, o.accounts("list --json"))[0]; !row.App || row.Codes != 1 {
		t.Errorf("listed %+v", row)
	}
	if out := o.accounts("show --user-id 1"); !strings.Contains(out, "authenticator app: yes, recovery codes: 1\n") {
		t.Errorf("it shows %q", out)
	}
	if out := o.accounts("reset-factors --user ada@example.org"); out !=
		"removed 1 passkey, authenticator app: yes; ended all sessions of user 1\n" {
		t.Errorf("it says %q", out)
	}
	if said := o.activity(ada); said != "" {
		t.Error("a session goes on")
	}
	ada.SignIn(o.url, "ada@example.org")
	if said := o.activity(ada); !strings.Contains(said, "The operator of this site removed your passkeys") {
		t.Errorf("the recent activity says %q", said)
	}
	testkit.Execute(t, o.database, factors+`; DELETE FROM cairn.passwords`)
	if out := o.accounts("reset-factors --user-id 1"); !strings.Contains(out, "reset-link --user-id 1\n") {
		t.Errorf("it says %q", out)
	}
	testkit.Execute(t, o.database, factors+`; DELETE FROM cairn.emails`)
	wantFailure(t, o.env, "accounts reset-factors --user-id 1", "nothing was changed")
}

func TestOperatorListsAccounts(t *testing.T) {
	t.Parallel()
	o := newOperated(t)
	ada := testkit.NewBrowser(t)
	ada.SignUp(o.url, "ada@example.org")
	ada.Connect(o.url, "strava", "ada")
	testkit.NewBrowser(t).SignUp(o.url, "moss@example.org")
	testkit.Execute(t, o.database, `
		INSERT INTO cairn.users (display_name) SELECT 'Person ' || n FROM generate_series(1, 1200) n`)
	rows := readLines[admin.AccountRow](t, o.accounts("list --json"))
	if len(rows) != 1202 {
		t.Fatalf("listed %d accounts", len(rows))
	}
	for i, row := range rows {
		if row.ID != int64(i+1) {
			t.Fatalf("row %d is user %d", i, row.ID)
		}
	}
	subject := testkit.Ask[string](t, o.database, `SELECT subject FROM cairn.identities`)
	r, identities := rows[0], strings.Join(rows[0].Identities, "")
	if r.Email != "ada@example.org" || !r.Password || identities != "strava:"+subject {
		t.Errorf("listed %+v", r)
	}
	if lines := strings.Count(o.accounts("list"), "\n"); lines != 1203 {
		t.Errorf("the table has %d lines", lines)
	}
	for _, whose := range []string{"--user ADA@example.org", "--user-id 1", "--provider strava:" + subject} {
		out := o.accounts("show " + whose)
		if !strings.Contains(out, "signs in with: password strava:"+subject) || !strings.Contains(out, "method_added") {
			t.Errorf("show %s prints\n%s", whose, out)
		}
	}
	for _, args := range []string{"", "show", "show --user-id 0", "show --user-id 1 --user a@b.example",
		"list --user-id 1", "show --json --user-id 1", "reset-link",
		"delete --yes", "delete --all --yes", "reset-link --yes --user-id 1",
		"show --provider strava", "list x"} {
		wantFailure(t, o.env, "accounts "+args, "see: server help accounts")
	}
	wantFailure(t, o.env, "accounts show --user-id 9999", "there is no user 9999")
}

// An operator's link sets a password once, without a mail server, and proves no address.
func TestOperatorMakesAResetLink(t *testing.T) {
	t.Parallel()
	o := newOperated(t)
	ada, other := testkit.NewBrowser(t), testkit.NewBrowser(t)
	ada.SignUp(o.url, "ada@example.org")
	ada.Connect(o.url, "strava", "ada")
	testkit.Execute(t, o.database, `UPDATE cairn.emails SET verified_at = NULL`)
	link := strings.TrimSpace(o.accounts("reset-link --user ada@example.org"))
	if !strings.HasPrefix(link, "http://localhost") || !strings.Contains(link, "/reset?token=") {
		t.Fatalf("it prints %q", link)
	}
	if said := o.activity(ada); !strings.Contains(said, "The operator of this site made a link") {
		t.Errorf("the account page says %q", said)
	}
	use := func(link string) string {
		t.Helper()
		u, err := url.Parse(link)
		if err != nil {
			t.Fatal(err)
		}
		other.Send(http.MethodGet, o.url+u.RequestURI(), nil)
		_, page := other.Send(http.MethodGet, o.url+"/reset", nil)
		about := page.Find("input[name=about]").AttrOr("value", "")
		_, page = other.Send(http.MethodPost, o.url+"/reset",
			url.Values{"about": {about}, "password": {"harbour mist under seven lamps"}})
		return page.Find("#notice").Text()
	}
	if said := use(link); !strings.Contains(said, "Your new password is set") {
		t.Errorf("the page says %q", said)
	}
	if said := use(link); !strings.Contains(said, "doesn’t work any more") {
		t.Errorf("a second time the page says %q", said)
	}
	other.Send(http.MethodPost, o.url+"/login",
		url.Values{"email": {"ada@example.org"}, "password": {"harbour mist under seven lamps"}})
	if said := o.activity(other); !strings.Contains(said, "by a link from the operator") {
		t.Errorf("the account page says %q", said)
	}
	if row := readLines[admin.AccountRow](t, o.accounts("list --json"))[0]; row.Confirmed || len(row.Identities) != 1 {
		t.Errorf("afterwards the account is %+v", row)
	}
	testkit.Execute(t, o.database, `INSERT INTO cairn.users (display_name) VALUES ('Moss')`)
	wantFailure(t, o.env, "accounts reset-link --user-id 2", "has no e-mail address")
}

// A deletion by the operator is the person's: jobs revoke our access where they can.
func TestOperatorDeletesAnAccount(t *testing.T) {
	t.Parallel()
	o := newOperated(t)
	ada := testkit.NewBrowser(t)
	ada.SignUp(o.url, "ada@example.org")
	for _, provider := range []string{"strava", "foursquare"} {
		ada.Connect(o.url, provider, "ada")
	}
	wantFailure(t, o.env, "accounts delete --user-id 1", `--yes deletes user 1, "`)
	ada.WantConnected(o.url, 2)
	out := o.accounts("delete --user-id 1 --yes")
	for _, want := range []string{"deleted user 1\n", "Strava is asked to remove our access",
		"only the person can remove our access at Foursquare: https://"} {
		if !strings.Contains(out, want) {
			t.Errorf("it prints\n%s", out)
		}
	}
	testkit.Eventually(t, "Strava has revoked our access", func() bool {
		return testkit.Ask[int](t, o.database, `
			SELECT ((SELECT count(*) FROM cairn.withdrawals) + (SELECT count(*) FROM cairn.users)
				+ (SELECT count(*) FROM cairn.sessions))::int`) == 0
	})
	if _, page := ada.Send(http.MethodGet, o.url+"/", nil); page.Find("header a[href='/account']").Length() != 0 {
		t.Error("she is signed in")
	}
}

func TestOperatorDisablesAnAccount(t *testing.T) {
	t.Parallel()
	o := newOperated(t, "OPERATOR_CONTACT=help@example.org")
	ada, phone := testkit.NewBrowser(t), testkit.NewBrowser(t)
	ada.SignUp(o.url, "ada@example.org")
	phone.SignIn(o.url, "ada@example.org")
	ada.Connect(o.url, "strava", "ada")
	disabledSince := func() *time.Time {
		return readLines[admin.AccountRow](t, o.accounts("list --json"))[0].Disabled
	}
	for _, step := range []struct {
		verb, says string
		disabled   bool
	}{
		{"disable", "disabled user 1, ended 2 sessions\n", true},
		{"disable", "user 1 is disabled already\n", true},
		{"enable", "enabled user 1\n", false},
		{"enable", "user 1 is not disabled\n", false},
	} {
		if out := o.accounts(step.verb + " --user ada@example.org"); out != step.says {
			t.Errorf("%s prints %q", step.verb, out)
		}
		if since := disabledSince(); (since != nil) != step.disabled {
			t.Errorf("after %s it is disabled since %v", step.verb, since)
		}
		if out := o.accounts("show --user-id 1"); strings.Contains(out, "disabled: ") != step.disabled {
			t.Errorf("show prints\n%s", out)
		}
	}
	phone.SignIn(o.url, "ada@example.org")
	phone.WantConnected(o.url, 1)
	if said := o.activity(phone); !strings.Contains(said, "The operator of this site disabled your account") {
		t.Errorf("the account page says %q", said)
	}
	testkit.Execute(t, o.database, `UPDATE cairn.instances SET schema_version = 26`)
	wantFailure(t, o.env, "accounts disable --user-id 1", "update it first")
	phone.WantConnected(o.url, 1)
}

// An invitation is printed and mailed. It makes an account where nobody else gets one.
func TestOperatorInvites(t *testing.T) {
	t.Parallel()
	o := newOperated(t, "SIGNUP=closed")
	out := o.accounts("invite ada@example.org")
	link, note, _ := strings.Cut(out, "\n")
	if !strings.HasPrefix(link, "http://localhost") || !strings.Contains(link, "/invitation?token=") ||
		!strings.Contains(note, "mailed to ada@example.org") {
		t.Fatalf("it prints %q", out)
	}
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	ada := testkit.NewBrowser(t)
	ada.Send(http.MethodGet, o.url+u.RequestURI(), nil)
	_, page := ada.Send(http.MethodGet, o.url+"/signup", nil)
	about := page.Find("form[action='/signup'] input[name=about]").AttrOr("value", "")
	form := url.Values{"about": {about}, "password": {"granite lichen and slow rain"}}
	ada.Send(http.MethodPost, o.url+"/signup", form)
	ada.WantConnected(o.url, 0)
	rows := readLines[admin.AccountRow](t, o.accounts("list --json"))
	if len(rows) != 1 || rows[0].Email != "ada@example.org" || rows[0].Confirmed {
		t.Errorf("afterwards there are %+v", rows)
	}
	wantFailure(t, o.env, "accounts invite ADA@example.org", "there is an account with this address")
	for _, args := range []string{"", " ada", " a@b.example c@d.example", " --user-id 1"} {
		wantFailure(t, o.env, "accounts invite"+args, "see: server help accounts")
	}
}
