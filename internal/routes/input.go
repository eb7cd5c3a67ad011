package routes

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"cairn/internal/text"
)

// Kinds of requests that can't be read.
var (
	errAddress   = errors.New("routes: address does not parse, or names something twice")
	errForm      = errors.New("routes: form does not parse, or names something twice")
	errText      = fmt.Errorf("%w: invalid text", errForm)
	errMediaType = errors.New("routes: the body is not a form")
	errFraming   = errors.New("routes: a body with two lengths")
	errTooLarge  = errors.New("routes: body too large")
)

// checked reads what a browser sends, and refuses what is ambiguous: a handler finds each name in URL.Query() and
// PostForm once, and all text there and in the path can be stored. A request is read before its session is looked up,
// so that a slow body can't make use of a session that has ended meanwhile. A callback that is refused here is not the
// provider's answer (RFC 6749, section 3.1): its attempt is not consumed, and its code is not sent.
func (s *server) checked(sessions func(http.Handler) http.Handler) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		next = sessions(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := readRequest(r); err != nil {
				sessions(s.handle(s.refused(err))).ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// refused answers a request that can't be read. At sign-in, invalid text is one more wrong e-mail or password.
func (s *server) refused(err error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if errors.Is(err, errText) && r.URL.Path == "/login" {
			return s.refuseCredentials(w, r)
		}
		return err
	}
}

func readRequest(r *http.Request) error {
	if err := readAddress(r.URL); err != nil {
		return err
	}
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil // a body would mean nothing
	}
	return readForm(r)
}

func readAddress(u *url.URL) error {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || doubled(query) || !valid(query) || !text.Valid(u.Path) {
		return errAddress
	}
	return nil
}

// readForm reads the body into r.PostForm. Any other body than a form is refused, since no handler would read it.
func readForm(r *http.Request) error {
	if !isForm(r) {
		if n, _ := io.CopyN(io.Discard, r.Body, 1); n > 0 {
			return errMediaType
		}
	}
	if err := r.ParseForm(); err != nil {
		return unread(err, errForm)
	}
	switch {
	case doubled(r.PostForm):
		return errForm
	case !valid(r.PostForm):
		return errText
	}
	return nil
}

func isForm(r *http.Request) bool {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return kind == "application/x-www-form-urlencoded"
}

// unread returns errTooLarge if err says that a body is too large, and the error otherwise if not.
func unread(err, otherwise error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return errTooLarge
	}
	return otherwise
}

func doubled(values url.Values) bool {
	for _, given := range values {
		if len(given) > 1 {
			return true
		}
	}
	return false
}

func valid(values url.Values) bool {
	for name, given := range values {
		for _, value := range given {
			if !text.Valid(name) || !text.Valid(value) {
				return false
			}
		}
	}
	return true
}
