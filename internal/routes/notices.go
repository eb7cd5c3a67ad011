package routes

import (
	"net/http"
	"strings"

	"cairn/internal/session"
)

// notice is the result of the person's last action. It is shown in the section or card that it is about.
type notice struct {
	Kind  string
	Place string // such as "card-strava"; "": above the page
	Text  string
	Link  Link // without a label: none
}

// Link is a link on a page, or none without a label.
type Link struct{ Label, URL string }

// Kinds of notices.
const (
	good = "good"
	info = "info"
	bad  = "bad"
)

// Places of notices, beside those of cards.
const (
	atProfile  = "profile"
	atMethods  = "methods"
	atPassword = "password"
	atSessions = "sessions"
	atTwoStep  = "two-step"
	atEmail    = "email"
	atData     = "data"

	atMessages    = "messages"
	atPreferences = "preferences"
)

func atCard(provider string) string { return "card-" + provider }

// flash keeps a notice for the next page of this session, which shows it at the top.
func (s *server) flash(r *http.Request, kind, text string) {
	s.flashNotice(r, notice{Kind: kind, Text: text})
}

func (s *server) flashAt(r *http.Request, place, kind, text string) {
	s.flashNotice(r, notice{Kind: kind, Place: place, Text: text})
}

// flashNotice keeps a notice for the next page of this session: a line with its kind and its place, a line with its
// text, and two more if it has a link.
func (s *server) flashNotice(r *http.Request, n notice) {
	lines := []string{strings.TrimSpace(n.Kind + " " + n.Place), n.Text}
	if n.Link.Label != "" {
		lines = append(lines, n.Link.Label, n.Link.URL)
	}
	s.Sessions.Flash(r.Context(), strings.Join(lines, "\n"))
}

func parseNotice(kept string) *notice {
	lines := strings.Split(kept, "\n")
	if len(lines) < 2 {
		return nil
	}
	n := &notice{Text: lines[1]}
	n.Kind, n.Place, _ = strings.Cut(lines[0], " ")
	if len(lines) == 4 {
		n.Link = Link{Label: lines[2], URL: lines[3]}
	}
	return n
}

// takeNotice returns the notice for this page. Visitors have no session to keep one in, so theirs are in the address,
// as fixed codes: a link can't make our pages say anything else. Why they are signed out is shown once, on the sign-in
// page only.
func (s *server) takeNotice(r *http.Request) *notice {
	if _, ok := session.Current(r.Context()); ok {
		return parseNotice(s.Sessions.PopFlash(r.Context()))
	}
	code := r.URL.Query().Get("notice")
	if code == "signed-out" {
		return &notice{Kind: good, Text: "You are signed out."}
	}
	if n, ok := mailedNotices[code]; ok {
		return &n
	}
	if r.URL.Path == "/login" {
		if ending, ok := s.Sessions.Ended(r.Context()); ok && s.endingInWords(ending) != "" {
			return &notice{Kind: info, Text: s.endingInWords(ending)}
		}
	}
	switch code {
	case "code-late":
		return &notice{Kind: info, Text: codeTooLate}
	case "sign-in":
		return &notice{Kind: info, Text: "Please sign in to continue."}
	default:
		for _, p := range s.Providers {
			if code == "declined-"+p.Key {
				return &notice{Kind: info, Text: "You declined at " + p.Name + ". Nothing was changed."}
			}
		}
	}
	if n := s.noticeOfPart(code); n != nil {
		return n
	}
	return s.failureInAddress(r)
}

// claim returns the notice if it belongs to a place on this page, and removes it from the top of the page.
func (v *view) claim(place string) *notice {
	if v.Notice == nil || v.Notice.Place != place {
		return nil
	}
	n := v.Notice
	v.Notice = nil
	return n
}
