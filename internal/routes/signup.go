package routes

import (
	"cmp"
	"crypto/rand"
	"errors"
	"net/http"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

type signUpView struct {
	view
	Name, Email, Next string
	Taken             bool // the e-mail is another account's, which may be this person's
	Errors            map[string]string
	Providers         []providerView
}

func (s *server) signUpPage(w http.ResponseWriter, r *http.Request) error {
	next := returnPath(cmp.Or(r.URL.Query().Get("next"), "/"))
	if _, ok := session.Current(r.Context()); ok {
		redirect(w, r, next)
		return nil
	}
	return s.showSignUp(w, r, http.StatusOK, signUpView{Next: next})
}

func (s *server) showSignUp(w http.ResponseWriter, r *http.Request, status int, v signUpView) error {
	v.view, v.Providers = s.view(r, formTitle("Create your account", v.Errors)), s.providerViews()
	return s.render(w, status, "signup", v)
}

func (s *server) signUp(w http.ResponseWriter, r *http.Request) error {
	v := signUpView{
		Name:  r.PostForm.Get("name"),
		Email: r.PostForm.Get("email"),
		Next:  returnPath(r.PostForm.Get("next")),
	}
	account, err := s.Accounts.SignUp(r.Context(), v.Name, v.Email, r.PostForm.Get("password"), address(r))
	if err == nil && s.Accounts.MailOn() {
		return s.requestSignUp(w, r, account)
	}
	var done access.SignedIn
	if err == nil {
		done, err = s.access.SignUp(r.Context(), account, s.signInOf(r, true, ""))
	}
	if status, messages, ok := s.formProblem(w, err); ok {
		v.Errors, v.Taken = messages, errors.Is(err, auth.ErrEmailTaken)
		return s.showSignUp(w, r, status, v)
	}
	if err != nil {
		return err
	}
	s.rememberBrowser(w, done.Browser)
	s.Log.InfoContext(r.Context(), "signed up",
		"id", requestID(r.Context()), "user", done.UserID, "method", access.PasswordMethod)
	s.tell(r, good, "Your account is ready")
	redirect(w, r, v.Next)
	return nil
}

// requestSignUp has a link mailed that makes the account. The link knows this browser by its cookie.
func (s *server) requestSignUp(w http.ResponseWriter, r *http.Request, account auth.NewAccount) error {
	browser := cmp.Or(s.cookie(r, browserCookie), rand.Text())
	if err := s.Accounts.RequestSignUp(r.Context(), account, browser); err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	redirect(w, r, mailedFor("signup"))
	return nil
}

// signUpLink makes the account of a sign-up.
var signUpLink = SecretLink{
	Name: "signup-link", From: []string{"/signup/confirm"}, Param: "token", Page: "/signup/confirm",
	Valid: auth.ValidToken, Refused: "mailed-link",
}

// signUpConfirmView is the page to which the link of a sign-up leads.
type signUpConfirmView struct {
	view
	Email, About string
	AskPassword  bool // it is another browser than the one that asked for the link
	Errors       map[string]string
}

func (s *server) confirmSignUpPage(w http.ResponseWriter, r *http.Request) error {
	return s.showConfirmSignUp(w, r, http.StatusOK, nil)
}

func (s *server) showConfirmSignUp(
	w http.ResponseWriter, r *http.Request, status int, problems map[string]string,
) error {
	site := Site{s}
	l, err := s.Accounts.FindLink(r.Context(), auth.ToSignUp, site.Secret(r, signUpLink))
	if err != nil {
		return s.refuseMailed(w, r, signUpLink, err)
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, status, "signup-confirm", signUpConfirmView{
		view: s.view(r, formTitle("Confirm your e-mail", problems)), Email: l.Email, About: site.About(r, signUpLink),
		AskPassword: !l.AskedIn(s.cookie(r, browserCookie)), Errors: problems,
	})
}

func (s *server) confirmSignUp(w http.ResponseWriter, r *http.Request) error {
	site := Site{s}
	if !site.Asked(r, signUpLink) {
		redirect(w, r, signUpLink.Page)
		return nil
	}
	l, err := s.Accounts.CheckSignUp(r.Context(), site.Secret(r, signUpLink), r.PostForm.Get("password"),
		address(r), s.cookie(r, browserCookie))
	var done access.SignedIn
	if err == nil {
		done, err = s.access.SignUpByLink(r.Context(), l, s.signInOf(r, true, ""))
	}
	status, problems, ok := s.formProblem(w, err)
	switch {
	case errors.Is(err, auth.ErrCredentials):
		return s.showConfirmSignUp(w, r, status, map[string]string{"password": "Wrong password"})
	case errors.Is(err, auth.ErrEmailTaken):
		site.DropSecret(w, signUpLink)
		redirect(w, r, "/login?notice=taken-meanwhile")
		return nil
	case ok:
		return s.showConfirmSignUp(w, r, status, problems)
	case err != nil:
		return s.refuseMailed(w, r, signUpLink, err)
	}
	site.DropSecret(w, signUpLink)
	s.rememberBrowser(w, done.Browser)
	s.Log.InfoContext(r.Context(), "signed up",
		"id", requestID(r.Context()), "user", done.UserID, "method", access.PasswordMethod)
	s.tell(r, good, "Your account is ready")
	redirect(w, r, "/")
	return nil
}
