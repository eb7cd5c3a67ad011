package routes

import (
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// mailedTo returns the link of a message that leads to a page.
func mailedTo(page, cookie string) SecretLink {
	return SecretLink{
		Name: cookie, From: []string{page}, Param: "token", Page: page, Valid: auth.ValidToken, Refused: "mailed-link",
	}
}

// mailedLink is a link in a message, with its page. The page says what the link does, and its form does it.
type mailedLink struct {
	SecretLink
	purpose auth.Purpose
	// own: it is about the account that is signed in. Another account's link is refused, so that a stranger can't trick
	// somebody into proving an address for them.
	own    bool
	fields bool // the form has fields, and shows what is wrong with them
	show   func(http.ResponseWriter, *http.Request, openedLink) error
	// act returns the path of the next page. After that, or an auth.ErrLink, the browser forgets the link.
	act func(http.ResponseWriter, *http.Request, auth.Link) (next string, err error)
}

// openedLink is the link that a browser has opened, and how its page is shown.
type openedLink struct {
	auth.Link
	About  string // a field of the form
	Status int
	Errors map[string]string
}

// addMailed adds the page of a link and its form.
func (s *server) addMailed(r chi.Router, m mailedLink, limits ...func(http.Handler) http.Handler) {
	get(r, m.Page, s.handle(func(w http.ResponseWriter, r *http.Request) error {
		l, err := s.findMailed(r, m)
		if err != nil {
			return s.refuseMailed(w, r, m, err)
		}
		return s.showMailed(w, r, m, openedLink{Link: l, Status: http.StatusOK})
	}))
	r.With(limits...).Post(m.Page, s.handle(func(w http.ResponseWriter, r *http.Request) error {
		return s.actOnMailed(w, r, m)
	}))
}

// findMailed returns the link that this browser has opened. Errors: auth.ErrLink.
func (s *server) findMailed(r *http.Request, m mailedLink) (auth.Link, error) {
	l, err := s.Accounts.FindLink(r.Context(), m.purpose, Site{s}.Secret(r, m.SecretLink))
	if current, _ := session.Current(r.Context()); err == nil && m.own && current.UserID != l.UserID {
		return auth.Link{}, auth.ErrLink
	}
	return l, err
}

func (s *server) showMailed(w http.ResponseWriter, r *http.Request, m mailedLink, o openedLink) error {
	w.Header().Set("Cache-Control", "no-store") // it may name an account to a visitor
	o.About = Site{s}.About(r, m.SecretLink)
	return m.show(w, r, o)
}

func (s *server) actOnMailed(w http.ResponseWriter, r *http.Request, m mailedLink) error {
	if !(Site{s}).IsAbout(r, m.SecretLink) {
		redirect(w, r, m.Page)
		return nil
	}
	l, err := s.findMailed(r, m)
	if err != nil {
		return s.refuseMailed(w, r, m, err)
	}
	next, err := m.act(w, r, l)
	if status, problems, ok := s.formProblem(w, err); ok && m.fields {
		return s.showMailed(w, r, m, openedLink{Link: l, Status: status, Errors: problems})
	}
	if err != nil {
		return s.refuseMailed(w, r, m, err)
	}
	Site{s}.DropSecret(w, m.SecretLink)
	redirect(w, r, next)
	return nil
}

// refuseMailed answers errors about a link: one that is no good leads to the account page or the sign-in page, which
// says so.
func (s *server) refuseMailed(w http.ResponseWriter, r *http.Request, m mailedLink, err error) error {
	if !errors.Is(err, auth.ErrLink) {
		return err
	}
	if _, ok := session.Current(r.Context()); ok {
		Site{s}.DropSecret(w, m.SecretLink)
		s.flash(r, info, mailedNotices[m.Refused].Text)
		redirect(w, r, "/account")
		return nil
	}
	Site{s}.RefuseLink(w, r, m.SecretLink)
	return nil
}

// mailedNotices are what visitors read on the sign-in page after links in messages, by code.
var mailedNotices = map[string]notice{
	"mailed-link": {Kind: info, Text: "This link doesn’t work any more, or part of it is missing. " +
		"Ask for a new one."},
	"not-me-link": {Kind: info, Text: "This link doesn’t work any more, or part of it is missing. If somebody else " +
		"is in your account, choose a new password."},
	"taken-meanwhile": {Kind: info, Text: "Another account uses this e-mail now."},
	"password-reset": {Kind: good, Text: "Your new password is set, and you’re signed out everywhere. " +
		"Sign in with it."},
	"email-freed": {Kind: info, Text: "This e-mail was never confirmed, so we couldn’t " +
		"give you the account that used it. If that account is yours, sign in with a passkey or a provider, " +
		"and add your e-mail again. If not, create an account."},
}

// takenMeanwhile is where a link leads if another account has its address by now.
const takenMeanwhile = "/login?notice=taken-meanwhile"
