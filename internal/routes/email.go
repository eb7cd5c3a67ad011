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
var changeLink = mailedTo("/account/email/confirm", "change-link")

func (s *server) emailChange() mailedLink {
	return mailedLink{SecretLink: changeLink, purpose: auth.ToChange, own: true, show: s.changePage, act: s.changeEmail}
}

func (s *server) changePage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	detail := ""
	if account.Verified {
		detail = "For seven days, a link we send to " + account.Email + " can undo this"
	}
	return s.warn(w, r, Warning{
		Heading: "Use " + l.Email + " from now on?", Lead: "You opened the link in our message to it.", Harmless: true,
		Losses: []Loss{
			{"mail", "We’ll write to the new address", detail},
			{"key", "You sign in with it, if you have a password", "The password stays as it is"},
		},
		Button: "Use this e-mail", About: l.About, Keep: Link{"Not now", "/account"},
	})
}

func (s *server) changeEmail(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	err = s.access.ChangeEmail(r.Context(), l)
	switch {
	case errors.Is(err, auth.ErrEmailTaken):
		s.flashAt(r, atEmail, bad, "Another account has this e-mail. Nothing was changed.")
	case err != nil:
		return "", err
	default:
		s.Log.InfoContext(r.Context(), "e-mail changed", "id", requestID(r.Context()), "user", l.UserID)
		s.flashAt(r, atEmail, good, "Your e-mail is changed.")
	}
	return "/account#" + atEmail, nil
}

// undoLink undoes a change of address. It needs no session: an intruder may have ended the owner's.
var undoLink = mailedTo("/undo", "undo-link")

func (s *server) emailUndo() mailedLink {
	return mailedLink{SecretLink: undoLink, purpose: auth.ToUndo, show: s.undoPage, act: s.undoChange}
}

func (s *server) undoPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	return s.warn(w, r, Warning{
		Heading: "Take your account back?", Lead: l.Email + " becomes its e-mail again.",
		Losses: []Loss{
			{"logout", "Everybody is signed out of the account", "You too"},
			{"password", "The password is removed", "We send a link to choose a new one to " + l.Email},
			{"key", "Sign-in methods added since the day before the change are removed",
				"Along with an app and recovery codes added since then"},
		},
		Button: "Undo the change", About: l.About, Keep: Link{"Leave it as it is", "/"},
	})
}

func (s *server) undoChange(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	err = s.access.UndoChange(r.Context(), l)
	switch {
	case errors.Is(err, auth.ErrEmailTaken):
		return takenMeanwhile, nil
	case err != nil:
		return "", err
	}
	s.Log.InfoContext(r.Context(), "change of e-mail undone", "id", requestID(r.Context()), "user", l.UserID)
	return mailedFor("undo"), nil
}
