package auth

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"

	"cairn/internal/mail"
)

// linkJob finds out what becomes of a request for a link.
type linkJob struct {
	ID int64 `json:"id" river:"unique"`
}

func (linkJob) Kind() string { return "link" }

// InsertOpts let a request be tried for about as long as it is kept.
func (linkJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: mail.JobQueue, MaxAttempts: 6, UniqueOpts: river.UniqueOpts{ByArgs: true}}
}

type linkWorker struct {
	river.WorkerDefaults[linkJob]
	accounts *Accounts
}

func (w *linkWorker) Work(ctx context.Context, job *river.Job[linkJob]) error {
	return pgx.BeginFunc(ctx, w.accounts.pool, func(tx pgx.Tx) error {
		return w.accounts.answer(ctx, tx, job.Args.ID)
	})
}

// Register adds the worker of requests for links.
func (a *Accounts) Register(workers *river.Workers) {
	river.AddWorker(workers, &linkWorker{accounts: a})
}

// Reconcile has nothing to do: a request and its job are stored together, and people who get no message ask again.
func (a *Accounts) Reconcile(context.Context) (now, later []river.JobArgs, err error) {
	return nil, nil, nil
}

// request is a link that no message has been sent for.
type request struct {
	Link
	nonce []byte
}

// outcome is what becomes of a request. The zero outcome drops it.
type outcome struct {
	kind   mail.Kind // of the message
	userID int64     // whom it is about; 0: nobody
	token  bool      // it has the link
}

// answer sends the message that a request asked for, or drops the request.
func (a *Accounts) answer(ctx context.Context, tx pgx.Tx, id int64) error {
	r, err := openRequest(ctx, tx, id)
	if errors.Is(err, pgx.ErrNoRows) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrDisabled) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("auth: read the request for link %d: %w", id, err)
	}
	var given outcome
	switch r.Purpose {
	case ToSignUp:
		given, err = answerSignUp(ctx, tx, r)
	case ToReset:
		given, err = a.answerReset(ctx, tx, r)
	default:
		given, err = answerOwner(ctx, tx, r)
	}
	switch {
	case err != nil:
		return err
	case given.kind == "":
		return dropLink(ctx, tx, id)
	}
	return a.send(ctx, tx, r, given)
}

// openRequest reads a request and locks its address, so that requests for one address are counted one after another.
func openRequest(ctx context.Context, tx pgx.Tx, id int64) (r request, err error) {
	var userID int64
	err = tx.QueryRow(ctx, `
		SELECT COALESCE(user_id, 0) FROM cairn.links, pg_advisory_xact_lock(hashtextextended(email_key, 7262))
		WHERE id = $1`, id).Scan(&userID)
	if err != nil {
		return request{}, err
	}
	if userID != 0 {
		if err := KeepUser(ctx, tx, userID); err != nil {
			return request{}, err
		}
	}
	err = tx.QueryRow(ctx, `
		SELECT id, purpose, COALESCE(user_id, 0), email, email_key, browser_hash, nonce
		FROM cairn.links WHERE id = $1 AND sent_at IS NULL FOR UPDATE`, id).
		Scan(&r.ID, &r.Purpose, &r.UserID, &r.Email, &r.key, &r.browser, &r.nonce)
	return r, err
}

// answerSignUp sends a link to an address without an account. The owner of an account reads that they have one, which
// they may have forgotten; nobody else reads that.
func answerSignUp(ctx context.Context, tx pgx.Tx, r request) (outcome, error) {
	var owner int64
	var live int
	var full bool
	err := tx.QueryRow(ctx, `
		SELECT COALESCE((SELECT user_id FROM cairn.emails WHERE email_key = $1), 0), count(*),
		       COALESCE(max(sent_at) > now() - $2::interval, false)
		FROM cairn.links
		WHERE email_key = $1 AND purpose = 'signup' AND sent_at IS NOT NULL AND expires_at > now()`,
		r.key, signUpPause).Scan(&owner, &live, &full)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("auth: find the owner of an address: %w", err)
	case live < maxLinks:
	case full:
		return outcome{}, nil
	default:
		// The oldest gives way, so that strangers can't keep the address's owner from signing up.
		if err := dropOldestSignUp(ctx, tx, r.key); err != nil {
			return outcome{}, err
		}
	}
	if owner != 0 {
		return outcome{kind: mail.Taken, userID: owner}, nil
	}
	return outcome{kind: mail.SignUp, token: true}, nil
}

