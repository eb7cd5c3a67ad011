package session

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many records are read at once for a person who downloads their data.
const exportPage = 200

// Exported is a session in the archive that its owner downloads.
type Exported struct {
	ID         int64     `json:"id"`
	Method     string    `json:"method"`
	SignedInAt time.Time `json:"signed_in_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	ExpiresAt  time.Time `json:"expires_at"`
	Address    string    `json:"address"`
	UserAgent  string    `json:"user_agent"`
	Persistent bool      `json:"persistent"`
	TwoFactors bool      `json:"two_factors"`
}

// ExportedEnding is a session that has ended, in the same archive.
type ExportedEnding struct {
	EndedAt time.Time `json:"ended_at"`
	Reason  Reason    `json:"reason"`
}

// Export returns a page of a user's sessions, and the key of the next one; 0: none.
func (m *Manager) Export(ctx context.Context, userID, after int64) (sessions []Exported, next int64, err error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT id, method, created, last_seen, LEAST(expiry, created + $2::interval), address, user_agent, kept,
		       two_factors
		FROM cairn.sessions WHERE user_id = $1 AND id > $3 ORDER BY id LIMIT $4`,
		userID, m.MaxLifetime, after, exportPage) // ForEachRow returns its error
	var e Exported
	fields := []any{
		&e.ID, &e.Method, &e.SignedInAt, &e.LastSeenAt, &e.ExpiresAt, &e.Address, &e.UserAgent, &e.Persistent,
		&e.TwoFactors,
	}
	_, err = pgx.ForEachRow(rows, fields, func() error {
		e.SignedInAt, e.LastSeenAt, e.ExpiresAt = e.SignedInAt.UTC(), e.LastSeenAt.UTC(), e.ExpiresAt.UTC()
		sessions = append(sessions, e)
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("session: export sessions of user %d: %w", userID, err)
	}
	if len(sessions) == exportPage {
		next = e.ID
	}
	return sessions, next, nil
}

// EndingKey is where a page of ended sessions begins.
type EndingKey struct {
	at    time.Time
	token string // hashed
}

// ExportEndings returns a page of a user's sessions that have ended, and the key of the next one; the zero key: none.
func (m *Manager) ExportEndings(
	ctx context.Context, userID int64, after EndingKey,
) (endings []ExportedEnding, next EndingKey, err error) {
	rows, _ := m.Pool.Query(ctx, `
		SELECT ended_at, token, reason FROM cairn.ended_sessions
		WHERE user_id = $1 AND (ended_at, token) > ($2, $3) ORDER BY ended_at, token LIMIT $4`,
		userID, after.at, after.token, exportPage) // ForEachRow returns its error
	var key EndingKey
	var reason Reason
	_, err = pgx.ForEachRow(rows, []any{&key.at, &key.token, &reason}, func() error {
		endings = append(endings, ExportedEnding{key.at.UTC(), reason})
		return nil
	})
	if err != nil {
		return nil, EndingKey{}, fmt.Errorf("session: export ended sessions of user %d: %w", userID, err)
	}
	if len(endings) == exportPage {
		next = key
	}
	return endings, next, nil
}
