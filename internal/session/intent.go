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

// intentLife is how long an intent waits.
const intentLife = 10 * time.Minute

// PutIntent keeps what the signed-in person wants to do once they have re-authenticated, in the caller's words, and
// returns the id under which it waits: for ten minutes, in this session alone, which has one at a time. A new token
// ends it, and so does the end of the session.
func (m *Manager) PutIntent(ctx context.Context, act string) (id string) {
	rq := requestOf(ctx)
	id = rand.Text()
	m.scs.Put(rq.data, intentKey, strings.Join([]string{id, strconv.FormatInt(rq.now.Unix(), 10), act}, " "))
	return id
}

// Intent returns the act that waits under an id, "" if none does.
func (m *Manager) Intent(ctx context.Context, id string) (act string) {
	rq := requestOf(ctx)
	if rq.found == nil {
		return ""
	}
	return waiting(m.scs.GetString(rq.data, intentKey), id, rq.now)
}

// TakeIntent returns the act that waits under an id, "" if none does, and holds the session until the transaction is
// over. The transaction has to be that of SignIn, which ends the session that the act waited in: so nobody takes it
// twice.
func (m *Manager) TakeIntent(ctx context.Context, tx pgx.Tx, id string) (act string, err error) {
	var data []byte
	var now time.Time
	err = tx.QueryRow(ctx, `
		SELECT data, now() FROM cairn.sessions WHERE token = $1 AND now() < expiry FOR UPDATE`,
		requestOf(ctx).stored).Scan(&data, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("session: take an intent: %w", err)
	}
	var values struct{ Intent string }
	if err := json.Unmarshal(data, &values); err != nil {
		return "", nil // it means nothing to this version of the program
	}
	return waiting(values.Intent, id, now), nil
}

// waiting reads an intent as it is kept.
func waiting(kept, id string, now time.Time) (act string) {
	parts := strings.SplitN(kept, " ", 3)
	if len(parts) != 3 || id == "" || parts[0] != id {
		return ""
	}
	at, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || !now.Before(time.Unix(at, 0).Add(intentLife)) {
		return ""
	}
	return parts[2]
}

// Reload makes Current return the session that SignIn has just begun.
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
	rq.found, rq.now = &r.Session, r.now
	return nil
}
