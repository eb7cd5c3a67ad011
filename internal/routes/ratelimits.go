package routes

import (
	"context"
	"net/http"

	"cairn/internal/auth"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// docs/security.md has the limits of each route. Sign-in and sign-up are limited in auth, where the e-mail is read.

// limited refuses a request over the limit before its handler runs.
func (s *server) limited(counts func(*http.Request) []auth.Count) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return s.handle(func(w http.ResponseWriter, r *http.Request) error {
			if err := s.Accounts.Allow(r.Context(), counts(r)...); err != nil {
				return err
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}

// changes counts what a signed-in person does to rows of their own.
func (s *server) changes(r *http.Request) []auth.Count {
	current, _ := session.Current(r.Context())
	limits := s.Accounts.Limits
	return []auth.Count{limits.ChangePerson.Of(current.UserID), limits.ChangeNetwork.From(address(r))}
}

// consents counts redirects to a provider's consent page: each stores an attempt.
func (s *server) consents(r *http.Request) []auth.Count {
	network := s.Accounts.Limits.BeginNetwork.From(address(r))
	if current, ok := session.Current(r.Context()); ok {
		return []auth.Count{s.Accounts.Limits.BeginPerson.Of(current.UserID), network}
	}
	return []auth.Count{network}
}

// finishes counts callbacks with a code, which cost calls to the provider: for the user, or for the browser if no user
// is signed in (0).
func (s *server) finishes(r *http.Request, p *oauth.Provider, userID int64) []auth.Count {
	limits := s.Accounts.Limits
	who := limits.FinishBrowser.Of(p.Key, "person", userID)
	if userID == 0 {
		who = limits.FinishBrowser.Of(p.Key, "browser", s.cookie(r, attemptCookie))
	}
	return []auth.Count{who, limits.FinishNetwork.From(address(r), p.Key)}
}

// allowFinish is called before each call to the provider that finishing an attempt costs. subject is the account at the
// provider; "": not known yet.
func (s *server) allowFinish(ctx context.Context, r *http.Request, attempt oauth.Attempt, subject string) error {
	if subject != "" {
		return s.Accounts.Allow(ctx, s.Accounts.Limits.FinishAccount.Of(attempt.Provider.Key, subject))
	}
	return s.Accounts.Allow(ctx, s.finishes(r, attempt.Provider, attempt.UserID)...)
}

// allowCall limits how often a person can have a provider called about their connection.
func (s *server) allowCall(r *http.Request, p *oauth.Provider) error {
	current, _ := session.Current(r.Context())
	if err := s.Accounts.Allow(r.Context(), s.connectionCalls(r, current.UserID, p.Key)...); err != nil {
		return &callError{providerError{p, err}}
	}
	return nil
}

// connectionCalls count a call to a provider about a user's connection.
func (s *server) connectionCalls(r *http.Request, userID int64, provider string) []auth.Count {
	limits := s.Accounts.Limits
	return []auth.Count{limits.CallPause.Of(userID, provider), limits.CallHour.Of(userID, provider),
		limits.CallNetwork.From(address(r))}
}

// passwordTries counts password checks of a signed-in user. They count for the session in its network, so that a thief
// with the cookie, in another network, can't keep the owner from changing the password.
func (s *server) passwordTries(r *http.Request) []auth.Count {
	current, _ := session.Current(r.Context())
	limits, from := s.Accounts.Limits, address(r)
	return []auth.Count{limits.PasswordPair.From(from, current.ID), limits.SignInNetwork.From(from),
		limits.PasswordSession.Of(current.ID)}
}

func (s *server) resetPasswordTries(r *http.Request) error {
	current, _ := session.Current(r.Context())
	limits := s.Accounts.Limits
	return s.Accounts.Reset(r.Context(),
		limits.PasswordPair.From(address(r), current.ID), limits.PasswordSession.Of(current.ID))
}
