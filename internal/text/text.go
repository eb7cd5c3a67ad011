// Package text makes text from outside fit to be kept and shown: what browsers and providers send.
//
//	text.go  which text can be kept at all, and cleaning what is only shown
//	json.go  ids in JSON, and JSON that can be read in one way only
//
// Text that means something (an e-mail address, a password, a code) is refused with Valid where it
// comes in, never changed.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Valid tells whether PostgreSQL can keep s: it is UTF-8, and there is no NUL in it.
func Valid(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Clean makes one line of text that a page can show: the parts with spaces between them, at most
// length characters, without control characters and without what turns the text around it. It is
// for what is shown and decides nothing: people's names and permissions at providers (oauth),
// titles, places and devices (latest), the names of browsers (session).
func Clean(length int, parts ...string) string {
	visible := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return -1
		}
		return r
	}, strings.Join(parts, " "))
	runes := []rune(strings.Join(strings.Fields(visible), " "))
	return strings.TrimSpace(string(runes[:min(len(runes), length)]))
}
