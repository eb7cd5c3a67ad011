package routes

import (
	"cmp"
	"errors"
	"net/http"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

type signInView struct {
	view
	Email     string
	Next      string // "": home
	Keep      bool   // "Keep me signed in" is ticked
	Uninvited string // why nobody can sign up; "": everybody can
	Errors    map[string]string
	Passkey   *passkeyForm // nil: this server can't have passkeys
	Providers []providerView

	UnknownPasskey string // what the script tells the password manager that offered it; "": nothing
}

// maxEmail is the longest e-mail address that the fields take.
const maxEmail = 254

func (s *server) signInPage(w http.ResponseWriter, r *http.Request) error {
	next := returnPath(cmp.Or(r.URL.Query().Get("next"), "/"))
	if _, ok := session.Current(r.Context()); ok {
		redirect(w, r, next)
		return nil
	}
	v := signInView{Next: next, Keep: true}
	if email := r.URL.Query().Get("email"); len(email) <= maxEmail {
		v.Email = email
	}
	return s.showSignIn(w, r, http.StatusOK, v)
}

func (s *server) showSignIn(w http.ResponseWriter, r *http.Request, status int, v signInView) error {
	v.view, v.Providers = s.view(r, formTitle("Sign in", v.Errors)), s.providerViews()
	if s.Accounts.Admission() != auth.Open {
		v.Uninvited = s.uninvitedInWords()
	}
	v.Next = unlessHome(v.Next)
	v.Passkey = s.passkeySignIn(&v.view, v.Next)
	v.Path = "/login" // also after a passkey
	return s.render(w, status, "login", v)
}

func (s *server) signIn(w http.ResponseWriter, r *http.Request) error {
	v := signInView{
		Email: r.PostForm.Get("email"),
		Next:  returnPath(r.PostForm.Get("next")),
		Keep:  r.PostForm.Get("keep") != "",
	}
	password, known := r.PostForm.Get("password"), s.cookie(r, browserCookie)
	proof, err := s.Accounts.SignIn(r.Context(), v.Email, password, address(r), known)
	var done access.SignedIn
	if err == nil {
		done, err = s.access.SignInWithPassword(r.Context(), proof, s.signInOf(r, v.Keep, ""))
	}
	return s.answerSignIn(w, r, access.PasswordMethod, v, done, err)
}

// answerSignIn answers a form of the sign-in page: with the page that the person wanted, the page for a code, or the
// form again.
func (s *server) answerSignIn(
	w http.ResponseWriter, r *http.Request, method string, v signInView, done access.SignedIn, err error,
) error {
	s.Observer.SignIn(method, signInResult(err))
	if waiting, ok := errors.AsType[*access.CodeNeeded](err); ok {
		return s.askForCode(w, r, waiting.Pending, v.Next)
	}
	if status, messages, ok := s.formProblem(w, err); ok {
		s.logRefusal(r, method, err)
		v.Errors = messages
		return s.showSignIn(w, r, status, v)
	}
	if err != nil {
		return err
	}
	s.welcome(w, r, done, method)
	redirect(w, r, v.Next)
	return nil
}

func (s *server) logRefusal(r *http.Request, method string, err error) {
	s.Log.InfoContext(r.Context(), "sign-in refused",
		"id", requestID(r.Context()), "address", address(r), "method", method, "reason", err)
}

// welcome makes the browser that has signed in a known one, and logs the sign-in.
func (s *server) welcome(w http.ResponseWriter, r *http.Request, done access.SignedIn, method string) {
	s.rememberBrowser(w, done.Browser)
	s.Log.InfoContext(r.Context(), "signed in",
		"id", requestID(r.Context()), "user", done.UserID, "method", method)
}

// refuseCredentials refuses text that no e-mail or password can contain.
func (s *server) refuseCredentials(w http.ResponseWriter, r *http.Request) error {
	s.Observer.SignIn(access.PasswordMethod, signInResult(auth.ErrCredentials))
	status, messages, _ := s.formProblem(w, auth.ErrCredentials)
	v := signInView{Next: returnPath(r.PostForm.Get("next")), Keep: r.PostForm.Get("keep") != "", Errors: messages}
	return s.showSignIn(w, r, status, v)
}

// signInOf says how a session begins in the browser of a request; intent is the id of what the person wanted, or "".
func (s *server) signInOf(r *http.Request, persistent bool, intent string) access.SignIn {
	return access.SignIn{Persistent: persistent, Browser: s.cookie(r, browserCookie), Intent: intent}
}

// rememberBrowser gives a browser the token by which the account knows it.
func (s *server) rememberBrowser(w http.ResponseWriter, token string) {
	s.setCookie(w, browserCookie, token, auth.BrowserLife)
}

// signOut works without a session too: people press the button twice.
func (s *server) signOut(w http.ResponseWriter, r *http.Request) error {
	current, ok := session.Current(r.Context())
	if err := s.Sessions.SignOut(r.Context()); err != nil {
		return err
	}
	if ok {
		s.Log.InfoContext(r.Context(), "signed out", "id", requestID(r.Context()), "user", current.UserID)
	}
	redirect(w, r, "/?notice=signed-out")
	return nil
}

// disabledInWords says to somebody who has proven that an account is theirs that it is disabled.
func (s *server) disabledInWords() string {
	if s.Operator == "" {
		return "This account is disabled. Please ask the operator of this site."
	}
	return "This account is disabled. Please ask the operator of this site: " + s.Operator
}

// formProblem returns the status and the messages, by field, with which a form is shown again; the message "form" is
// shown above the fields. ok is false if err is not about the form.
func (s *server) formProblem(w http.ResponseWriter, err error) (status int, messages map[string]string, ok bool) {
	if field, ok := errors.AsType[*auth.FieldError](err); ok {
		return http.StatusUnprocessableEntity, map[string]string{field.Field: field.Message}, true
	}
	limit, limited := errors.AsType[*auth.LimitError](err)
	switch {
	case limited:
		retryAfter(w, limit.RetryAfter)
		return http.StatusTooManyRequests, map[string]string{
			"form": "Too many attempts. Please try again " + in(limit.RetryAfter) + ".",
		}, true
	case errors.Is(err, auth.ErrCredentials):
		return http.StatusUnprocessableEntity, map[string]string{
			"form": "Wrong e-mail or password",
		}, true
	case errors.Is(err, auth.ErrCode):
		return http.StatusUnprocessableEntity, map[string]string{
			"code": "This code isn’t right. Each code works once.",
		}, true
	case errors.Is(err, auth.ErrDisabled):
		return http.StatusForbidden, map[string]string{"form": s.disabledInWords()}, true
	case errors.Is(err, auth.ErrUninvited):
		return http.StatusForbidden, map[string]string{"form": s.uninvitedInWords()}, true
	case errors.Is(err, auth.ErrPasskey), errors.Is(err, auth.ErrChallenge),
		errors.Is(err, auth.ErrPasskeyTaken), errors.Is(err, auth.ErrTooManyPasskeys):
		return http.StatusUnprocessableEntity, map[string]string{"form": passkeyProblem(err)}, true
	case errors.Is(err, auth.ErrEmailTaken):
		return http.StatusUnprocessableEntity, map[string]string{
			"email": "There is already an account with this e-mail.",
		}, true
	case errors.Is(err, auth.ErrBusy):
		retryAfter(w, busyFor)
		return http.StatusServiceUnavailable, map[string]string{
			"form": "Many people are signing in right now. Please try again in a few seconds.",
		}, true
	}
	return 0, nil, false
}
