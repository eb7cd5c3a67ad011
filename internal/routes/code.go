package routes

import (
	"errors"
	"net/http"
	"net/url"
	"time"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

const codePath = "/login/code"

// codeCookieLife is how long a sign-in waits for its code.
const codeCookieLife = 10 * time.Minute

// codeView is the page on which people enter a code after a password or a provider's account.
type codeView struct {
	view
	Next     string
	HasApp   bool // false: the account has recovery codes only
	Recovery bool // the field is for a recovery code
	CanTrust bool // the form offers to trust this browser
	Operator string
	Passkey  *passkeyForm // nil: the account has none
	Errors   map[string]string
}

// Other is the address of the page with the other field.
func (v codeView) Other() string {
	query := url.Values{"next": {v.Next}}
	if !v.Recovery {
		query.Set("with", "recovery")
	}
	return codePath + "?" + query.Encode()
}

// askForCode leads to the page for a code. The browser keeps what was proven.
func (s *server) askForCode(w http.ResponseWriter, r *http.Request, p auth.Pending, next string) error {
	sealed, err := s.Accounts.Seal(p)
	if err != nil {
		return err
	}
	s.setCookie(w, codeCookie, sealed, codeCookieLife)
	redirect(w, r, codePath+"?"+url.Values{"next": {next}}.Encode())
	return nil
}

// pending returns the sign-in of this browser that waits for a code. Errors: auth.ErrPending.
func (s *server) pending(r *http.Request) (auth.Pending, error) {
	cookies := r.CookiesNamed(s.cookieName(codeCookie))
	if len(cookies) != 1 {
		return auth.Pending{}, auth.ErrPending
	}
	return s.Accounts.Open(r.Context(), cookies[0].Value)
}

func (s *server) dropPending(w http.ResponseWriter) { s.setCookie(w, codeCookie, "", -time.Second) }

func (s *server) codePage(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	v := codeView{Next: returnPath(query.Get("next")), Recovery: query.Get("with") == "recovery"}
	pending, err := s.pending(r)
	if current, _ := session.Current(r.Context()); errors.Is(err, auth.ErrPending) && current.Recent {
		redirect(w, r, v.Next) // the code was entered, and the browser has gone back
		return nil
	}
	if err != nil {
		return s.refusePending(w, r, err)
	}
	return s.showCode(w, r, http.StatusOK, pending, v)
}

// refusePending answers errors about a sign-in that waits: one that is too old begins again.
func (s *server) refusePending(w http.ResponseWriter, r *http.Request, err error) error {
	if !errors.Is(err, auth.ErrPending) && !errors.Is(err, auth.ErrCredentials) {
		return err
	}
	s.dropPending(w)
	if _, signedIn := session.Current(r.Context()); signedIn {
		s.flash(r, info, codeTooLate)
		redirect(w, r, "/account")
		return nil
	}
	redirect(w, r, "/login?notice=code-late")
	return nil
}

const codeTooLate = "That took too long, or something has changed since. Please start again."

func (s *server) showCode(w http.ResponseWriter, r *http.Request, status int, p auth.Pending, v codeView) error {
	account, err := s.Accounts.Get(r.Context(), p.UserID)
	if errors.Is(err, auth.ErrNotFound) {
		return s.refusePending(w, r, auth.ErrPending)
	}
	if err != nil {
		return err
	}
	v.view = s.view(r, formTitle("Enter a code", v.Errors))
	v.HasApp, v.CanTrust, v.Operator = account.Second.HasApp(), !s.signedInAs(r, p.UserID), s.Operator
	v.Recovery = v.Recovery || !v.HasApp
	if s.passkeyConfirm(&v.view, account, v.Next) != nil {
		v.Passkey = s.passkeyInstead(r, p, v.Next)
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.render(w, status, "code", v)
}

// passkeyInstead is the form for a passkey instead of a code.
func (s *server) passkeyInstead(r *http.Request, p auth.Pending, next string) *passkeyForm {
	form := &passkeyForm{Action: "/login/passkey", Options: "/login/passkey/options",
		Label: "Use a passkey instead", Next: next, Keep: p.Persistent}
	if s.signedInAs(r, p.UserID) {
		form.Action, form.Options = confirmPath+"/passkey", confirmPath+"/passkey/options"
	}
	return form
}

// signedInAs reports whether a user is signed in already, and signs in again to confirm something.
func (s *server) signedInAs(r *http.Request, userID int64) bool {
	current, ok := session.Current(r.Context())
	return ok && current.UserID == userID
}

// enterCode finishes a sign-in that waits for its code.
func (s *server) enterCode(w http.ResponseWriter, r *http.Request) error {
	pending, err := s.pending(r)
	if err != nil {
		return s.refusePending(w, r, err)
	}
	v := codeView{Next: returnPath(r.PostForm.Get("next")), Recovery: r.PostForm.Get("with") == "recovery"}
	again := s.signedInAs(r, pending.UserID)
	var done access.SignedIn
	code, err := s.Accounts.CheckCode(r.Context(), pending.UserID, r.PostForm.Get("code"), address(r),
		s.cookie(r, browserCookie))
	if err == nil {
		in := s.signInOf(r, pending.Persistent, intentID(v.Next))
		in.Trust = !again && r.PostForm.Get("trust") != ""
		done, err = s.access.SignInWithCode(r.Context(), pending, code, in)
	}
	s.Observer.SignIn(pending.Method, signInResult(err))
	if errors.Is(err, auth.ErrCredentials) {
		return s.refusePending(w, r, err)
	}
	if status, problems, ok := s.formProblem(w, err); ok {
		s.logRefusal(r, pending.Method, err)
		v.Errors = problems
		return s.showCode(w, r, status, pending, v)
	}
	if err != nil {
		return err
	}
	s.dropPending(w)
	if again {
		return s.goOn(w, r, done, pending.Method, v.Next)
	}
	s.welcome(w, r, done, pending.Method)
	redirect(w, r, v.Next)
	return nil
}
