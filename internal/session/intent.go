package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const intentKey = "intent"

// intentLifetime is the time that a person has to re-authenticate.
const intentLifetime = 10 * time.Minute

// PutIntent stores in the session what the signed-in person wants to do after re-authentication, in a form of the
// caller's, and returns the id of that intent. A session has one intent at a time. It ends after intentLifetime, with a
// new token, and with the session.
func (m *Manager) PutIntent(ctx context.Context, act string) (id string) {
	rq := requestOf(ctx)
	id = rand.Text()
	created := strconv.FormatInt(rq.found.now.Unix(), 10)
	m.scs.Put(rq.data, intentKey, strings.Join([]string{id, created, act}, " "))
	return id
}

// Intent returns what the intent with an id is about, "" if there is none.
func (m *Manager) Intent(ctx context.Context, id string) (act string) {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ""
	}
	return parseIntent(m.scs.GetString(rq.data, intentKey), id, rq.found.now)
}

// ConsumeIntent returns what the intent with an id is about, "" if there is none, and locks the session. tx has to be
// the transaction of SignIn, which ends that session, so that an intent is consumed once.
func (m *Manager) ConsumeIntent(ctx context.Context, tx pgx.Tx, id string) (act string, err error) {
	var data []byte
	var now time.Time
	err = tx.QueryRow(ctx, `
		SELECT data, now() FROM cairn.sessions WHERE token = $1 AND now() < expiry FOR UPDATE`,
		requestOf(ctx).stored).Scan(&data, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("session: consume an intent: %w", err)
	}
	var values struct{ Intent string }
	if err := json.Unmarshal(data, &values); err != nil {
		return "", nil // written by another version of the program
	}
	return parseIntent(values.Intent, id, now), nil
}

// parseIntent reads a stored intent. It returns "" unless the intent has that id and is still good.
func parseIntent(stored, id string, now time.Time) (act string) {
	parts := strings.SplitN(stored, " ", 3)
	if len(parts) != 3 || id == "" || parts[0] != id {
		return ""
	}
	at, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || !now.Before(time.Unix(at, 0).Add(intentLifetime)) {
		return ""
	}
	return parts[2]
}

// Reload reads the session that SignIn has just begun, so that Current returns it.
func (m *Manager) Reload(ctx context.Context) error {
	rq := requestOf(ctx)
	ctx, cancel := context.WithTimeout(ctx, m.StatementTimeout)
	defer cancel()
	rows, err := m.store.query(ctx, []string{rq.stored})
	if err != nil {
		return fmt.Errorf("session: find: %w", err)
	}
	r, ok := rows[rq.stored]
	if !ok {
		return ErrEnded
	}
	rq.found = r
	return nil
}
