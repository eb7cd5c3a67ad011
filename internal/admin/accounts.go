package admin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"cairn/internal/auth"
	"cairn/internal/routes"
)

// AboutAccounts explains Accounts.
const AboutAccounts = `
  list [--json]
  show WHOSE
  disable WHOSE
  enable WHOSE
  reset-link WHOSE
  reset-factors WHOSE
  delete WHOSE --yes
  invite ADDRESS

WHOSE is one of these:
  --user E-MAIL       the person who has this e-mail
  --user-id N         the user with this id
  --provider NAME:ID  the person who has this account at a provider

list lists all accounts. show prints one account, and its recent activity.
reset-link prints a link to choose a new password. It works once, for 30 minutes,
and changes nothing until it is used. Find out who is asking before you hand it
over.
reset-factors removes the passkeys, the authenticator app and the recovery codes of
an account whose owner has lost them, and ends all sessions. It leaves the password
and the providers.
disable ends all sessions of an account, lets nobody sign in to it, and fetches
nothing for it. Its data stays, and enable undoes this.
invite ADDRESS prints a link that makes one account, within seven days. With a mail
server, it also mails one. With SIGNUP=invite or closed, nobody can sign up without
an invitation.
delete deletes an account and all its data for good. It needs --yes, and says what
only the person can still do.
The person sees on the account page that you made a reset link, reset factors,
disabled the account or enabled it.

--json has "list" print one JSON object a line: id, name, email,
email_confirmed, password, passkeys, app, recovery_codes, identities, created,
disabled.
`

// accountOrder is what to do with whose account.
type accountOrder struct {
	verb string
	person
	address   string // whom to invite
	yes, json bool
}

func parseAccountOrder(args []string) (o accountOrder, err error) {
	o.verb, args, err = Verb(args,
		"list", "show", "disable", "enable", "reset-link", "reset-factors", "invite", "delete")
	if err != nil {
		return accountOrder{}, err
	}
	if o.verb == "invite" {
		o.address, err = parseAddress(args)
		return o, err
	}
	err = Parse(args, func(f *flag.FlagSet) {
		switch o.verb {
		case "list":
			f.BoolVar(&o.json, "json", false, "")
			return
		case "delete":
			f.BoolVar(&o.yes, "yes", false, "")
		}
		o.person.define(f)
	})
	switch {
	case err != nil:
		return accountOrder{}, err
	case o.verb != "list" && (o.person.chosen() != 1 || o.userID < 0):
		return accountOrder{}, UsageError("it takes one of --user, --user-id and --provider")
	}
	return o, o.person.check()
}

// Accounts lists accounts, or does to one what only an operator does.
func Accounts(ctx context.Context, e Env, out io.Writer) error {
	o, err := parseAccountOrder(e.Args)
	if err != nil {
		return err
	}
	return e.operate(ctx, func(ctx context.Context, by operator) error {
		userID, err := o.person.find(ctx, by.Accounts)
		if err != nil {
			return err
		}
		switch o.verb {
		case "list":
			return by.list(ctx, o.json, out)
		case "show":
			return by.show(ctx, userID, out)
		case "disable":
			return by.disable(ctx, userID, out)
		case "enable":
			return by.enable(ctx, userID, out)
		case "invite":
			return by.invite(ctx, o.address, out)
		case "reset-link":
			return by.resetLink(ctx, userID, out)
		case "reset-factors":
			return by.resetFactors(ctx, userID, out)
		}
		return by.delete(ctx, userID, o.yes, out)
	})
}

// AccountRow is a line of the list.
type AccountRow struct {
	ID         int64      `json:"id"`
	Name       string     `json:"name"`
	Email      string     `json:"email"` // "": none
	Confirmed  bool       `json:"email_confirmed"`
	Password   bool       `json:"password"`       // there is one
	Passkeys   int        `json:"passkeys"`       // how many there are
	App        bool       `json:"app"`            // an authenticator app is set up
	Codes      int        `json:"recovery_codes"` // how many are left
	Identities []string   `json:"identities"`     // accounts at providers that sign in, as "name:id"
	Created    time.Time  `json:"created"`
	Disabled   *time.Time `json:"disabled"` // since when; nil: it isn't
}

func rowOf(a auth.Account) AccountRow {
	row := AccountRow{
		ID: a.ID, Name: a.Name, Email: a.Email, Confirmed: a.Verified, Password: a.Password, Passkeys: len(a.Passkeys),
		Identities: []string{}, App: a.Second.HasApp(), Codes: a.Second.Codes,
		Created: a.Created.UTC(),
	}
	if !a.DisabledAt.IsZero() {
		row.Disabled = new(a.DisabledAt.UTC())
	}
	for _, i := range a.Identities {
		if i.SignsIn {
			row.Identities = append(row.Identities, i.Provider+":"+i.Subject)
		}
	}
	return row
}

func (r AccountRow) disabledSince() string {
	if r.Disabled == nil {
		return ""
	}
	return stamp(*r.Disabled)
}

// methods names the sign-in methods.
func (r AccountRow) methods() string {
	methods := r.Identities
	if r.Passkeys > 0 {
		methods = append([]string{"passkey"}, methods...)
	}
	if r.Password {
		methods = append([]string{"password"}, methods...)
	}
	return strings.Join(methods, " ")
}

