package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
)

// login begins a sign-in with Foursquare that returns to the front end, while private links work.
func (f frontend) login(w http.ResponseWriter, r *http.Request) error {
	p := f.site.Provider(foursquare)
	if p == nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	if err := f.site.Allow(r, f.site.Consents(r, 0)...); err != nil {
		return err
	}
	open, err := f.open(r.Context())
	if err != nil {
		return err
	}
	if !open {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return nil
	}
	return f.site.Begin(w, r, p, 0, toLogin)
}

// loggedIn returns to the front end with the person's private link. It begins no session.
func (f frontend) loggedIn(w http.ResponseWriter, r *http.Request, attempt oauth.Attempt) error {
	if !attempt.Consumed.Before(f.until) {
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
			userID, err = f.site.Access().OwnerWithoutCode(r.Context(), tx, grant)
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
