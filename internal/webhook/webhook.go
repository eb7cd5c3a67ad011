// Package webhook has what the webhooks of all providers have in common. A provider's folder reads its messages, and
// package routes serves the addresses.
//
// An address contains a key that only the provider was given, but a message proves nothing: it only makes us ask the
// provider. If the provider can't be asked, its message itself is shown to the owner of the account.
package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"cairn/internal/activity"
	"cairn/internal/oauth"
)

// Message is what a provider reports, as the ids of its accounts.
type Message struct {
	Check []string // accounts whose permissions may have changed
	Fetch []string // accounts that have something new
}

// Receiver is an oauth.Adapter of a provider that has webhooks.
type Receiver interface {
	// Receive reads a message. A body that is a form has been read into PostForm. push stores what was sent before
	// the provider is answered, and returns the accounts for which there is something to fetch.
	// Errors: ErrNotUnderstood, ErrWrongSecret; those of push.
	Receive(r *http.Request, p *oauth.Provider, push Push) (Message, error)
	// Bulk reports whether one message may be large; the provider then waits longer for the answer.
	Bulk() bool
}

// Push stores what a provider sent: activity.Store.Push.
type Push func(ctx context.Context, sent []activity.Sent) (toFetch []string, err error)

// Challenger is a Receiver whose provider checks that its messages are wanted.
type Challenger interface {
	// Challenge returns the answer, as JSON, to a query; ok is false if there is none.
	Challenge(query url.Values, p *oauth.Provider) (answer any, ok bool)
}

// Manual is a Receiver whose address an operator enters at the provider.
type Manual interface {
	// Purpose says what the address is entered for.
	Purpose() string
}

// Subscription is where a provider sends its messages.
type Subscription struct {
	ID          int64 // the provider's
	CallbackURL string
}

// Subscriber is a Receiver whose address is given to the provider by a call.
type Subscriber interface {
	// Subscriptions lists those of our application. Errors: *oauth.Error.
	Subscriptions(ctx context.Context, c *oauth.Caller) ([]Subscription, error)
	// Subscribe makes the provider send its messages to an address. The provider challenges the address before it
	// answers. Errors: *oauth.Error.
	Subscribe(ctx context.Context, c *oauth.Caller, callback string) error
	// Unsubscribe ends a subscription. Errors: *oauth.Error.
	Unsubscribe(ctx context.Context, c *oauth.Caller, id int64) error
}

// Kinds of errors.
var (
	ErrNotUnderstood = errors.New("webhook: the message makes no sense")
	ErrOtherApp      = fmt.Errorf("%w: it is for another application", ErrNotUnderstood)
	ErrWrongSecret   = errors.New("webhook: the message has another secret")
)

// Unread returns ErrNotUnderstood together with the error of reading the body, nil if there was none.
func Unread(err error) error {
	if err == nil {
		return ErrNotUnderstood
	}
	return fmt.Errorf("%w: %w", ErrNotUnderstood, err)
}