func (o operator) list(ctx context.Context, asJSON bool, out io.Writer) error {
	row, end := list(out, asJSON, "ID\tNAME\tE-MAIL\tSIGNS IN WITH\tCREATED\tDISABLED", func(r AccountRow) string {
		return fmt.Sprintf("%d\t%q\t%s\t%s\t%s\t%s",
			r.ID, r.Name, r.Email, r.methods(), stamp(r.Created), r.disabledSince())
	})
	err := o.Accounts.Each(ctx, func(a auth.Account) error { return row(rowOf(a)) })
	if err != nil {
		return err
	}
	return end()
}

// shownEvents is how many of the things that happened to an account are shown.
const shownEvents = 20

func (o operator) show(ctx context.Context, userID int64, out io.Writer) error {
	account, err := o.Accounts.Get(ctx, userID)
	if err != nil {
		return err
	}
	happened, err := o.Accounts.Events(ctx, userID, shownEvents)
	if err != nil {
		return err
	}
	row, email := rowOf(account), account.Email
	switch {
	case email == "":
		email = "none"
	case !account.Verified:
		email += " (not confirmed)"
	}
	_, err = fmt.Fprintf(out, "user %d, %q\ne-mail: %s\nsigns in with: %s\ncreated: %s\n",
		row.ID, row.Name, email, row.methods(), stamp(row.Created))
	if account.Second.On && err == nil {
		_, err = fmt.Fprintf(out, "authenticator app: %s, recovery codes: %d\n", yesNo(row.App), row.Codes)
	}
	if row.Disabled != nil && err == nil {
		_, err = fmt.Fprintf(out, "disabled: %s\n", row.disabledSince())
	}
	for _, e := range happened {
		if err == nil {
			_, err = fmt.Fprintf(out, "%s  %s\n", stamp(e.At), e.Kind)
		}
	}
	return err
}

// knowsDisabled is the schema version from which on a server lets nobody in to a disabled account.
const knowsDisabled = 27

func (o operator) disable(ctx context.Context, userID int64, out io.Writer) error {
	err := NoneOlder(ctx, o.Sessions.Pool, knowsDisabled, "lets people in to disabled accounts")
	if err != nil {
		return err
	}
	ended, changed, err := o.Disable(ctx, userID)
	switch {
	case err != nil:
		return err
	case !changed:
		_, err = fmt.Fprintf(out, "user %d is disabled already\n", userID)
	default:
		_, err = fmt.Fprintf(out, "disabled user %d, ended %s\n", userID, Plural(ended, "session"))
	}
	return err
}

func (o operator) enable(ctx context.Context, userID int64, out io.Writer) error {
	changed, err := o.Accounts.Enable(ctx, userID)
	switch {
	case err != nil:
		return err
	case !changed:
		_, err = fmt.Fprintf(out, "user %d is not disabled\n", userID)
	default:
		_, err = fmt.Fprintf(out, "enabled user %d\n", userID)
	}
	return err
}

func (o operator) resetLink(ctx context.Context, userID int64, out io.Writer) error {
	token, err := o.Accounts.MakeResetLink(ctx, userID)
	switch {
	case errors.Is(err, auth.ErrNoEmail):
		return fmt.Errorf("user %d has no e-mail address, so no password could sign in", userID)
	case errors.Is(err, auth.ErrDisabled):
		return fmt.Errorf("user %d is disabled", userID)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(out, routes.ResetURL(o.config.Site(), token))
	return err
}

func (o operator) resetFactors(ctx context.Context, userID int64, out io.Writer) error {
	done, err := o.ResetFactors(ctx, userID)
	switch {
	case errors.Is(err, auth.ErrNoEmail):
		return fmt.Errorf("nothing was changed: user %d signs in with passkeys only, and has no e-mail address "+
			"for a reset link", userID)
	case errors.Is(err, auth.ErrDisabled):
		return fmt.Errorf("user %d is disabled", userID)
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(out, "removed %s, authenticator app: %s; ended all sessions of user %d\n",
		Plural(done.Passkeys, "passkey"), yesNo(done.App), userID)
	if done.Methods == 0 && err == nil {
		_, err = fmt.Fprintf(out, "no sign-in method is left: make a link with reset-link --user-id %d\n", userID)
	}
	return err
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

func (o operator) invite(ctx context.Context, address string, out io.Writer) error {
	token, mailed, err := o.Accounts.Invite(ctx, address)
	_, refused := errors.AsType[*auth.FieldError](err)
	switch {
	case refused:
		return UsageError("that is not an e-mail address")
	case errors.Is(err, auth.ErrEmailTaken):
		return errors.New("there is an account with this address")
	case err != nil:
		return err
	}
	_, err = fmt.Fprintln(out, routes.InviteURL(o.config.Site(), token))
	if mailed && err == nil {
		_, err = fmt.Fprintf(out, "a second link to the same invitation is mailed to %s\n", address)
	}
	return err
}

func (o operator) delete(ctx context.Context, userID int64, sure bool, out io.Writer) error {
	account, err := o.Accounts.Get(ctx, userID)
	if err != nil {
		return err
	}
	if !sure {
		return fmt.Errorf("nothing is deleted yet: --yes deletes user %d, %q, for good", userID, account.Name)
	}
	gone, err := o.DeleteByOperator(ctx, userID)
	if err != nil {
		return err
	}
	lines := []string{fmt.Sprintf("deleted user %d", userID)}
	for _, p := range gone.Revoking {
		lines = append(lines, p.Name+" is asked to remove our access")
	}
	for _, p := range gone.Manual {
		lines = append(lines, "only the person can remove our access at "+p.Name+": "+p.ManageURL)
	}
	_, err = fmt.Fprintln(out, strings.Join(lines, "\n"))
	return err
}
