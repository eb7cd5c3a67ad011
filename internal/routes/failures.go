package routes

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// providerError says at which provider something went wrong, so that the page can name it.
type providerError struct {
	provider *oauth.Provider
	err      error
}

func (e *providerError) Error() string { return e.err.Error() }
func (e *providerError) Unwrap() error { return e.err }

// callError is an *auth.LimitError for calls about a connection.
type callError struct{ providerError }

// checkError is an error of a check that the person asked for.
type checkError struct{ error }

func (e checkError) Unwrap() error { return e.error }

// failure is a kind of failure between us and a provider. It is part of addresses, as in /login?notice=expired-strava.
type failure string

const (
	expired      failure = "expired"
	elsewhere    failure = "elsewhere"
	linked       failure = "linked"
	unconfirmed  failure = "unconfirmed"
	disabled     failure = "disabled"
	uninvited    failure = "uninvited"
	needsCode    failure = "needs-code"
	otherAccount failure = "other-account"
	tooOften     failure = "too-often"
	unusable     failure = "unusable"
	noAnswer     failure = "no-answer"
	notAccepted  failure = "not-accepted"
	slowDown     failure = "slow-down"
	quotaSpent   failure = "quota-spent"
	appRefused   failure = "app-refused"
	tooMany      failure = "too-many-people"
)

// failureOf returns "" for an error that has nothing to do with a provider.
func failureOf(r *http.Request, p *oauth.Provider, err error) failure {
	switch {
	case errors.Is(err, oauth.ErrAttempt), errors.Is(err, auth.ErrCredentials): // the second: removed meanwhile
		return expired
	case errors.Is(err, oauth.ErrOtherBrowser):
		return elsewhere
	case errors.Is(err, auth.ErrLinked):
		return linked
	case errors.Is(err, auth.ErrUnconfirmed):
		return unconfirmed
	case errors.Is(err, auth.ErrDisabled):
		return disabled
	case errors.Is(err, auth.ErrUninvited):
		return uninvited
	case errors.Is(err, auth.ErrNeedsCode):
		return needsCode
	case errors.Is(err, connection.ErrOtherAccount):
		return otherAccount
	}
	e, ok := errors.AsType[*oauth.Error](err)
	switch {
	case !ok:
		return ""
	case errors.Is(err, oauth.ErrQuotaSpent):
		return quotaSpent
	case errors.Is(err, oauth.ErrRateLimited):
		return slowDown
	case errors.Is(err, oauth.ErrTooManyPeople):
		return tooMany
	case errors.Is(err, oauth.ErrAppRefused):
		return appRefused
	case errors.Is(err, oauth.ErrRefused) && r.URL.Path == p.CallbackPath():
		return notAccepted
	case e.Status == 0:
		return noAnswer
	}
	return unusable
}

// explain puts a failure into words.
func (f failure) explain(p *oauth.Provider) problem {
	const soon = "Please try again in a minute."
	switch f {
	case expired:
		return problem{Status: http.StatusBadRequest, Heading: "This attempt is no longer valid.",
			Detail: "It works once, for a few minutes. Please start again."}
	case elsewhere:
		return problem{Status: http.StatusForbidden, Heading: "This was started in another browser.",
			Detail: "Please finish it there, as the person who started it. " +
				"If someone sent you here, you can close this page."}
	case linked:
		return problem{Status: http.StatusConflict,
			Heading: "This " + p.Name + " account belongs to another user here.",
			Detail:  "If it’s yours, sign out, then sign in with " + p.Name + "."}
	case unconfirmed:
		return problem{Status: http.StatusForbidden,
			Heading: "This " + p.Name + " account can’t be used to sign in yet.",
			Detail: "Its owner has to allow it first. If that’s you, sign in another way, and allow " + p.Name +
				" on your account page. If it isn’t, please write to the operator of this site."}
	case disabled:
		return problem{Status: http.StatusForbidden, Heading: "This account is disabled.",
			Detail: "Please ask the operator of this site."}
	case needsCode:
		return problem{Status: http.StatusForbidden, Heading: "This account asks for a code.",
			Detail: "The old site can’t ask for one. Sign in here instead."}
	case uninvited:
		return problem{Status: http.StatusForbidden,
			Heading: "No account here uses this " + p.Name + " account.",
			Detail:  "New accounts need an invitation. If you have one, open its link first."}
	case otherAccount:
		return problem{Status: http.StatusConflict, Heading: "Another " + p.Name + " account is connected already.",
			Detail: "Disconnect that one first, or choose the same account at " + p.Name + "."}
	case tooOften:
		return problem{Status: http.StatusTooManyRequests, Heading: "Too many attempts.",
			Detail: "Please try again in a quarter of an hour."}
	case noAnswer:
		return problem{Status: http.StatusGatewayTimeout, Heading: p.Name + " didn’t answer.", Detail: soon}
	case notAccepted:
		return problem{Status: http.StatusBadGateway, Heading: p.Name + " didn’t accept this attempt.", Detail: soon}
	case slowDown:
		return problem{Status: http.StatusServiceUnavailable, Heading: p.Name + " has rate-limited us.",
			Detail: soon, retryAfter: time.Minute}
	case quotaSpent:
		return problem{Status: http.StatusServiceUnavailable, Heading: "Today’s calls to " + p.Name + " are used up.",
			Detail: soon, retryAfter: time.Minute}
	case appRefused:
		return problem{Status: http.StatusBadGateway, Heading: p.Name + " isn’t serving Cairn at the moment.",
			Detail: "This affects everyone here, not only you. The operator of this site needs to fix it."}
	case tooMany:
		return problem{Status: http.StatusBadGateway, Heading: p.Name + "’s limit for this site is reached.",
			Detail: "It allows a site only so many people. The operator of this one can ask for more."}
	case unusable:
		return problem{Status: http.StatusBadGateway,
			Heading: p.Name + " isn’t responding properly.",
			Detail:  soon}
	}
	return problem{}
}