func dropOldestSignUp(ctx context.Context, tx pgx.Tx, key string) error {
	_, err := tx.Exec(ctx, `
		DELETE FROM cairn.links WHERE id = (
			SELECT id FROM cairn.links WHERE email_key = $1 AND purpose = 'signup' AND sent_at IS NOT NULL
			ORDER BY sent_at LIMIT 1)`, key)
	if err != nil {
		return fmt.Errorf("auth: drop a sign-up: %w", err)
	}
	return nil
}

// answerOwner sends a link that somebody who is signed in asked for, unless enough are on their way to its address,
// which may be a stranger's.
func answerOwner(ctx context.Context, tx pgx.Tx, r request) (outcome, error) {
	var live int
	err := tx.QueryRow(ctx, `
		SELECT count(*) FROM cairn.links
		WHERE email_key = $1 AND purpose = $2 AND sent_at IS NOT NULL AND expires_at > now()`, r.key, r.Purpose).
		Scan(&live)
	switch {
	case err != nil:
		return outcome{}, fmt.Errorf("auth: count links: %w", err)
	case live >= maxLinks:
		return outcome{}, nil
	}
	return outcome{mail.Kind(r.Purpose), r.UserID, true}, nil
}

// answerReset sends a link to the owner of an address. A browser that has signed in to the account has an allowance of
// its own, which strangers can't use up.
func (a *Accounts) answerReset(ctx context.Context, tx pgx.Tx, r request) (outcome, error) {
	var owner int64
	var live, recent int
	var known bool
	err := tx.QueryRow(ctx, `
		WITH owner AS (SELECT user_id FROM cairn.emails WHERE email_key = $1),
		     known AS (SELECT token_hash FROM cairn.browsers JOIN owner USING (user_id)),
		     asked AS (
			SELECT l.sent_at FROM cairn.links l JOIN owner USING (user_id)
			WHERE l.purpose = 'reset' AND l.sent_at IS NOT NULL AND l.expires_at > now()
			  AND l.details->>'by' IS NULL
			  AND CASE WHEN $2 IN (SELECT token_hash FROM known) THEN l.browser_hash = $2
			      ELSE l.browser_hash IS NULL OR l.browser_hash NOT IN (SELECT token_hash FROM known) END)
		SELECT user_id, (SELECT count(*) FROM asked),
		       (SELECT count(*) FROM asked WHERE sent_at > now() - $3::interval),
		       COALESCE($2 IN (SELECT token_hash FROM known), false)
		FROM owner`, r.key, r.browser, linkPause).Scan(&owner, &live, &recent, &known)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return outcome{}, nil
	case err != nil:
		return outcome{}, fmt.Errorf("auth: find the owner of an address: %w", err)
	case live >= maxLinks || recent > 0:
		return outcome{}, nil
	case !known:
		err = a.allow(ctx, tx, []Count{a.Limits.ResetStrangers.Of(owner)})
	}
	if _, limited := errors.AsType[*LimitError](err); limited {
		return outcome{}, nil
	}
	return outcome{kind: mail.Reset, userID: owner, token: true}, err
}

// send closes a request and puts its message into the outbox. Without a token the row only stays to be counted.
func (a *Accounts) send(ctx context.Context, tx pgx.Tx, r request, given outcome) error {
	var hash []byte
	draft := mail.Draft{UserID: given.userID, To: r.Email, Kind: given.kind}
	if given.token {
		hash, draft.LinkID = digest(a.token(r.ID, r.nonce)), r.ID
	}
	_, err := tx.Exec(ctx, `
		UPDATE cairn.links
		SET user_id = NULLIF($2::bigint, 0), token_hash = $3, sent_at = now(), expires_at = now() + $4::interval,
		    details = CASE WHEN $3::bytea IS NULL THEN '{}' ELSE details END
		WHERE id = $1`, r.ID, given.userID, hash, r.Purpose.life())
	if err != nil {
		return fmt.Errorf("auth: close the request for link %d: %w", r.ID, err)
	}
	return a.mail.Put(ctx, tx, draft)
}

func dropLink(ctx context.Context, tx pgx.Tx, id int64) error {
	if _, err := tx.Exec(ctx, `DELETE FROM cairn.links WHERE id = $1`, id); err != nil {
		return fmt.Errorf("auth: drop link %d: %w", id, err)
	}
	return nil
}
