package routes

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/session"
)

// lockOthersOut makes a change after which only this browser is signed in, and known, to the account: change runs, all
// other sessions end for the reason why, and this one gets a new token, in one transaction.
func (s *server) lockOthersOut(
	w http.ResponseWriter, r *http.Request, why session.Reason,
	change func(context.Context, pgx.Tx) (removed string, err error),
) error {
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
		s.setCookie(w, browserCookie, browser, auth.BrowserLife)
	}
	return err
}