// waits reports whether trying again is no use until the provider or the operator has done something.
func (f failure) waits() bool {
	return f == slowDown || f == quotaSpent || f == appRefused || f == tooMany
}

// explainProvider explains a failure between us and a provider; ok is false for any other.
func (s *server) explainProvider(r *http.Request, p *oauth.Provider, err error) (answer problem, ok bool) {
	f := failureOf(r, p, err)
	if f == "" {
		return problem{}, false
	}
	answer = f.explain(p)
	answer.Changed = nothingChanged
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		if wait := time.Until(e.Until); wait > 0 {
			answer.retryAfter = wait
			answer.Detail = "It lets us try again at " + clock(e.Until.In(s.zoneOf(r))) + "."
		}
	}
	if _, ok := errors.AsType[checkError](err); ok {
		answer.afterCheck(p, f)
		return answer, true
	}
	answer.Action = &action{Label: "Sign in", URL: "/login"}
	if _, ok := session.Current(r.Context()); ok {
		answer.Action = &action{Label: "Start again", URL: "/connect/" + p.Key, Post: true}
	}
	if f.waits() || f == linked || f == unconfirmed || f == disabled || f == uninvited ||
		f == otherAccount {
		answer.Action = back()
	}
	return answer, true
}

// afterCheck says that a failed check changed nothing, and offers another one where that may help.
func (answer *problem) afterCheck(p *oauth.Provider, f failure) {
	card := &action{Label: "Back to " + p.Name, URL: cardPath(p.Key)}
	answer.Changed = "You’re still connected. The card for " + p.Name + " shows its current state."
	if f.waits() {
		answer.Action = card
		return
	}
	answer.Action = &action{Label: "Try again", URL: "/connections/" + p.Key + "/check", Post: true}
	answer.Other = card
}

// explainCallLimit explains that a person has checked or refreshed a connection too often.
func explainCallLimit(call *callError) problem {
	limit, _ := errors.AsType[*auth.LimitError](call)
	p := problem{Status: http.StatusTooManyRequests, Heading: call.provider.Name + " was checked a moment ago.",
		Detail:  "Your page shows the result. You can try again " + in(limit.RetryAfter) + ".",
		Changed: nothingChanged, retryAfter: limit.RetryAfter,
		Action: &action{Label: "Back to your connections", URL: cardPath(call.provider.Key)}}
	if limit.RetryAfter > time.Minute {
		p.Heading = call.provider.Name + " was checked often in the last hour."
		p.Detail = "New data also arrives by itself. You can try again " + in(limit.RetryAfter) + "."
	}
	return p
}

// attemptFailed redirects from the address of a callback, which holds code and state, to the page from which the
// person can start again, with a notice of what went wrong. It returns an error that is neither the provider's nor the
// person's.
func (s *server) attemptFailed(
	w http.ResponseWriter, r *http.Request, p *oauth.Provider, next string, err error) error {
	f := failureOf(r, p, err)
	if _, limited := errors.AsType[*auth.LimitError](err); limited {
		f = tooOften
	}
	if f == "" {
		return err
	}
	status := f.explain(p).Status
	reference := ""
	if status >= 500 {
		s.logFailure(r, status, err)
		reference = requestID(r.Context())
	}
	if _, ok := session.Current(r.Context()); ok {
		answer, _ := s.explainProvider(r, p, err)
		if f == tooOften {
			answer = s.explain(r, err)
		}
		n := failureNotice(answer, reference)
		n.Place = atCard(p.Key)
		s.flashNotice(r, n)
		redirect(w, r, next)
		return nil
	}
	query := url.Values{"notice": {string(f) + "-" + p.Key}}
	if next != "/" {
		query.Set("next", next)
	}
	if reference != "" {
		query.Set("reference", reference)
	}
	redirect(w, r, "/login?"+query.Encode())
	return nil
}

func failureNotice(answer problem, reference string) notice {
	text := answer.Heading + " " + answer.Detail + " " + nothingChanged
	if reference != "" {
		text += " Reference: " + reference
	}
	return notice{Kind: bad, Text: text}
}

var referenceShape = regexp.MustCompile(`^[a-z0-9]{12}$`)

// failureInAddress returns the notice of a failure for visitors, who have no session to keep it in.
func (s *server) failureInAddress(r *http.Request) *notice {
	code := r.URL.Query().Get("notice")
	for _, p := range s.Providers {
		f, ok := strings.CutSuffix(code, "-"+p.Key)
		if answer := failure(f).explain(p); ok && answer.Status != 0 {
			reference := r.URL.Query().Get("reference")
			if !referenceShape.MatchString(reference) {
				reference = ""
			}
			n := failureNotice(answer, reference)
			if failure(f) == disabled {
				n.Text = s.disabledInWords()
			}
			return &n
		}
	}
	return nil
}
