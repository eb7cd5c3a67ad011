package routes

import (
	"net/http"
	"strings"

	"cairn/internal/session"
)

// notice is the result of what a person did last.
type notice struct{ Kind, Text string }

// Kinds of notices.
const (
	good = "good"
	info = "info"
)

// tell keeps a notice for the next page of this session.
func (s *server) tell(r *http.Request, kind, text string) {
	s.Sessions.Flash(r.Context(), kind+"\n"+text)
}

// takeNotice returns the notice for this page. Visitors have no session to keep one in, so theirs stand in the address, by
// code: nobody can make our pages say something else.
func (s *server) takeNotice(r *http.Request) *notice {
	if _, ok := session.Current(r.Context()); ok {
		if kind, text, ok := strings.Cut(s.Sessions.TakeFlash(r.Context()), "\n"); ok {
			return &notice{Kind: kind, Text: text}
		}
		return nil
	}
	code := r.URL.Query().Get("notice")
	if code == "signed-out" {
		return &notice{Kind: good, Text: "You are signed out."}
	}
	if ending, ok := s.Sessions.Ended(r.Context()); ok && endingInWords(ending) != "" {
		return &notice{Kind: info, Text: endingInWords(ending)}
	}
	switch code {
	case "sign-in":
		return &notice{Kind: info, Text: "Please sign in to go on."}
	default:
		for _, p := range s.Providers {
			if code == "declined-"+p.Key {
				return &notice{Kind: info, Text: "You declined at " + p.Name + ". Nothing was changed."}
			}
		}
	}
	return nil
}
