package routes

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"
	"unicode"

	"github.com/go-chi/chi/v5"

	"cairn/internal/connection"
	"cairn/internal/session"
)

const avatarPath = "/avatar"

// avatar serves the person's picture at a provider, or the first that there is, or else their initials. Every page
// shows it, so browsers may cache it for ten minutes, until the session's cookie changes.
func (s *server) avatar(w http.ResponseWriter, r *http.Request) error {
	provider := ""
	if key := chi.URLParam(r, "provider"); key != "" {
		p, err := s.provider(key)
		if err != nil {
			return err
		}
		provider = p.Key
	}
	current, _ := session.Current(r.Context())
	picture, err := s.Connections.Picture(r.Context(), current.UserID, provider)
	if errors.Is(err, connection.ErrNotFound) {
		picture, err = connection.Picture{Type: "image/svg+xml", Body: initialsPicture(current.Name)}, nil
	}
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", picture.Type)
	w.Header().Set("Content-Length", strconv.Itoa(len(picture.Body)))
	w.Header().Set("Cache-Control", "private, max-age=600")
	w.Header().Set("Vary", "Cookie")
	_, _ = w.Write(picture.Body) // an error means that the browser has gone
	return nil
}

func initialsPicture(name string) []byte {
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">`+
		`<path fill="#1b5e57" d="M0 0h72v72H0z"/>`+
		`<text x="36" y="37" fill="#fff" font-family="Figtree,system-ui,sans-serif" font-size="28" font-weight="600" `+
		`text-anchor="middle" dominant-baseline="central">%s</text></svg>`, html.EscapeString(initials(name)))
}

// initials are the first letters of the first and the last word of a name.
func initials(name string) string {
	words := strings.FieldsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r)
	})
	if len(words) == 0 {
		return "?"
	}
	letters := string([]rune(words[0])[:1])
	if len(words) > 1 {
		letters += string([]rune(words[len(words)-1])[:1])
	}
	return strings.ToUpper(letters)
}
