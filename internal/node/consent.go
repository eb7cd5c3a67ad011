package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
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

// What attempts of the front end's are, in place of a return path.
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

// storeConsent keeps what a person wants to connect, in place of what they wanted to connect before at that provider,
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
	if !f.site.Asked(r, toContinue) {
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

// stillWorks checks in a transaction that a user's private link works, and that none of theirs has ended since: whoever
// began something with that one must not go on after its owner has a new one. Errors: errLink.
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

// login begins a sign-in with Foursquare that returns to the front end, while private links work.
func (f frontend) login(w http.ResponseWriter, r *http.Request) error {
	p := f.site.Provider(foursquare)
	if p == nil || !time.Now().Before(f.until) {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	if err := f.site.Allow(r, f.site.Consents(r, 0)...); err != nil {
		return err
	}
	return f.site.Begin(w, r, p, 0, toLogin)
}

// loggedIn returns to the front end with the person's private link. It begins no session.
func (f frontend) loggedIn(w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
	if !time.Now().Before(f.until) {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	grant, err := f.site.Exchange(r, attempt)
	if errors.Is(err, oauth.ErrDenied) {
		http.Redirect(w, r, f.address+"/import", http.StatusSeeOther)
		return nil
	}
	var userID int64
	var token string
	if err == nil {
		err = pgx.BeginFunc(r.Context(), f.pool, func(tx pgx.Tx) error {
			userID, _, err = f.site.Access().OwnerOf(r.Context(), tx, grant)
			if err == nil {
				token, err = f.tokenOf(r.Context(), tx, userID)
			}
			return err
		})
	}
	if err != nil {
		return f.site.AttemptFailed(w, r, attempt.Provider, err)
	}
	f.site.Log(r, "given the private link", userID, attempt.Provider)
	http.Redirect(w, r, f.address+"/import?"+url.Values{"token": {token}}.Encode(), http.StatusSeeOther)
	return nil
}

// madeLinks is how many links that were made here a user has: one for each device of theirs, and the next one takes the
// place of the oldest.
const madeLinks = 10

// tokenOf returns the token of a user's private link: the Node server's, if that still works here, and else a new one
// beside those that work, since only hashes of them are kept. A new one is in a row of its own, whose id is negative.
func (l links) tokenOf(ctx context.Context, tx pgx.Tx, userID int64) (token string, err error) {
	token, err = l.nodeTokenOf(ctx, tx, userID)
	if err != nil || token != "" {
		return token, err
	}
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	token = hex.EncodeToString(random[:])
	if l.both {
		there, err := l.giveThere(ctx, tx, userID, token)
		if err != nil || there {
			return token, err
		}
	}
	_, err = tx.Exec(ctx, `
		DELETE FROM cairn.node_users WHERE node_id IN (
			SELECT node_id FROM cairn.node_users WHERE user_id = $1 AND node_id < 0
			ORDER BY imported_at DESC, node_id OFFSET $2)`, userID, madeLinks-1)
	if err == nil {
		_, err = tx.Exec(ctx, `
			INSERT INTO cairn.node_users (node_id, user_id, link_hash)
			VALUES (-1 - floor(random() * 9e15)::bigint, $1, $2)`, userID, linkHash(token))
	}
	if err != nil {
		return "", fmt.Errorf("node: make a link for user %d: %w", userID, err)
	}
	return token, nil
}

// giveThere makes a token the user's private link at the Node server, too, if that knows the user.
func (l links) giveThere(ctx context.Context, tx pgx.Tx, userID int64, token string) (there bool, err error) {
	tag, err := tx.Exec(ctx, `
		WITH known AS (
			UPDATE cairn.node_users SET link_hash = $2 WHERE node_id = (
				SELECT max(node_id) FROM cairn.node_users WHERE user_id = $1 AND node_id > 0)
			RETURNING node_id
		)
		UPDATE public.users SET secret_token = $3 FROM known WHERE id = known.node_id`, userID, linkHash(token), token)
	if err != nil {
		return false, fmt.Errorf("node: write the link of user %d: %w", userID, err)
	}
	return tag.RowsAffected() > 0, nil
}

// nodeTokenOf returns the token of a link that the Node server made and that works here; "" if nobody can know it.
func (l links) nodeTokenOf(ctx context.Context, tx pgx.Tx, userID int64) (token string, err error) {
	var nodeID int64
	var hash []byte
	err = tx.QueryRow(ctx, `
		SELECT node_id, link_hash FROM cairn.node_users
		WHERE user_id = $1 AND node_id > 0 AND link_hash IS NOT NULL
		ORDER BY node_id DESC LIMIT 1 FOR UPDATE`, userID).Scan(&nodeID, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("node: find the link of user %d: %w", userID, err)
	}
	token, err = secretTokenOf(ctx, tx, nodeID)
	if err != nil || string(linkHash(token)) != string(hash) {
		return "", err
	}
	return token, nil
}

// secretTokenOf reads the token of a private link at the Node server; "" if there is none any more, or no such table.
func secretTokenOf(ctx context.Context, tx pgx.Tx, nodeID int64) (token string, err error) {
	var there bool
	err = tx.QueryRow(ctx, `
		SELECT count(*) = 2 FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name = 'users' AND column_name IN ('id', 'secret_token')`).Scan(&there)
	if err == nil && there {
		err = tx.QueryRow(ctx, `SELECT COALESCE(secret_token, '') FROM public.users WHERE id = $1`, nodeID).Scan(&token)
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", fmt.Errorf("node: read the link of row %d: %w", nodeID, err)
	}
	return token, nil
}

// nodeID returns the id that a user has at the Node server, or here if there is none.
func (l links) nodeID(ctx context.Context, userID int64) (id int64, err error) {
	err = l.pool.QueryRow(ctx, `
		SELECT COALESCE(max(node_id) FILTER (WHERE node_id > 0), $1) FROM cairn.node_users WHERE user_id = $1`,
		userID).Scan(&id)
	if err != nil {
		return 0, fmt.Errorf("node: find the id of user %d: %w", userID, err)
	}
	return id, nil
}
