package node

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/session"
)

// mirrorRow is a row as connect-pg-simple writes it.
type mirrorRow struct {
	nodeID int64
	ends   map[string]any // what the session's cookie says about its end
	expire time.Time
}

// rowOf returns the row for a session; nil: the Node server does not know the user.
func (m *Mirror) rowOf(ctx context.Context, tx pgx.Tx, w session.Mirrored) (*mirrorRow, error) {
	var nodeID int64
	var now time.Time
	err := tx.QueryRow(ctx, `
		SELECT node_id, now() FROM cairn.node_users WHERE user_id = $1 AND node_id > 0 ORDER BY node_id LIMIT 1`,
		w.UserID).Scan(&nodeID, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("node: find the id of user %d: %w", w.UserID, err)
	}
	ends := map[string]any{"originalMaxAge": nil, "expires": nil}
	if w.Persistent {
		ends["originalMaxAge"], ends["expires"] = w.Expiry.Sub(now).Milliseconds(), stamp(w.Expiry)
	}
	// The column has no time zone, so the time is late enough in all of them. What counts is the one in the JSON.
	return &mirrorRow{nodeID, ends, w.Expiry.Add(zoneSpread)}, nil
}

func (m *Mirror) insert(ctx context.Context, tx pgx.Tx, sid string, row mirrorRow) error {
	cookie := map[string]any{"httpOnly": true, "path": "/", "secure": m.secure, "sameSite": "lax"}
	maps.Copy(cookie, row.ends)
	sess := m.sessionOf(row.nodeID)
	sess["cookie"] = cookie
	text, err := json.Marshal(sess)
	if err != nil {
		return fmt.Errorf("node: make a session: %w", err)
	}
	_, err = tx.Exec(ctx, `
		INSERT INTO `+pgx.Identifier(m.Table).Sanitize()+` (sid, sess, expire)
		VALUES ($1, $2, $3::timestamptz AT TIME ZONE 'UTC')`, sid, string(text), row.expire)
	if err != nil {
		return fmt.Errorf("node: write a session: %w", err)
	}
	return nil
}

// update changes when a row ends, and nothing else of it. It reports whether the row is there.
func (m *Mirror) update(ctx context.Context, tx pgx.Tx, sid string, row mirrorRow) (there bool, err error) {
	table := pgx.Identifier(m.Table).Sanitize()
	var text string
	err = tx.QueryRow(ctx, `SELECT sess::text FROM `+table+` WHERE sid = $1 FOR UPDATE`, sid).Scan(&text)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("node: lock a session: %w", err)
	}
	changed, err := row.in(text)
	if err != nil {
		return false, fmt.Errorf("node: change a session: %w", err)
	}
	_, err = tx.Exec(ctx, `
		UPDATE `+table+` SET sess = $2, expire = $3::timestamptz AT TIME ZONE 'UTC' WHERE sid = $1`,
		sid, changed, row.expire)
	if err != nil {
		return false, fmt.Errorf("node: write when a session ends: %w", err)
	}
	return true, nil
}

// in returns the JSON of a session with another end. The rest stays letter by letter: PostgreSQL can't store all of it
// otherwise.
func (row mirrorRow) in(text string) (string, error) {
	var sess, cookie map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &sess); err != nil {
		return "", err
	}
	if old := sess["cookie"]; old != nil && json.Unmarshal(old, &cookie) != nil || cookie == nil {
		cookie = map[string]json.RawMessage{}
	}
	for name, value := range row.ends {
		cookie[name], _ = json.Marshal(value) // numbers and strings always do
	}
	var err error
	if sess["cookie"], err = json.Marshal(cookie); err != nil {
		return "", err
	}
	changed, err := json.Marshal(sess)
	return string(changed), err
}

// sessionOf is a session in which a user is signed in, without its cookie.
func (m *Mirror) sessionOf(nodeID int64) map[string]any {
	path := m.UserPath
	if path == nil {
		path = usual[0]
	}
	var value any = nodeID
	for i := len(path) - 1; i > 0; i-- {
		value = map[string]any{path[i]: value}
	}
	return map[string]any{path[0]: value}
}

// newSID makes an id as express-session does.
func newSID() string {
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails
	return base64.RawURLEncoding.EncodeToString(random[:])
}
