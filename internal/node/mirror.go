package node

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5"

	"cairn/internal/session"
)

// Mirror writes sessions where the Node server finds them, while NODE_WINDOW is both. It is a session.Mirror. A trigger
// removes what it has written when the session ends (cairn.node_mirror_ended).
type Mirror struct {
	*Sessions
	secure bool // the site is served over https
}

// Lookup implements session.Mirror. That server deletes a row at its sign-out. It deletes rows that are past their
// ends, too, so a row that is missing then says nothing; and neither does one of a table that was emptied (marker.go).
// Rows of both kinds are lacking, and those of sessions that began before the way back was open.
func (m *Mirror) Lookup() (join, ended, lacking, id string) {
	table := pgx.Identifier(m.Table).Sanitize()
	return `LEFT JOIN cairn.node_mirrors m ON m.session_id = s.id LEFT JOIN ` + table + ` n ON n.sid = m.sid`,
		`m.sid IS NOT NULL AND n.sid IS NULL AND now() < m.expires AND ` + m.counts(),
		`(n.sid IS NULL OR COALESCE(m.written_at < (SELECT whole_since FROM cairn.node_settings), false))
			AND EXISTS (SELECT FROM cairn.node_users u WHERE u.user_id = s.user_id AND u.node_id > 0)`,
		`COALESCE(m.sid, '')`
}

// Unusable implements session.Mirror.
func (m *Mirror) Unusable(err error) { m.trouble.note(err) }

// Write implements session.Mirror. A user whom that server does not know has no session there.
func (m *Mirror) Write(ctx context.Context, tx pgx.Tx, w session.Mirrored) (cookie *http.Cookie, err error) {
	err = m.writing(ctx, tx, w, func(row mirrorRow) error {
		cookie, err = m.write(ctx, tx, w, row)
		return err
	})
	return cookie, err
}

// writing lets something be written for a session, unless the Node server does not know the user, and notes that the
// user was here.
func (m *Mirror) writing(ctx context.Context, tx pgx.Tx, w session.Mirrored, write func(mirrorRow) error) error {
	row, err := m.rowOf(ctx, tx, w)
	if err != nil || row == nil {
		return err
	}
	if err := write(*row); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `SELECT cairn.node_seen($1)`, row.nodeID); err != nil {
		return fmt.Errorf("node: note that user %d was here: %w", w.UserID, err)
	}
	return nil
}

