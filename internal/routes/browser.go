package routes

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// A browser that has signed in carries a random cookie by which the accounts that it signed in to know it again. It signs
// nobody in: it keeps strangers who guess passwords from locking the owner out.

func (s *server) knownBrowserCookie() string {
	if s.PublicURL.Scheme == "https" {
		return "__Host-browser"
	}
	return "browser"
}

// knownBrowser is the cookie's token, "" if there is none.
func (s *server) knownBrowser(r *http.Request) string {
	cookie, err := r.Cookie(s.knownBrowserCookie())
	if err != nil || len(cookie.Value) != len(rand.Text()) {
		return ""
	}
	return cookie.Value
}

func (s *server) setKnownBrowser(w http.ResponseWriter, token string) {
	http.SetCookie(w, &http.Cookie{
		Name: s.knownBrowserCookie(), Value: token, Path: "/", MaxAge: int(auth.BrowserLife.Seconds()),
		HttpOnly: true, Secure: s.PublicURL.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// lockOthersOut makes a change after which only this browser is signed in, and known, to the account: change runs, all other
// sessions end for the reason why, and this one gets a new token, in one transaction.
func (s *server) lockOthersOut(w http.ResponseWriter, r *http.Request, why session.Reason,
	change func(context.Context, pgx.Tx) (removed string, err error)) error {
	current, _ := session.Current(r.Context())
	browser := rand.Text()
	err := s.Sessions.ChangeAccess(r.Context(), why, func(ctx context.Context, tx pgx.Tx) (string, error) {
		removed, err := change(ctx, tx)
		if err != nil {
			return "", err
		}
		if err := s.Accounts.ForgetBrowsers(ctx, tx, current.UserID); err != nil {
			return "", err
		}
		return removed, s.Accounts.RememberBrowser(ctx, tx, current.UserID, browser)
	})
	if err == nil {
		s.setKnownBrowser(w, browser)
	}
	return err
}
