package node

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/access"
	"cairn/internal/auth"
)

// Methods by which a session begins without a sign-in method of the account, as in cairn.sign_in_methods.
const (
	PrivateLink  = "private_link"  // the permanent link that the Node server gave to each person
	OperatorLink = "operator_link" // a link that an operator made, good once
)

// Unproven are the methods that don't prove who is there: a private link may be in many hands by now.
var Unproven = []string{PrivateLink, NodeSession}

// errLink says that a link is unknown, was ended or used, or is past its time.
var errLink = errors.New("node: the link does not work")

// links are the links with a secret that people from the Node server may have.
type links struct {
	pool  *pgxpool.Pool
	until time.Time // private links work before then; zero: not at all
	both  bool      // the Node server takes new ones, too
}

// isOperators tells the two kinds of links apart.
func isOperators(token string) bool { return operatorShape.MatchString(token) }

// validToken reports whether a token has the shape of one of ours.
func validToken(token string) bool {
	return linkShape.MatchString(token) || operatorShape.MatchString(token)
}

// operatorShape is that of rand.Text.
var operatorShape = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// find returns whose link it is. Errors: errLink.
func (l links) find(ctx context.Context, token string) (userID int64, method string, err error) {
	statement, args, method := `
		SELECT user_id FROM cairn.node_users WHERE link_hash = $1 AND user_id IS NOT NULL AND now() < $2`,
		[]any{digest(token), l.until}, PrivateLink
	if isOperators(token) {
		statement, args, method = `
			SELECT user_id FROM cairn.node_links WHERE token_hash = $1 AND now() < expires_at`,
			[]any{digest(token)}, OperatorLink
	}
	err = l.pool.QueryRow(ctx, statement, args...).Scan(&userID)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, "", errLink
	}
	if err != nil {
		return 0, "", fmt.Errorf("node: find a link: %w", err)
	}
	return userID, method, nil
}

// prove returns an access.Prove that checks a link again, and uses up one that is good once.
func (l links) prove(token string, userID int64) access.Prove {
	statement, args := `
		UPDATE cairn.node_users SET link_used_at = now()
		WHERE link_hash = $1 AND user_id = $2 AND now() < $3 RETURNING user_id`, []any{digest(token), userID, l.until}
	if isOperators(token) {
		statement, args = `
			DELETE FROM cairn.node_links
			WHERE token_hash = $1 AND user_id = $2 AND now() < expires_at RETURNING user_id`,
			[]any{digest(token), userID}
	}
	return func(ctx context.Context, tx pgx.Tx) (proven int64, err error) {
		if err := auth.KeepUser(ctx, tx, userID); errors.Is(err, auth.ErrNotFound) {
			return 0, errLink
		} else if err != nil {
			return 0, err
		}
		err = tx.QueryRow(ctx, statement, args...).Scan(&proven)
		if errors.Is(err, pgx.ErrNoRows) {
			return 0, errLink
		}
		if err != nil {
			return 0, fmt.Errorf("node: use a link: %w", err)
		}
		return proven, nil
	}
}

// noteUse notes, once an hour, that a user's private link is in use, also at the Node server.
func (l links) noteUse(ctx context.Context, userID int64) error {
	_, err := l.pool.Exec(ctx, `
		WITH used AS (
			UPDATE cairn.node_users SET link_used_at = now()
			WHERE user_id = $1 AND link_hash IS NOT NULL AND COALESCE(link_used_at < now() - interval '1 hour', true)
			RETURNING node_id
		)
		SELECT cairn.node_seen(node_id) FROM used`, userID)
	if err != nil {
		return fmt.Errorf("node: note that the link of user %d is in use: %w", userID, err)
	}
	return nil
}

// open reports whether private links work now.
func (l links) open(ctx context.Context) (open bool, err error) {
	if err := l.pool.QueryRow(ctx, `SELECT now() < $1`, l.until).Scan(&open); err != nil {
		return false, fmt.Errorf("node: ask whether links work: %w", err)
	}
	return open, nil
}

// works reports whether a user has a private link that works.
func (l links) works(ctx context.Context, userID int64) (works bool, err error) {
	if l.until.IsZero() {
		return false, nil
	}
	err = l.pool.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.node_users WHERE user_id = $1 AND link_hash IS NOT NULL) AND now() < $2`,
		userID, l.until).Scan(&works)
	if err != nil {
		return false, fmt.Errorf("node: look for the link of user %d: %w", userID, err)
	}
	return works, nil
}

// end ends the private link of a user, and what was begun with it.
func (l links) end(ctx context.Context, userID int64) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if err := auth.KeepUser(ctx, tx, userID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			UPDATE cairn.node_users SET link_hash = NULL, link_ended_at = now() WHERE user_id = $1`, userID)
		if err == nil {
			_, err = tx.Exec(ctx, `DELETE FROM cairn.node_consents WHERE user_id = $1`, userID)
		}
		if err != nil {
			return fmt.Errorf("node: end the link of user %d: %w", userID, err)
		}
		return nil
	})
}

// sweep deletes one batch of links that are past their time, and reports whether more may be left.
func (l links) sweep(ctx context.Context) (more bool, err error) {
	for _, table := range []string{"cairn.node_links", "cairn.node_consents"} {
		tag, err := l.pool.Exec(ctx, `
			DELETE FROM `+table+` WHERE token_hash IN (
				SELECT token_hash FROM `+table+` WHERE expires_at < now() LIMIT $1 FOR UPDATE SKIP LOCKED)`, db.Batch)
		if err != nil {
			return false, fmt.Errorf("node: sweep links: %w", err)
		}
		more = more || tag.RowsAffected() == db.Batch
	}
	return more, nil
}

// operatorLinkLife is how long a link from an operator works.
const operatorLinkLife = 30 * time.Minute

// newOperatorLink makes a link for a user, which is good once. The user's other such links end. It returns the token.
// Errors: auth.ErrNotFound.
func newOperatorLink(ctx context.Context, pool *pgxpool.Pool, userID int64) (token string, err error) {
	token = rand.Text()
	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		if err := auth.KeepUser(ctx, tx, userID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `DELETE FROM cairn.node_links WHERE user_id = $1`, userID)
		if err == nil {
			_, err = tx.Exec(ctx, `
				INSERT INTO cairn.node_links (token_hash, user_id, expires_at) VALUES ($1, $2, now() + $3::interval)`,
				digest(token), userID, operatorLinkLife)
		}
		if err != nil {
			return fmt.Errorf("node: make a link for user %d: %w", userID, err)
		}
		return nil
	})
	return token, err
}

// digest returns what is kept of a secret, or of a value that is only compared.
func digest(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}