func (m *Mirror) write(
	ctx context.Context, tx pgx.Tx, w session.Mirrored, row mirrorRow,
) (*http.Cookie, error) {
	if w.Theirs != "" {
		there, err := m.update(ctx, tx, w.Theirs, row)
		switch {
		case err != nil:
			return nil, err
		case !there:
			return nil, session.ErrEnded
		}
		return nil, m.remember(ctx, tx, w, w.Theirs)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.node_mirrors WHERE session_id = $1`, w.SessionID); err != nil {
		return nil, fmt.Errorf("node: end the mirror of session %d: %w", w.SessionID, err)
	}
	return m.begin(ctx, tx, w, row)
}

// begin writes a new session there.
func (m *Mirror) begin(ctx context.Context, tx pgx.Tx, w session.Mirrored, row mirrorRow) (*http.Cookie, error) {
	sid := newSID()
	if err := m.insert(ctx, tx, sid, row); err != nil {
		return nil, err
	}
	return m.cookie(sid, w), m.remember(ctx, tx, w, sid)
}

// Renew implements session.Mirror. A row that was past its end, and so may be gone, is written again, and so is one of
// a table that was emptied. One that is gone otherwise was signed out there.
func (m *Mirror) Renew(ctx context.Context, tx pgx.Tx, w session.Mirrored) error {
	return m.writing(ctx, tx, w, func(row mirrorRow) error {
		_, err := m.renew(ctx, tx, w, row)
		return err
	})
}

// renew does that, and returns the row's id, "" if there is no mirror.
func (m *Mirror) renew(ctx context.Context, tx pgx.Tx, w session.Mirrored, row mirrorRow) (sid string, err error) {
	var signedOut bool // if it is gone
	err = tx.QueryRow(ctx, `
		SELECT sid, now() < expires AND `+m.counts()+`
		FROM cairn.node_mirrors m WHERE session_id = $1 FOR UPDATE`, w.SessionID).Scan(&sid, &signedOut)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("node: find the mirror of session %d: %w", w.SessionID, err)
	}
	there, err := m.update(ctx, tx, sid, row)
	switch {
	case err != nil:
		return "", err
	case !there && signedOut:
		return sid, nil
	case !there:
		if err := m.insert(ctx, tx, sid, row); err != nil {
			return "", err
		}
	}
	_, err = tx.Exec(ctx, `
		UPDATE cairn.node_mirrors SET expires = $2, written_at = now() WHERE session_id = $1`, w.SessionID, w.Expiry)
	if err != nil {
		return "", fmt.Errorf("node: renew the mirror of session %d: %w", w.SessionID, err)
	}
	return sid, nil
}

// Supply implements session.Mirror. Nothing but the next page can do this: that server knows a browser by its cookie.
func (m *Mirror) Supply(
	ctx context.Context, tx pgx.Tx, w session.Mirrored, r *http.Request,
) (cookie *http.Cookie, err error) {
	err = m.writing(ctx, tx, w, func(row mirrorRow) error {
		sid, err := m.renew(ctx, tx, w, row)
		if err != nil {
			return err
		}
		if sid != "" {
			cookie = m.cookie(sid, w)
			return nil
		}
		if err := m.endBrought(ctx, tx, w, m.sid(r)); err != nil {
			return err
		}
		cookie, err = m.begin(ctx, tx, w, row)
		return err
	})
	return cookie, err
}

// endBrought ends the session that a browser brings, if it is the one that goes on here: the person did not sign out of
// two.
func (m *Mirror) endBrought(ctx context.Context, tx pgx.Tx, w session.Mirrored, sid string) error {
	var adopted bool
	err := tx.QueryRow(ctx, `
		SELECT EXISTS (SELECT FROM cairn.node_sessions WHERE sid_hash = $1 AND user_id = $2)`, digest(sid), w.UserID).
		Scan(&adopted)
	if err == nil && adopted {
		err = m.end(ctx, tx, []string{sid})
	}
	if err != nil {
		return fmt.Errorf("node: end what session %d was at the Node server: %w", w.SessionID, err)
	}
	return nil
}

// Brought implements session.Mirror. Of several cookies, none can be replaced.
func (m *Mirror) Brought(r *http.Request, id string) bool {
	return m.sid(r) == id || times(r, m.Cookie) > 1
}

// Clear implements session.Mirror.
func (m *Mirror) Clear(w http.ResponseWriter) {
	http.SetCookie(w, &http.Cookie{
		Name: m.Cookie, Path: "/", Domain: m.Domain, MaxAge: -1, HttpOnly: true, Secure: m.secure,
	})
}

// cookie is the cookie of a session, signed with the first secret. As ours does, it lasts as long as the session can:
// a renewal sends no cookie.
func (m *Mirror) cookie(sid string, w session.Mirrored) *http.Cookie {
	value := "s:" + sid + "." + string(sign(m.Secrets[0], sid))
	c := &http.Cookie{
		Name: m.Cookie, Value: url.QueryEscape(value), Path: "/", Domain: m.Domain, HttpOnly: true,
		Secure: m.secure, SameSite: http.SameSiteLaxMode,
	}
	if w.Persistent {
		c.Expires = w.Limit
	}
	return c
}

// remember notes which session of that server is the mirror of ours.
func (m *Mirror) remember(ctx context.Context, tx pgx.Tx, w session.Mirrored, sid string) error {
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.node_mirrors (session_id, sid, place, expires) VALUES ($1, $2, $3, $4)
		ON CONFLICT (session_id) DO NOTHING`, w.SessionID, sid, pgx.Identifier(m.Table).Sanitize(), w.Expiry)
	if err == nil { // it never begins a session here again
		_, err = tx.Exec(ctx, `
			INSERT INTO cairn.node_sessions (sid_hash, user_id) VALUES ($1, $2) ON CONFLICT (sid_hash) DO NOTHING`,
			digest(sid), w.UserID)
	}
	if err != nil {
		return fmt.Errorf("node: remember the mirror of session %d: %w", w.SessionID, err)
	}
	return nil
}
