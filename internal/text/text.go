// Package text checks and cleans text from browsers and providers.
//
//	text.go  which text can be stored, and cleaning text for display
//	json.go  ids in JSON, and JSON that can be read in one way only
//
// Text with a meaning (an e-mail address, a password, a code) is refused if it is not Valid, and never changed.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Valid reports whether PostgreSQL can store s: it is UTF-8 without NUL.
func Valid(s string) bool { return utf8.ValidString(s) && !strings.ContainsRune(s, 0) }

// Clean returns one line of text for display: the parts with spaces between them, at most length characters, without
// control characters and without characters that change the direction of text around it. It is for text without a
// meaning to Cairn: names and permissions at providers, titles, places, devices, browsers.
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
