// Package webhook is what the webhooks of all providers have in common. The folder of a provider reads its messages;
// package routes serves the addresses.
//
// An address holds a key that only the provider was given, but a message proves nothing: it only makes us ask the
// provider. What a provider sends that can't be asked is the exception: it is shown to its owner as it came.
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

// Message is what a provider says, by the ids of its accounts.
type Message struct {
	Check []string // their permission may have changed
	Fetch []string // they have something new
}

// Receiver is an oauth.Adapter of a provider that has webhooks.
type Receiver interface {
	// Receive reads a message. A body that is a form has been read into PostForm. push stores what was sent before
	// the provider is answered, and returns the accounts for which there is something to fetch.
	// Errors: ErrNotUnderstood, ErrWrongSecret; those of push.
	Receive(r *http.Request, p *oauth.Provider, push Push) (Message, error)
	// Bulk tells whether one message may be large; its provider waits longer for the answer.
	Bulk() bool
}

// Push stores what a provider sent: activity.Store.Push.
type Push func(ctx context.Context, sent []activity.Sent) (toFetch []string, err error)

// Challenger is a Receiver whose provider makes sure that its messages are wanted.
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
	// Subscribe has the provider send its messages to an address, where it makes its challenge meanwhile.
	// Errors: *oauth.Error.
	Subscribe(ctx context.Context, c *oauth.Caller, callback string) error
	// Unsubscribe ends a subscription. Errors: *oauth.Error.
	Unsubscribe(ctx context.Context, c *oauth.Caller, id int64) error
}

// Kinds of errors.
var (
	ErrNotUnderstood = errors.New("webhook: it makes no sense")
	ErrOtherApp      = fmt.Errorf("%w: it is for another application", ErrNotUnderstood)
	ErrWrongSecret   = errors.New("webhook: it has another secret")
)

// Unread is ErrNotUnderstood with the error that came up when a body was read, nil if it was read.
func Unread(err error) error {
	if err == nil {
		return ErrNotUnderstood
	}
	return fmt.Errorf("%w: %w", ErrNotUnderstood, err)
}
