package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// The mailbox takes all mail while the providers are simulated, so that developers can try everything that sends mail
// without a mail server.

// Mail is a message in the mailbox.
type Mail struct {
	ID      int64
	Key     string // the same in each try: of copies, one is kept
	To      string
	Subject string
	Text    string
	HTML    string
	At      time.Time
}

// keptMail is how many messages the mailbox keeps: the newest.
const keptMail = 100

// Deliver puts a message into the mailbox.
func (s store) Deliver(ctx context.Context, m Mail) error {
	_, err := s.pool.Exec(ctx, `
		WITH old AS (
			DELETE FROM cairn_sandbox.mail WHERE id IN (
				SELECT id FROM cairn_sandbox.mail ORDER BY id DESC OFFSET $6 - 1))
		INSERT INTO cairn_sandbox.mail (key, recipient, subject, plain, html) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (key) DO UPDATE SET at = now()`, m.Key, m.To, m.Subject, m.Text, m.HTML, keptMail)
	if err != nil {
		return fmt.Errorf("sandbox: deliver a message: %w", err)
	}
	return nil
}

const selectMail = `SELECT id, key, recipient, subject, plain, html, at FROM cairn_sandbox.mail `

// Mailbox lists the messages, the newest first.
func (s store) Mailbox(ctx context.Context) ([]Mail, error) {
	rows, _ := s.pool.Query(ctx, selectMail+`ORDER BY id DESC`) // CollectRows returns its error
	list, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Mail])
	if err != nil {
		return nil, fmt.Errorf("sandbox: list messages: %w", err)
	}
	return list, nil
}

type mailboxPage struct {
	page
	Messages []Mail
}

func (s *Sandbox) mailboxPage(w http.ResponseWriter, r *http.Request) error {
	list, err := s.Mailbox(r.Context())
	if err != nil {
		return err
	}
	return s.render(w, http.StatusOK, "mailbox", "", mailboxPage{s.page("", "Mailbox"), list})
}

// openMail shows a message as a mail program does. It has its style in itself, and loads nothing.
func (s *Sandbox) openMail(w http.ResponseWriter, r *http.Request) error {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
	if err != nil {
		return s.notFound(w, r)
	}
	rows, _ := s.pool.Query(r.Context(), selectMail+`WHERE id = $1`, id) // CollectOneRow returns its error
	m, err := pgx.CollectOneRow(rows, pgx.RowToStructByPos[Mail])
	if errors.Is(err, pgx.ErrNoRows) {
		return s.notFound(w, r)
	}
	if err != nil {
		return fmt.Errorf("sandbox: open a message: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	_, _ = w.Write([]byte(m.HTML))
	return nil
}
