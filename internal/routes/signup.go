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
	Name, Email string
	Next        string // "": home
	Taken       bool   // the e-mail is another account's, which may be this person's
	Uninvited   string // why there is no form; "": there is one
	Operator    string // whom to ask then; "": not said
	Invited     bool   // Email is that of an invitation
	About       string // the invitation, for the form
	Errors      map[string]string
	Providers   []providerView
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
	invitation, err := s.invitation(r)
	if err != nil {
		return err
	}
	title := "Create your account"
	v.Providers, v.Operator = s.providerViews(), s.Operator
	switch {
	case s.Accounts.Admits(invitation) != nil:
		title, v.Uninvited, v.Providers = "New accounts", s.uninvitedInWords(), nil
	case invitation.ID != 0:
		v.Invited, v.Email, v.About = true, invitation.Email, Site{s}.About(r, inviteLink)
		w.Header().Set("Cache-Control", "no-store")
	}
	v.view, v.Next = s.view(r, formTitle(title, v.Errors)), unlessHome(v.Next)
	return s.render(w, status, "signup", v)
}

func (s *server) signUp(w http.ResponseWriter, r *http.Request) error {
	v := signUpView{
		Name:  r.PostForm.Get("name"),
		Email: r.PostForm.Get("email"),
		Next:  returnPath(r.PostForm.Get("next")),
	}
	invitation, err := s.invitation(r)
	switch {
	case err != nil:
		return err
	case s.Accounts.Admits(invitation) != nil:
		return s.showSignUp(w, r, http.StatusForbidden, v)
	case invitation.ID == 0:
	case !(Site{s}).IsAbout(r, inviteLink):
		redirect(w, r, inviteLink.Page)
		return nil
	default:
		v.Email = invitation.Email
	}
	account, err := s.Accounts.SignUp(r.Context(), v.Name, v.Email, r.PostForm.Get("password"), address(r))
	if err == nil && s.Accounts.MailOn() && invitation.ID == 0 {
		return s.requestSignUp(w, r, account)
	}
	var done access.SignedIn
	if err == nil {
		in := s.signInOf(r, true, "")
		in.Invitation = invitation
		done, err = s.access.SignUp(r.Context(), account, in)
	}
	if status, messages, ok := s.formProblem(w, err); ok {
		v.Errors, v.Taken = messages, errors.Is(err, auth.ErrEmailTaken)
		return s.showSignUp(w, r, status, v)
	}
	if err != nil {
		return err
	}
	if invitation.ID != 0 {
		Site{s}.DropSecret(w, inviteLink)
	}
	s.signedUp(w, r, done)
	redirect(w, r, v.Next)
	return nil
}

// signedUp follows a sign-up with a password.
func (s *server) signedUp(w http.ResponseWriter, r *http.Request, done access.SignedIn) {
	s.rememberBrowser(w, done.Browser)
	s.Log.InfoContext(r.Context(), "signed up",
		"id", requestID(r.Context()), "user", done.UserID, "method", access.PasswordMethod)
	s.flash(r, good, "Your account is ready")
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
var signUpLink = mailedTo("/signup/confirm", "signup-link")

func (s *server) signUpConfirmation() mailedLink {
	return mailedLink{SecretLink: signUpLink, purpose: auth.ToSignUp, fields: true, show: s.confirmSignUpPage,
		act: s.confirmSignUp}
}

// signUpConfirmView is the page to which the link of a sign-up leads.
type signUpConfirmView struct {
	view
	openedLink
	AskPassword bool // it is another browser than the one that asked for the link
}

func (s *server) confirmSignUpPage(w http.ResponseWriter, r *http.Request, l openedLink) error {
	return s.render(w, l.Status, "signup-confirm", signUpConfirmView{
		view: s.view(r, formTitle("Confirm your e-mail", l.Errors)), openedLink: l,
		AskPassword: !l.RequestedIn(s.cookie(r, browserCookie)),
	})
}

func (s *server) confirmSignUp(w http.ResponseWriter, r *http.Request, l auth.Link) (next string, err error) {
	err = s.Accounts.CheckSignUp(r.Context(), l, r.PostForm.Get("password"), address(r), s.cookie(r, browserCookie))
	if errors.Is(err, auth.ErrCredentials) {
		return "", &auth.FieldError{Field: "password", Message: "Wrong password"}
	}
	if err != nil {
		return "", err
	}
	done, err := s.access.SignUpByLink(r.Context(), l, s.signInOf(r, true, ""))
	switch {
	case errors.Is(err, auth.ErrEmailTaken):
		return takenMeanwhile, nil
	case err != nil:
		return "", err
	}
	s.signedUp(w, r, done)
	return "/", nil
}
