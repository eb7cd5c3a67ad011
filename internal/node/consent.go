package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/auth"
	"cairn/internal/oauth"
	"cairn/internal/routes"
)

// Connecting from the old front end. Anyone may send anyone a link to a provider's consent page. So the front end gets
// the address of a page of ours, which names the account. What is confirmed there binds the attempt to that browser,
// and only that browser can finish it.

const (
	continuePage = "/connect/continue"
	consentLife  = 10 * time.Minute
)

// What attempts of the front end's are, instead of a return path.
const (
	toConnect = "frontend: connect"
	toLogin   = "frontend: log in"
)

// toContinue is the link to that page.
var toContinue = routes.SecretLink{
	Name: "continue", From: []string{continuePage}, Param: "token", Page: continuePage,
	Valid: operatorShape.MatchString, Refused: "old-request",
}

// start answers with the address of the page that asks.
func (f frontend) start(provider, field string) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		return f.as(w, r, func(userID int64) error {
			if f.site.Provider(provider) == nil {
				return errUnknown
			}
			if err := f.site.Allow(r, f.site.Consents(r, userID)...); err != nil {
				return err
			}
			token := rand.Text()
			if err := f.storeConsent(r.Context(), token, consent{userID, provider}); err != nil {
				return err
			}
			to := f.site.PublicURL().JoinPath(continuePage)
			to.RawQuery = url.Values{"token": {token}}.Encode()
			return f.site.JSON(w, http.StatusOK, map[string]string{field: to.String()})
		})
	}
}

// consent is what a person wants to connect.
type consent struct {
	userID   int64
	provider string
}

// storeConsent keeps what a person wants to connect, instead of what they wanted to connect before at that provider,
// if their private link has not ended meanwhile. Errors: errBadLink, auth.ErrNotFound.
func (l links) storeConsent(ctx context.Context, token string, c consent) error {
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if err := auth.KeepUser(ctx, tx, c.userID); err != nil {
			return err
		}
		if err := l.stillWorks(ctx, tx, c.userID, l.until); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO cairn.node_consents (token_hash, user_id, provider, expires_at)
			VALUES ($1, $2, $3, now() + $4::interval)
			ON CONFLICT (user_id, provider) DO UPDATE
			SET token_hash = EXCLUDED.token_hash, expires_at = EXCLUDED.expires_at`,
			digest(token), c.userID, c.provider, consentLife)
		if err != nil {
			return fmt.Errorf("node: store a consent: %w", err)
		}
		return nil
	})
	if errors.Is(err, errLink) {
		return errBadLink
	}
	return err
}

// consentOf returns what the link in this browser is about. consume uses it up. Errors: errLink.
func (f frontend) consentOf(r *http.Request, consume bool) (c consent, err error) {
	const found = ` FROM cairn.node_consents WHERE token_hash = $1 AND now() < expires_at`
	statement := `SELECT user_id, provider` + found
	if consume {
		statement = `DELETE` + found + ` RETURNING user_id, provider`
	}
	token := f.site.Secret(r, toContinue)
	if token == "" {
		return consent{}, errLink
	}
	err = f.pool.QueryRow(r.Context(), statement, digest(token)).Scan(&c.userID, &c.provider)
	if errors.Is(err, pgx.ErrNoRows) {
		return consent{}, errLink
	}
	if err != nil {
		return consent{}, fmt.Errorf("node: find a consent: %w", err)
	}
	return c, nil
}

func (f frontend) askToConnect(w http.ResponseWriter, r *http.Request) error {
	c, err := f.consentOf(r, false)
	if errors.Is(err, errLink) {
		f.site.RefuseLink(w, r, toContinue)
		return nil
	}
	if err != nil {
		return err
	}
	account, err := f.site.Account(r.Context(), c.userID)
	if err != nil {
		return err
	}
	p := f.site.Provider(c.provider)
	if p == nil {
		return f.site.NotFound()
	}
	return f.site.AskAbout(w, r, p, routes.Warning{
		Heading: "Connect " + p.Name + " to " + account.Name + "’s account?", Harmless: true,
		Lead: "Continue only if you’re " + account.Name + " and have just asked for this.",
		Losses: []routes.Loss{
			{Icon: "plug-connected", Text: "What comes from " + p.Name + " appears in that account", Detail: p.Offer},
		},
		Button: "Continue to " + p.Name, Keep: routes.Link{Label: "Not now", URL: f.address + "/data-sources"},
		About: f.site.About(r, toContinue),
	})
}

func (f frontend) connect(w http.ResponseWriter, r *http.Request) error {
	if !f.site.IsAbout(r, toContinue) {
		http.Redirect(w, r, continuePage, http.StatusSeeOther)
		return nil
	}
	c, err := f.consentOf(r, false)
	if err == nil {
		err = f.site.Allow(r, f.site.Consents(r, c.userID)...)
	}
	if err == nil {
		c, err = f.consentOf(r, true)
	}
	if errors.Is(err, errLink) {
		f.site.RefuseLink(w, r, toContinue)
		return nil
	}
	if err != nil {
		return err
	}
	p := f.site.Provider(c.provider)
	if p == nil {
		return f.site.NotFound()
	}
	f.site.DropSecret(w, toContinue)
	return f.site.Begin(w, r, p, c.userID, toConnect)
}

// connected finishes connecting, if the private link still works and has not ended since.
func (f frontend) connected(w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
	grant, err := f.site.Exchange(r, attempt)
	if err == nil {
		err = f.site.Access().ConnectUnconfirmed(r.Context(), attempt.UserID, grant,
			func(ctx context.Context, tx pgx.Tx) error {
				return f.stillWorks(ctx, tx, attempt.UserID, attempt.Begun)
			})
	}
	switch {
	case err == nil:
		f.site.Log(r, "connected", attempt.UserID, attempt.Provider)
	case !errors.Is(err, oauth.ErrDenied) && !errors.Is(err, errLink):
		f.site.LogFailure(r, attempt.Provider, err)
	}
	http.Redirect(w, r, f.address+"/data-sources?"+resultOf(attempt.Provider.Key, err).Encode(), http.StatusSeeOther)
	return nil
}

// resultOf says how connecting went, in the words that the front end reads.
func resultOf(provider string, err error) url.Values {
	switch {
	case err == nil:
		return url.Values{provider: {"connected"}}
	case provider == garmin && errors.Is(err, oauth.ErrDenied):
		return url.Values{garmin: {"error"}, "reason": {"missing_code"}}
	case provider == garmin:
		return url.Values{garmin: {"error"}, "reason": {"token_exchange_failed"}}
	}
	return url.Values{"error": {provider + "_failed"}}
}

// stillWorks checks in a transaction that a user's private link works, and that no private link of the user has ended
// since then: what was begun with an ended link must not go on when the user gets a new one. Errors: errLink.
func (l links) stillWorks(ctx context.Context, tx pgx.Tx, userID int64, since time.Time) error {
	var works bool
	err := tx.QueryRow(ctx, `
		SELECT count(link_hash) > 0 AND count(*) FILTER (WHERE link_ended_at >= $3) = 0 AND now() < $2 FROM (
			SELECT link_hash, link_ended_at FROM cairn.node_users WHERE user_id = $1 ORDER BY node_id FOR SHARE) own`,
		userID, l.until, since).Scan(&works)
	if err != nil {
		return fmt.Errorf("node: check the link of user %d: %w", userID, err)
	}
	if !works {
		return errLink
	}
	return nil
}
