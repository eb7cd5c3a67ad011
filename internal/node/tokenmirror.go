package node

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/oauth2"

	"cairn/internal/connection"
)

// tokens writes refreshed tokens where the Node server finds them, while NODE_WINDOW is both. It is a
// connection.Mirror. Only Strava's are refreshed there: Foursquare's never expire, and Garmin's of that server do not
// work any more. Nor are tokens of another Strava account than that server has for its user: somebody may have
// connected one here and another there.
type tokens struct {
	pool    *pgxpool.Pool
	keys    keys // of that server; the first that opens its newest values seals
	trouble *trouble
}

// athleteThere is whose Strava account that server has for its user n; NULL if its table does not say.
const athleteThere = `to_jsonb(n) ->> 'strava_athlete_id'`

// Newer implements connection.Mirror.
func (t *tokens) Newer(
	ctx context.Context, provider string, userID int64, base *connection.Theirs,
) (*connection.Theirs, error) {
	if provider != strava {
		return nil, nil
	}
	var sealed string
	var last []byte
	err := t.pool.QueryRow(ctx, `
		SELECT COALESCE(n.strava_oauth_tokens_encrypted, ''), c.text_hash
		FROM cairn.node_users u
		JOIN cairn.node_connections c ON c.node_id = u.node_id AND c.provider = $2
		JOIN public.users n ON n.id = u.node_id
		JOIN cairn.connections o ON o.user_id = u.user_id AND o.provider = $2 AND o.subject = `+athleteThere+`
		WHERE u.user_id = $1 AND c.text_hash IS NOT NULL`, userID, strava).Scan(&sealed, &last)
	if errors.Is(err, pgx.ErrNoRows) || sealed == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("node: look for newer tokens of user %d: %w", userID, err)
	}
	if base != nil {
		last = base.Version
	}
	if bytes.Equal(digest(sealed), last) {
		return nil, nil
	}
	token, err := t.keys.stravaToken(sealed)
	if err != nil {
		return nil, fmt.Errorf("node: open newer tokens of user %d: %w", userID, err)
	}
	return &connection.Theirs{Token: token, Version: digest(sealed)}, nil
}

// Write implements connection.Mirror. It replaces only the text that was read or written last.
func (t *tokens) Write(ctx context.Context, tx pgx.Tx, to connection.Refreshed, base *connection.Theirs) error {
	if to.Provider != strava {
		return nil
	}
	var version []byte
	if base != nil {
		version = base.Version
	}
	sealed, err := t.seal(to.Token)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `
		WITH known AS (
			SELECT c.node_id, COALESCE($4::bytea, c.text_hash) AS version
			FROM cairn.node_users u JOIN cairn.node_connections c ON c.node_id = u.node_id AND c.provider = $2
			JOIN public.users n ON n.id = u.node_id
			JOIN cairn.connections o ON o.user_id = u.user_id AND o.provider = $2 AND o.subject = `+athleteThere+`
			WHERE u.user_id = $1 AND c.text_hash IS NOT NULL FOR UPDATE OF c
		), written AS (
			UPDATE public.users n SET strava_oauth_tokens_encrypted = $5 FROM known
			WHERE n.id = known.node_id
			  AND sha256(convert_to(n.strava_oauth_tokens_encrypted, 'UTF8')) = known.version
			RETURNING n.id
		)
		UPDATE cairn.node_connections c SET generation = $3,
			text_hash = CASE WHEN EXISTS (SELECT FROM written) THEN $6::bytea ELSE known.version END
		FROM known WHERE c.node_id = known.node_id AND c.provider = $2`,
		to.UserID, strava, to.Generation, version, sealed, digest(sealed))
	if err != nil {
		return fmt.Errorf("node: write refreshed tokens of user %d: %w", to.UserID, err)
	}
	return nil
}

// Unwritten implements connection.Mirror.
func (t *tokens) Unwritten(err error) { t.trouble.note(err) }

// seal seals tokens as the Node server does.
func (t *tokens) seal(token *oauth2.Token) (string, error) {
	text, err := json.Marshal(map[string]any{
		"accessToken": token.AccessToken, "refreshToken": token.RefreshToken, "expiresAt": token.Expiry.Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("node: encode tokens: %w", err)
	}
	if len(t.keys) == 0 {
		return "", errSealed
	}
	return t.keys.seal(text), nil
}
