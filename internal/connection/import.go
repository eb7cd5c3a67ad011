package connection

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
)

// ImportedConnection is a connection that another server had. Its identity was imported, too (auth.Import).
type ImportedConnection struct {
	IdentityID, UserID        int64
	Subject, Name, PictureURL string
	Token                     *oauth2.Token // nil: there is none that works
	Cause                     Cause         // Imported, or why the owner has to connect again
}

// Import stores connections to a provider with these permissions, except for users who have one already. It returns the
// generations, by identity, of those that it has stored. No job is enqueued: entries come when it is their turn.
func (s *Store) Import(
	ctx context.Context, tx pgx.Tx, provider string, granted []string, all []ImportedConnection,
) (map[int64]int64, error) {
	var identities, users []int64
	var subjects, names, pictures, causes, states []string
	var sealed [][]byte
	var expiries []*time.Time
	for _, c := range all {
		token, state := c.Token, Active
		if token == nil {
			token, state = &oauth2.Token{}, NeedsReconnect
		}
		tokens, err := s.sealTokens(token, associatedData(c.IdentityID, c.UserID, provider))
		if err != nil {
			return nil, err
		}
		identities, users, sealed = append(identities, c.IdentityID), append(users, c.UserID), append(sealed, tokens)
		subjects, names, pictures = append(subjects, c.Subject), append(names, c.Name), append(pictures, c.PictureURL)
		causes, states = append(causes, string(c.Cause)), append(states, string(state))
		expiries = append(expiries, expiryOf(token))
	}
	rows, _ := tx.Query(ctx, importStatement, provider, strings.Join(granted, " "), identities, users, subjects, names,
		pictures, causes, states, sealed, expiries) // ForEachRow returns its error
	made := map[int64]int64{}
	var identity, generation int64
	_, err := pgx.ForEachRow(rows, []any{&identity, &generation}, func() error {
		made[identity] = generation
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("connection: import connections to %s: %w", provider, err)
	}
	return made, nil
}

// importStatement stores connections and records that in their history. As everywhere, the first generation is the
// time (storeConnection).
const importStatement = `
	WITH made AS (
		INSERT INTO cairn.connections (identity_id, user_id, provider, subject, account_name, picture_url, granted,
		                               state, cause, sealed_tokens, token_expires_at, generation)
		SELECT identity_id, user_id, $1, subject, name, picture, string_to_array($2, ' '),
		       state, cause, sealed, expires, (extract(epoch FROM clock_timestamp()) * 1000)::bigint
		FROM unnest($3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
		            $10::bytea[], $11::timestamptz[])
		     AS given (identity_id, user_id, subject, name, picture, cause, state, sealed, expires)
		ON CONFLICT DO NOTHING
		RETURNING identity_id, user_id, state, cause, generation
	), recorded AS (
		INSERT INTO cairn.connection_events (user_id, provider, state, cause) SELECT user_id, $1, state, cause FROM made
	)
	SELECT identity_id, generation FROM made`

func expiryOf(t *oauth2.Token) *time.Time {
	if t.Expiry.IsZero() {
		return nil
	}
	return &t.Expiry
}

// Held is a connection as an import has left it.
type Held struct {
	UserID            int64
	Provider, Subject string
	Generation        int64
}

// isHeld finds a connection that is still as an import has left it.
const isHeld = `user_id = $1 AND provider = $2 AND subject = $3 AND generation = $4`

// ImportTokens replaces the tokens of a connection, and makes it active. It returns the new generation, 0 if the
// connection is not the given one any more: it has been renewed or disconnected, or is to another account.
func (s *Store) ImportTokens(
	ctx context.Context, tx pgx.Tx, held Held, token *oauth2.Token,
) (renewed int64, err error) {
	var identityID int64
	err = tx.QueryRow(ctx, `
		SELECT identity_id FROM cairn.connections WHERE `+isHeld+` FOR UPDATE`,
		held.UserID, held.Provider, held.Subject, held.Generation).Scan(&identityID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("connection: find a connection to renew: %w", err)
	}
	sealed, err := s.sealTokens(token, associatedData(identityID, held.UserID, held.Provider))
	if err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, `
		UPDATE cairn.connections SET sealed_tokens = $2, token_expires_at = $3, generation = generation + 1,
			state = 'active', cause = $4, state_since = now(), tokens_at = now(), retry_at = NULL,
			refresh_lease = NULL, refresh_lease_until = NULL
		WHERE identity_id = $1 RETURNING generation`, identityID, sealed, expiryOf(token), Imported).Scan(&renewed)
	if err != nil {
		return 0, fmt.Errorf("connection: renew identity %d: %w", identityID, err)
	}
	return renewed, record(ctx, tx, held.UserID, held.Provider, Active, Imported)
}

// Unchanged reports whether a connection is still the given one.
func Unchanged(ctx context.Context, tx pgx.Tx, held Held) (same bool, err error) {
	err = tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM cairn.connections WHERE `+isHeld+`)`,
		held.UserID, held.Provider, held.Subject, held.Generation).Scan(&same)
	if err != nil {
		return false, fmt.Errorf("connection: look at a connection of user %d: %w", held.UserID, err)
	}
	return same, nil
}

// ProvidersOf returns the providers that users have connected here, even if they have disconnected them since, by user.
func ProvidersOf(ctx context.Context, tx pgx.Tx, userIDs []int64) (map[int64][]string, error) {
	rows, _ := tx.Query(ctx, `
		SELECT user_id, provider FROM cairn.connections WHERE user_id = ANY($1)
		UNION SELECT user_id, provider FROM cairn.connection_events WHERE user_id = ANY($1)`,
		userIDs) // ForEachRow returns its error
	all := map[int64][]string{}
	var user int64
	var provider string
	_, err := pgx.ForEachRow(rows, []any{&user, &provider}, func() error {
		all[user] = append(all[user], provider)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("connection: list providers: %w", err)
	}
	return all, nil
}
