package routes

import (
	"errors"
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// emailView is the page on which people enter a new address for their account.
type emailView struct {
	view
	Email  string // as it was typed
	Old    string // "": none
	Errors map[string]string
}

const emailPath = "/account/email"

func (s *server) changeEmailPage(w http.ResponseWriter, r *http.Request) error {
	return s.showChangeEmail(w, r, http.StatusOK, emailView{})
}

func (s *server) showChangeEmail(w http.ResponseWriter, r *http.Request, status int, v emailView) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	if !s.Accounts.MailOn() {
		return errNoPage
	}
	title := "Change your e-mail"
	if v.Old = account.Email; v.Old == "" {
		title = "Add an e-mail"
	}
	v.view = s.view(r, formTitle(title, v.Errors))
	return s.render(w, status, "email", v)
}

func (s *server) requestChange(w http.ResponseWriter, r *http.Request) error {
	if !s.Accounts.MailOn() {
		return errNoPage
	}
	current, _ := session.Current(r.Context())
	v := emailView{Email: r.PostForm.Get("email")}
	err := s.Accounts.RequestChange(r.Context(), current.UserID, v.Email, address(r))
	if status, problems, ok := s.formProblem(w, err); ok {
		v.Errors = problems
		return s.showChangeEmail(w, r, status, v)
	}
	if err != nil {
		return err
	}
	redirect(w, r, mailedFor("change"))
	return nil
}

// changeLink proves a new address for an account, in a browser that is signed in to it.
var changeLink = SecretLink{
	Name: "change-link", From: []string{"/account/email/confirm"}, Param: "token", Page: "/account/email/confirm",
	Valid: auth.ValidToken, Refused: "mailed-link",
}

func (s *server) changePage(w http.ResponseWriter, r *http.Request) error {
	l, err := s.ownLink(r, auth.ToChange, changeLink)
	if err != nil {
		return s.refuseMailed(w, r, changeLink, err)
	}
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	detail := ""
	if account.Verified {
		detail = "For seven days, a link we send to " + account.Email + " can undo this"
	}
	return Site{s}.Ask(w, r, Warning{
		Heading: "Use " + l.Email + " from now on?", Lead: "You opened the link in our message to it.", Harmless: true,
		Losses: []Loss{
			{"mail", "We’ll write to the new address", detail},
			{"key", "You sign in with it, if you have a password", "The password stays as it is"},
		},
		Button: "Use this e-mail", About: Site{s}.About(r, changeLink), Keep: Link{"Not now", "/account"},
	})
}

func (s *server) changeEmail(w http.ResponseWriter, r *http.Request) error {
	if !(Site{s}).IsAbout(r, changeLink) {
		redirect(w, r, changeLink.Page)
		return nil
	}
	l, err := s.ownLink(r, auth.ToChange, changeLink)
	if err == nil {
		err = s.access.ChangeEmail(r.Context(), l)
	}
	if errors.Is(err, auth.ErrEmailTaken) {
		Site{s}.DropSecret(w, changeLink)
		s.tellAt(r, atEmail, bad, "Another account has this e-mail. Nothing was changed.")
		redirect(w, r, "/account#"+atEmail)
		return nil
	}
	if err != nil {
		return s.refuseMailed(w, r, changeLink, err)
	}
	Site{s}.DropSecret(w, changeLink)
	s.Log.InfoContext(r.Context(), "e-mail changed", "id", requestID(r.Context()), "user", l.UserID)
	s.tellAt(r, atEmail, good, "Your e-mail is changed.")
	redirect(w, r, "/account#"+atEmail)
	return nil
}

// undoLink undoes a change of address. It needs no session: an intruder may have ended the owner's.
var undoLink = SecretLink{
	Name: "undo-link", From: []string{"/undo"}, Param: "token", Page: "/undo",
	Valid: auth.ValidToken, Refused: "mailed-link",
}

func (s *server) undoPage(w http.ResponseWriter, r *http.Request) error {
	l, err := s.Accounts.FindLink(r.Context(), auth.ToUndo, Site{s}.Secret(r, undoLink))
	if err != nil {
		return s.refuseMailed(w, r, undoLink, err)
	}
	return Site{s}.Ask(w, r, Warning{
		Heading: "Take your account back?", Lead: l.Email + " becomes its e-mail again.",
		Losses: []Loss{
			{"logout", "Everybody is signed out of the account", "You too"},
			{"password", "The password is removed", "We send a link to choose a new one to " + l.Email},
			{"key", "New sign-in methods are removed", "Those added since the day before the change"},
		},
		Button: "Take it back", About: Site{s}.About(r, undoLink), Keep: Link{"Leave it as it is", "/"},
	})
}

func (s *server) undo(w http.ResponseWriter, r *http.Request) error {
	if !(Site{s}).IsAbout(r, undoLink) {
		redirect(w, r, undoLink.Page)
		return nil
	}
	l, err := s.Accounts.FindLink(r.Context(), auth.ToUndo, Site{s}.Secret(r, undoLink))
	if err == nil {
		err = s.access.UndoChange(r.Context(), l)
	}
	if errors.Is(err, auth.ErrEmailTaken) {
		Site{s}.DropSecret(w, undoLink)
		redirect(w, r, "/login?notice=taken-meanwhile")
		return nil
	}
	if err != nil {
		return s.refuseMailed(w, r, undoLink, err)
	}
	Site{s}.DropSecret(w, undoLink)
	s.Log.InfoContext(r.Context(), "change of e-mail undone", "id", requestID(r.Context()), "user", l.UserID)
	redirect(w, r, mailedFor("undo"))
	return nil
}
