package routes

import (
	"net/http"

	"cairn/internal/auth"
)

// Paths about messages.
const (
	forgotPath = "/forgot"
	mailedPath = "/check-your-mail"
)

// mailedView is the page after a form that has a message sent.
type mailedView struct {
	view
	For string // "signup", "reset", "change", "undo" or "reject"
}

// mailed shows the same for every address.
func (s *server) mailed(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, http.StatusOK, "mailed", mailedView{s.view(r, "Check your mail"), r.URL.Query().Get("for")})
}

func mailedFor(purpose string) string { return mailedPath + "?for=" + purpose }

// forgotView is the page on which people ask for a new password.
type forgotView struct {
	view
	Email    string
	MailOn   bool
	Operator string // whom to ask if no mail is sent; "": not said
	Errors   map[string]string
}

func (s *server) forgotPage(w http.ResponseWriter, r *http.Request) error {
	v := forgotView{}
	if email := r.URL.Query().Get("email"); len(email) <= maxEmail {
		v.Email = email
	}
	return s.showForgot(w, r, http.StatusOK, v)
}

func (s *server) showForgot(w http.ResponseWriter, r *http.Request, status int, v forgotView) error {
	v.view = s.view(r, formTitle("Can’t sign in?", v.Errors))
	v.MailOn, v.Operator = s.Accounts.MailOn(), s.Operator
	return s.render(w, status, "forgot", v)
}

func (s *server) forgot(w http.ResponseWriter, r *http.Request) error {
	if !s.Accounts.MailOn() {
		redirect(w, r, forgotPath)
		return nil
	}
	v := forgotView{Email: r.PostForm.Get("email")}
	err := s.Accounts.RequestReset(r.Context(), v.Email, address(r), s.cookie(r, browserCookie))
	if status, problems, ok := s.formProblem(w, err); ok {
		v.Errors = problems
		return s.showForgot(w, r, status, v)
	}
	if err != nil {
		return err
	}
	redirect(w, r, mailedFor("reset"))
	return nil
}

// resetLink leads to a new password.
var resetLink = mailedTo("/reset", "reset-link")

func (s *server) passwordReset() mailedLink {
	return mailedLink{SecretLink: resetLink, purpose: auth.ToReset, fields: true, show: s.resetPage,
		act: s.resetPassword}
}

// resetView is the page on which people choose a new password.
type resetView struct {
	view
	openedLink
	AsksCode bool
	Operator string // whom to ask without a code; "": not said
}

func (s *server) resetPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	return s.render(w, l.Status, "reset", resetView{
		view: s.view(r, formTitle("Choose a new password", l.Errors)), openedLink: l,
		AsksCode: auth.ResetNeedsCode(account, l.Link), Operator: s.Operator,
	})
}

// resetPassword sets the new password and ends all sessions. It signs nobody in: signing in shows that the person knows
// the new password.
func (s *server) resetPassword(_ http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	checked, err := s.Accounts.CheckReset(r.Context(), l, auth.NewReset{
		Password: r.PostForm.Get("password"), Code: r.PostForm.Get("code"),
		Address: address(r), Browser: s.cookie(r, browserCookie),
	})
	if err != nil {
		return "", err
	}
	freed, err := s.access.ResetPassword(r.Context(), checked)
	if err != nil {
		return "", err
	}
	s.Log.InfoContext(r.Context(), "password reset", "id", requestID(r.Context()), "user", l.UserID, "freed", freed)
	if freed {
		return "/signup?notice=email-freed", nil
	}
	return "/login?notice=password-reset", nil
}
