package routes

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/db"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// Kinds of errors that lie in the request itself.
var (
	errNoPage    = errors.New("routes: no such page")
	errCrossSite = errors.New("routes: a form was sent from another site")
	errMethod    = errors.New("routes: method not allowed")
	errOtherHost = errors.New("routes: unknown host")
)

// errorView is the page for everything that can go wrong.
type errorView struct {
	view
	problem
	Reference string
}

// problem is what an error page says: what happened, whether anything changed, and what to do now.
type problem struct {
	Status     int
	Heading    string
	Detail     string
	Changed    string
	Action     *action
	Other      *action // beside it
	retryAfter time.Duration
}

type action struct {
	Label, URL string
	Post       bool
}

const (
	nothingChanged = "Nothing was changed."
	busyFor        = 5 * time.Second
)

// back leads to the home page.
func back() *action { return &action{Label: "Back to Cairn", URL: "/"} }

// again repeats a GET, but not a callback: its code and state must not be on a page.
func again(r *http.Request) *action {
	if r.Method != http.MethodGet || r.URL.Query().Has("state") {
		return back()
	}
	return &action{Label: "Try again", URL: returnPath(r.URL.RequestURI())}
}

// handler answers a request, or returns why it could not.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle turns the error of a handler into an error page.
func (s *server) handle(h handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		switch err := h(w, r); {
		case errors.Is(err, session.ErrEnded):
			s.sessionGone(w, r)
		case errors.Is(err, auth.ErrFactor): // the account has got a second one since the request began
			reauthenticate(w, r, pageOf(r))
		case err != nil:
			s.fail(w, r, err)
		}
	}
}

// fail writes the page for an error, and logs it if the failure is ours or a provider's.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(r.Context().Err(), context.Canceled) {
		return // the browser has gone, and that is what failed
	}
	p := s.explain(r, err)
	if p.Status >= 500 {
		s.logFailure(r, p.Status, err)
	}
	errorHeaders(w.Header())
	if p.retryAfter > 0 {
		retryAfter(w, p.retryAfter)
	}
	if strings.HasPrefix(r.URL.Path, MePath) {
		writeJSON(w, p.Status, map[string]string{"error": p.Heading})
		return
	}
	if p.Status == http.StatusInternalServerError {
		s.writeBroken(w, r)
		return
	}
	page := errorView{view: s.view(r, p.Heading), problem: p, Reference: requestID(r.Context())}
	if err := s.render(w, p.Status, "error", page); err != nil {
		s.logFailure(r, http.StatusInternalServerError, err)
		s.writeBroken(w, r)
	}
}

// logFailure logs a failure once: ours as an error, a provider's as a warning. While the database is unavailable,
// failures are counted instead, and each is logged at the level debug only.
func (s *server) logFailure(r *http.Request, status int, err error) {
	_, providers := errors.AsType[*oauth.Error](err)
	level := slog.LevelError
	switch {
	case providers:
		level = slog.LevelWarn
	case db.Unavailable(err):
		s.outage.note(slog.String("last_id", requestID(r.Context())), slog.Any("error", err))
		level = slog.LevelDebug
	}
	s.Log.LogAttrs(r.Context(), level, "request failed", logIDs(r.Context(),
		slog.String("route", pattern(r)), slog.Int("status", status), slog.Any("error", err))...)
}

func retryAfter(w http.ResponseWriter, d time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(d.Seconds()))))
}

func errorHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Robots-Tag", "noindex")
}

const referencePlace = "reference-goes-here"

// renderBroken renders the page for our own failures at start, when nothing has failed yet.
func (s *server) renderBroken() ([]byte, error) {
	var body bytes.Buffer
	page := errorView{
		view: s.bareView("Something went wrong"),
		problem: problem{
			Status:  http.StatusInternalServerError,
			Heading: "Something went wrong on our side.",
			Detail:  "Please try again. What you did last may not have been saved.",
			Action:  back(),
		},
		Reference: referencePlace,
	}
	if err := s.Web.pages["error"].ExecuteTemplate(&body, "layout", inLayout(page)); err != nil {
		return nil, fmt.Errorf("routes: render error page: %w", err)
	}
	return body.Bytes(), nil
}

func (s *server) writeBroken(w http.ResponseWriter, r *http.Request) {
	errorHeaders(w.Header())
	page := bytes.ReplaceAll(s.broken, []byte(referencePlace), []byte(requestID(r.Context())))
	writePage(w, http.StatusInternalServerError, page)
}

// methodNotAllowed names the methods that a path has, as RFC 9110, section 15.5.6 requires.
func (s *server) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	routes := chi.RouteContext(r.Context()).Routes
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
			allowed = append(allowed, method)
		}
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	s.fail(w, r, errMethod)
}

