package routes

import (
	"errors"
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// Paths about messages.
const (
	forgotPath = "/forgot"
	mailedPath = "/check-your-mail"
)

// mailedNotices are what visitors read on the sign-in page after links in messages, by code.
var mailedNotices = map[string]notice{
	"mailed-link": {Kind: info, Text: "This link doesn’t work any more, or part of it is missing. " +
		"Ask for a new one."},
	"disown-link": {Kind: info, Text: "This link doesn’t work any more, or part of it is missing. If somebody else " +
		"is in your account, choose a new password with “Forgot your password?”."},
	"taken-meanwhile": {Kind: info, Text: "Another account uses this e-mail now."},
	"password-reset": {Kind: good, Text: "Your new password is set, and you’re signed out everywhere. " +
		"Sign in with it."},
	"email-freed": {Kind: info, Text: "This e-mail was never confirmed, so we couldn’t " +
		"give you the account that used it. If that account is yours, sign in with a passkey or a provider, " +
		"and add your e-mail again. If not, create an account."},
}

// refuseMailed answers errors about a link: one that is no good leads to the sign-in page, which says so.
func (s *server) refuseMailed(w http.ResponseWriter, r *http.Request, l SecretLink, err error) error {
	if !errors.Is(err, auth.ErrLink) {
		return err
	}
	if _, ok := session.Current(r.Context()); ok {
		Site{s}.DropSecret(w, l)
		s.tell(r, info, mailedNotices[l.Refused].Text)
		redirect(w, r, "/account")
		return nil
	}
	Site{s}.RefuseLink(w, r, l)
	return nil
}

// mailedView is the page after a form that has a message sent.
type mailedView struct {
	view
	For string // "signup", "reset", "change", "undo" or "disown"
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
	v.view = s.view(r, formTitle("Forgot your password?", v.Errors))
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
var resetLink = SecretLink{
	Name: "reset-link", From: []string{"/reset"}, Param: "token", Page: "/reset",
	Valid: auth.ValidToken, Refused: "mailed-link",
}

// resetView is the page on which people choose a new password.
type resetView struct {
	view
	Email, About string
	AsksCode     bool
	Errors       map[string]string
}

func (s *server) resetPage(w http.ResponseWriter, r *http.Request) error {
	return s.showReset(w, r, http.StatusOK, nil)
}

func (s *server) showReset(w http.ResponseWriter, r *http.Request, status int, problems map[string]string) error {
	site := Site{s}
	l, err := s.Accounts.FindLink(r.Context(), auth.ToReset, site.Secret(r, resetLink))
	if err != nil {
		return s.refuseMailed(w, r, resetLink, err)
	}
	account, err := s.Accounts.Get(r.Context(), l.UserID)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, status, "reset", resetView{
		view: s.view(r, formTitle("Choose a new password", problems)), Email: l.Email, About: site.About(r, resetLink),
		AsksCode: auth.ResetNeedsCode(account), Errors: problems,
	})
}

// reset sets the new password and ends all sessions. It signs nobody in: signing in shows that the person knows the new
// password.
func (s *server) reset(w http.ResponseWriter, r *http.Request) error {
	site := Site{s}
	if !site.IsAbout(r, resetLink) {
		redirect(w, r, resetLink.Page)
		return nil
	}
	checked, err := s.Accounts.CheckReset(r.Context(), auth.NewReset{
		Token: site.Secret(r, resetLink), Password: r.PostForm.Get("password"), Code: r.PostForm.Get("code"),
		Address: address(r), Browser: s.cookie(r, browserCookie),
	})
	var freed bool
	if err == nil {
		freed, err = s.access.ResetPassword(r.Context(), checked)
	}
	if status, problems, ok := s.formProblem(w, err); ok {
		return s.showReset(w, r, status, problems)
	}
	if err != nil {
		return s.refuseMailed(w, r, resetLink, err)
	}
	site.DropSecret(w, resetLink)
	s.Log.InfoContext(r.Context(), "password reset",
		"id", requestID(r.Context()), "user", checked.UserID, "freed", freed)
	if freed {
		redirect(w, r, "/signup?notice=email-freed")
		return nil
	}
	redirect(w, r, "/login?notice=password-reset")
	return nil
}
