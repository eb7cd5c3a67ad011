// Package oauth speaks OAuth 2 with providers. It knows what all of them have in common, and no feature that
// uses them; each provider has a folder of its own below this one.
//
//	oauth.go      kinds of errors
//	provider.go   what a provider is: a description, and an Adapter that makes its calls
//	client.go     calls to providers: bounded in time and size, no redirects, errors without secrets; which status is
//	              which kind of error
//	answer.go     unusual token answers, made readable for x/oauth2
//	semaphore.go  how many calls to a provider may be under way at the same time
//	budget.go     how many calls are allowed: one budget for all instances
//	ratelimit.go  what answers say about that: quotas, Retry-After
//	attempt.go    an attempt: begun, consumed by the browser that began it, exchanged for tokens
//	limits.go     time limits and their defaults
//
// One DELETE … RETURNING consumes an attempt before anything else is checked. A call to a provider is counted
// in its budget before it is sent, by one statement that all instances share; it is not sent if the budget is
// spent, or if the provider has asked for no calls. No database connection is held during a call.
package oauth

import (
	"errors"
	"fmt"
	"time"
)

// Error is a call to a provider that failed. It has none of the answer's text, which may contain tokens.
type Error struct {
	Provider string
	Call     string // "exchange", "refresh", "userinfo", "permissions", "data", "revoke"
	Kind     error  // one of the kinds below
	Status   int    // HTTP status, 0 if there was no answer
	Code     string // the provider's short code, if it is a known one
	// Until is when the provider may be called again; zero: not known. No call is made before.
	Until time.Time
	// Unsent says that the call was not made.
	Unsent bool
}

func (e *Error) Error() string {
	if e.Unsent {
		return fmt.Sprintf("oauth: %s: %s: not asked: %v", e.Provider, e.Call, e.Kind)
	}
	return fmt.Sprintf("oauth: %s: %s: %v (status %d, code %q)", e.Provider, e.Call, e.Kind, e.Status, e.Code)
}

func (e *Error) Unwrap() error { return e.Kind }

// Kinds of errors. Only ErrRefused says something definite about a connection.
var (
	ErrRefused      = errors.New("the provider refused")
	ErrNotPermitted = errors.New("the person has not permitted this at the provider")
	ErrNotServed    = errors.New("the provider does not answer this request, or not again")
	ErrUnavailable  = errors.New("the provider did not answer usably")
	ErrRateLimited  = errors.New("the provider asks us to slow down")
	// ErrQuotaSpent is an ErrRateLimited that lasts until the next UTC day.
	ErrQuotaSpent = fmt.Errorf("%w until tomorrow", ErrRateLimited)
	// ErrPersonLimited is an ErrRateLimited for the calls about one person only.
	ErrPersonLimited = fmt.Errorf("%w with one person", ErrRateLimited)
	// ErrAppRefused is an ErrUnavailable because of our application, not of a person.
	ErrAppRefused = fmt.Errorf("%w: it refuses our application", ErrUnavailable)
	// ErrTooManyPeople is an ErrAppRefused because our application has as many people as it may.
	ErrTooManyPeople = fmt.Errorf("%w: it has as many people as it may", ErrAppRefused)
)

// Errors of attempts.
var (
	ErrAttempt      = errors.New("oauth: no such attempt")
	ErrOtherBrowser = errors.New("oauth: the attempt belongs to another browser or user")
	ErrDenied       = errors.New("oauth: the person declined")
)

// StatusIs reports whether err is an *Error with this HTTP status.
func StatusIs(err error, status int) bool {
	failed, ok := errors.AsType[*Error](err)
	return ok && failed.Status == status
}