// explain is the table from kinds of errors to what people read. Nothing of an error's text gets onto a page.
func (s *server) explain(r *http.Request, err error) problem {
	if call, ok := errors.AsType[*callError](err); ok {
		return explainCallLimit(call)
	}
	if limit, ok := errors.AsType[*auth.LimitError](err); ok {
		return problem{Status: http.StatusTooManyRequests, Changed: nothingChanged, Action: back(),
			Heading:    "Too many attempts.",
			Detail:     "You can try again " + in(limit.RetryAfter) + ".",
			retryAfter: limit.RetryAfter}
	}
	if at, ok := errors.AsType[*providerError](err); ok {
		if p, ok := s.explainProvider(r, at.provider, err); ok {
			return p
		}
	}
	if p, ok := explainDownload(err); ok {
		return p
	}
	switch {
	case errors.Is(err, errNoPage), errors.Is(err, auth.ErrNotFound), errors.Is(err, connection.ErrNotFound):
		return problem{Status: http.StatusNotFound, Heading: "There is nothing here.", Action: back(),
			Detail: "The address may be mistyped, or what was here is gone."}
	case errors.Is(err, errMethod):
		return problem{Status: http.StatusMethodNotAllowed, Changed: nothingChanged, Action: back(),
			Heading: "This page can’t be opened directly.",
			Detail:  "Please start again from one of our pages."}
	case errors.Is(err, errCrossSite):
		return problem{Status: http.StatusForbidden, Changed: nothingChanged, Action: back(),
			Heading: "Request blocked: it came from another site.",
			Detail:  "If this was you, please use the button on our page."}
	case errors.Is(err, errOtherHost):
		return problem{Status: http.StatusMisdirectedRequest, Changed: nothingChanged,
			Heading: "Cairn is not at this address.",
			Detail: "While the sandbox simulates the providers, " +
				"open Cairn at the address that it shows when it starts."}
	case errors.Is(err, errTooLarge):
		return problem{Status: http.StatusRequestEntityTooLarge, Changed: nothingChanged, Action: back(),
			Heading: "This form is too large.",
			Detail:  "It is larger than any form on this site."}
	case errors.Is(err, errAddress):
		return problem{Status: http.StatusBadRequest, Changed: nothingChanged, Action: back(),
			Heading: "This address could not be read.",
			Detail:  "It is damaged, or has the same parameter twice. Please start again from one of our pages."}
	case errors.Is(err, errFraming):
		return problem{Status: http.StatusBadRequest, Changed: nothingChanged, Action: back(),
			Heading: "This request could not be read.",
			Detail:  "It gives its length in two ways."}
	case errors.Is(err, errMediaType):
		return problem{Status: http.StatusUnsupportedMediaType, Changed: nothingChanged, Action: back(),
			Heading: "This was not sent as a form.",
			Detail:  "Please use the form on our page."}
	case errors.Is(err, errForm):
		return problem{Status: http.StatusBadRequest, Changed: nothingChanged, Action: back(),
			Heading: "This form could not be read.",
			Detail:  "Please go back and send it again."}
	case errors.Is(err, auth.ErrLastMethod):
		return problem{Status: http.StatusConflict, Changed: nothingChanged,
			Heading: "This is your only sign-in method.",
			Detail:  "Add another one first: a password, a passkey, or another provider.",
			Action:  &action{Label: "Back to your account", URL: "/account"}}
	case errors.Is(err, auth.ErrNeedsCode):
		return problem{Status: http.StatusForbidden, Changed: nothingChanged,
			Heading: "This account asks for a code.",
			Detail:  "A link can’t ask for one. Sign in with your password, a passkey or an account you connected.",
			Action:  &action{Label: "Sign in", URL: "/login"}}
	case errors.Is(err, auth.ErrDisabled):
		return problem{Status: http.StatusForbidden, Changed: nothingChanged, Action: back(),
			Heading: s.disabledInWords()}
	case errors.Is(err, auth.ErrBusy):
		return problem{Status: http.StatusServiceUnavailable, Changed: nothingChanged, Action: back(),
			Heading:    "Many people are signing in right now.",
			Detail:     "Please try again in a few seconds.",
			retryAfter: busyFor}
	case db.Unavailable(err):
		return problem{Status: http.StatusServiceUnavailable, Action: again(r),
			Heading:    "Cairn can’t reach its database.",
			Detail:     "If you’re signed in, you stay signed in. Please try again in a minute.",
			retryAfter: time.Minute}
	}
	return problem{Status: http.StatusInternalServerError, Heading: "Something went wrong on our side."}
}

// in says when a wait is over, in words.
func in(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("in %d seconds", max(2, int(math.Ceil(d.Seconds()))))
	case d < 90*time.Second:
		return "in a minute"
	case d < time.Hour:
		return fmt.Sprintf("in %d minutes", int(math.Ceil(d.Minutes())))
	}
	return "in an hour"
}
