package routes

import (
	"errors"
	"net/http"
	"net/url"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// confirmView is the page on which somebody who is signed in shows again that it is them. What changes the ways into an
// account, or deletes it, asks for that: whoever finds a browser open, or has its cookie, must not be able to stay.
type confirmView struct {
	view
	Email       string
	HasPassword bool
	Providers   []providerView // to sign in with again
	Next        string
	Errors      map[string]string
}

// mustBeRecent lets those through who have just signed in, and asks others to do it again.
func (s *server) mustBeRecent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if current, _ := session.Current(r.Context()); current.Recent {
			next.ServeHTTP(w, r)
			return
		}
		askAgain(w, r, pageOf(r))
	})
}

// askAgain leads to the page on which people show who they are, and from there on to next. A form is not carried over.
func askAgain(w http.ResponseWriter, r *http.Request, next string) {
	see(w, r, "/account/confirm?"+url.Values{"next": {next}}.Encode())
}

func (s *server) confirmPage(w http.ResponseWriter, r *http.Request) error {
	next := returnPath(r.URL.Query().Get("next"))
	if current, _ := session.Current(r.Context()); current.Recent {
		see(w, r, next)
		return nil
	}
	return s.showConfirm(w, r, http.StatusOK, confirmView{Next: next})
}

func (s *server) showConfirm(w http.ResponseWriter, r *http.Request, status int, v confirmView) error {
	current, _ := session.Current(r.Context())
	account, err := s.Accounts.Get(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	v.view, v.Email, v.HasPassword = s.view(r, formTitle("Is it you?", v.Errors)), account.Email, account.Email != ""
	for _, p := range s.providerViews() {
		if account.Has(p.Key) {
			v.Providers = append(v.Providers, p)
		}
	}
	return s.render(w, r, status, "confirm", v)
}

// confirmPassword compares the password of somebody who is signed in.
func (s *server) confirmPassword(r *http.Request, userID int64) (auth.Proof, error) {
	if err := s.Accounts.Allow(r.Context(), s.passwordTries(r)...); err != nil {
		return auth.Proof{}, err
	}
	proof, err := s.Accounts.Confirm(r.Context(), userID, r.PostForm.Get("password"))
	if err != nil {
		return auth.Proof{}, err
	}
	return proof, s.forgivePasswordTries(r)
}

// confirm signs in again by password: a new session takes the place of this one.
func (s *server) confirm(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	next := returnPath(r.PostForm.Get("next"))
	proof, err := s.confirmPassword(r, current.UserID)
	if err == nil {
		err = s.beginSessionWith(w, r, proof, current.Kept)
	}
	s.Watch.SignIn("password", signInResult(err))
	status, problems, ok := formProblem(w, err)
	if errors.Is(err, auth.ErrCredentials) {
		problems = map[string]string{"password": "This is not your password."}
	}
	if ok {
		return s.showConfirm(w, r, status, confirmView{Next: next, Errors: problems})
	}
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "signed in", "id", requestID(r.Context()), "user", current.UserID, "method", "password")
	s.tell(r, good, "Thank you. You can go on now: for ten minutes you won't be asked again.")
	see(w, r, next)
	return nil
}
