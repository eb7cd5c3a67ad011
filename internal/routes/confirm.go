package routes

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"cairn/internal/access"
	"cairn/internal/auth"
	"cairn/internal/session"
)

// confirmView is the page on which a signed-in person re-authenticates. Changing sign-in methods and deleting the
// account require that, so that someone who finds the browser open, or stole its cookie, can't take over the account.
type confirmView struct {
	view
	Email       string
	HasPassword bool
	Passkey     *passkeyForm   // nil: none
	Providers   []providerView // to sign in with again
	Next        string
	Task        string        // "connect Strava"; "": not named
	Provider    *providerView // to which the task leads
	AsksCode    bool          // after a password or a provider
	Errors      map[string]string
}

// mustBeRecent lets people through who have just signed in, and asks others to re-authenticate.
func (s *server) mustBeRecent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if current, _ := session.Current(r.Context()); current.Recent {
			next.ServeHTTP(w, r)
			return
		}
		reauthenticate(w, r, pageOf(r))
	})
}

// reauthenticate redirects to the page for re-authentication, which leads on to next. What was in a form is lost.
func reauthenticate(w http.ResponseWriter, r *http.Request, next string) {
	redirect(w, r, confirmPath+"?"+url.Values{"next": {next}}.Encode())
}

func (s *server) confirmPage(w http.ResponseWriter, r *http.Request) error {
	next := returnPath(r.URL.Query().Get("next"))
	id := r.URL.Query().Get("intent")
	if id != "" {
		next = confirmPath + "?" + url.Values{"intent": {id}}.Encode()
	}
	switch current, _ := session.Current(r.Context()); {
	case !current.Recent:
	case id != "":
		redirect(w, r, parseIntent(s.Sessions.Intent(r.Context(), id)).page())
		return nil
	default:
		redirect(w, r, next)
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
	v.Task = tasks[v.Next]
	if id := intentID(v.Next); id != "" {
		act := parseIntent(s.Sessions.Intent(r.Context(), id))
		v.Task = s.task(act, account)
		if act.verb == toConnect {
			v.Provider = &providerView{Key: act.object, Name: s.providerName(act.object)}
		}
	}
	title := strings.TrimSuffix("Confirm it’s you to "+v.Task, " to ")
	v.view, v.Email, v.HasPassword = s.view(r, formTitle(title, v.Errors)), account.Email, account.Password
	v.AsksCode = account.Second.On
	v.Passkey = s.passkeyConfirm(&v.view, account, v.Next)
	for _, p := range s.providerViews() {
		if account.SignsInWith(p.Key) {
			v.Providers = append(v.Providers, p)
		}
	}
	return s.render(w, status, "confirm", v)
}

// confirmPassword checks the password of the signed-in user.
func (s *server) confirmPassword(r *http.Request, userID int64) (auth.Proof, error) {
	if err := s.Accounts.Allow(r.Context(), s.passwordTries(r)...); err != nil {
		return auth.Proof{}, err
	}
	proof, err := s.Accounts.CheckPassword(r.Context(), userID, r.PostForm.Get("password"))
	if err != nil {
		return auth.Proof{}, err
	}
	return proof, s.resetPasswordTries(r)
}

// confirm re-authenticates by password: a new session replaces this one. Then it does what the person asked for.
func (s *server) confirm(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	next := returnPath(r.PostForm.Get("next"))
	var done access.SignedIn
	proof, err := s.confirmPassword(r, current.UserID)
	if err == nil {
		done, err = s.access.SignInWithPassword(r.Context(), proof, s.signInOf(r, current.Persistent, intentID(next)))
	}
	return s.answerConfirm(w, r, access.PasswordMethod, next, done, err)
}

// answerConfirm answers a form of the page for re-authentication, as answerSignIn does at sign-in.
func (s *server) answerConfirm(
	w http.ResponseWriter, r *http.Request, method, next string, done access.SignedIn, err error,
) error {
	s.Observer.SignIn(method, signInResult(err))
	if waiting, ok := errors.AsType[*access.CodeNeeded](err); ok {
		return s.askForCode(w, r, waiting.Pending, next)
	}
	status, problems, ok := s.formProblem(w, err)
	if errors.Is(err, auth.ErrCredentials) {
		problems = map[string]string{"password": "Wrong password"}
	}
	if ok {
		return s.showConfirm(w, r, status, confirmView{Next: next, Errors: problems})
	}
	if err != nil {
		return err
	}
	return s.goOn(w, r, done, method, next)
}

// goOn does what a person asked for who has confirmed by a form of ours.
func (s *server) goOn(w http.ResponseWriter, r *http.Request, done access.SignedIn, method, next string) error {
	s.welcome(w, r, done, method)
	if intentID(next) != "" {
		return s.carryOut(w, r, parseIntent(done.Act))
	}
	s.flash(r, good, confirmed)
	redirect(w, r, next)
	return nil
}
