package mail

import (
	"context"
	"crypto/rand"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Kind is what a message is about. Words turn it into a message.
type Kind string

// Kinds of messages with a link, named like its purpose.
const (
	SignUp Kind = "signup" // make the account that was asked for
	Reset  Kind = "reset"  // choose a new password
	Verify Kind = "verify" // prove the address of an account
	Change Kind = "change" // prove a new address for an account
	Invite Kind = "invite" // make an account
	Undo   Kind = "undo"   // the address was changed; the old one can undo that
)

// Kinds of messages without a link, except NewBrowser. Taken and AccountDeleted are messages alone; the others stand on
// the account page, too.
const (
	Taken           Kind = "taken" // somebody asked for a second account with this address
	AccountDeleted  Kind = "account_deleted"
	PasswordAdded   Kind = "password_added"
	PasswordChanged Kind = "password_changed"
	PasswordRemoved Kind = "password_removed"
	PasswordReset   Kind = "password_reset"
	MethodAdded     Kind = "method_added"    // an account at the provider in Facts
	MethodRemoved   Kind = "method_removed"  // likewise
	PasskeyAdded    Kind = "passkey_added"   // named in Facts
	PasskeyRemoved  Kind = "passkey_removed" // likewise
	PasskeyCounter  Kind = "passkey_counter" // its counter went back
	AppAdded        Kind = "app_added"       // an authenticator app
	AppRemoved      Kind = "app_removed"
	CodesMade       Kind = "codes_made"   // new recovery codes; earlier ones end
	CodeUsed        Kind = "code_used"    // a recovery code
	WrongCodes      Kind = "wrong_codes"  // several in a row
	CodeSkipped     Kind = "code_skipped" // no longer asked for after the provider in Facts
	CodeAsked       Kind = "code_asked"   // asked for again after it
	FactorsReset    Kind = "factors_reset"
	NewBrowser      Kind = "new_browser" // one that has not signed in before did; its link undoes what was done since
	SignInRejected  Kind = "sign_in_rejected"
	NeedsReconnect  Kind = "needs_reconnect"
	EmailVerified   Kind = "email_verified"
	EmailChanged    Kind = "email_changed"
	EmailRestored   Kind = "email_restored"
	UndoEnded       Kind = "undo_ended"      // by the account's owner; the address before the change is told, too
	EmailFreed      Kind = "email_freed"     // it was not verified, and somebody else proved it
	EmailRefused    Kind = "email_refused"   // its mail server refuses our messages
	ResetLinkMade   Kind = "reset_link_made" // by an operator
	AccountDisabled Kind = "account_disabled"
	AccountEnabled  Kind = "account_enabled"
)

// Optional are the kinds of messages that people can choose not to get. All others are about the security of an
// account, or somebody asked for them.
var Optional = []Kind{NeedsReconnect}

// Facts are what a message says, by name.
type Facts map[string]string

// Value makes JSON of the facts. pgx can't do that when it sends statements as text, for a connection pooler.
func (f Facts) Value() (driver.Value, error) {
	if f == nil {
		return "{}", nil
	}
	text, err := json.Marshal(map[string]string(f))
	return string(text), err
}

// Draft is a message that has no words yet.
type Draft struct {
	UserID int64 // the account it is about; 0: none, or one that is deleted in the same transaction
	To     string
	Kind   Kind
	Facts  Facts
	LinkID int64 // of the link that it has; 0: none

	key string // names it in Message-ID
}

// JobQueue is the queue of jobs about mail. Servers of the release before don't have it.
const JobQueue = "mail"

// Queue is where jobs are enqueued: a jobs.Queue.
type Queue interface {
	// InsertTx enqueues a job in the transaction that makes it necessary.
	InsertTx(
		ctx context.Context, tx pgx.Tx, args river.JobArgs, opts *river.InsertOpts,
	) (*rivertype.JobInsertResult, error)
}

// Outbox takes messages. It is apart from Worker because the accounts, which a Worker needs, write messages, too.
type Outbox struct{ Queue }

// Put takes a message, in the transaction that causes it.
func (o *Outbox) Put(ctx context.Context, tx pgx.Tx, d Draft) error {
	var id int64
	err := tx.QueryRow(ctx, `
		INSERT INTO cairn.messages (key, user_id, recipient, kind, facts, link_id)
		VALUES ($1, NULLIF($2::bigint, 0), $3, $4, $5, NULLIF($6::bigint, 0)) RETURNING id`,
		rand.Text(), d.UserID, d.To, d.Kind, d.Facts, d.LinkID).Scan(&id)
	if err != nil {
		return fmt.Errorf("mail: store a message: %w", err)
	}
	_, err = o.InsertTx(ctx, tx, messageJob{id}, nil)
	return err
}
