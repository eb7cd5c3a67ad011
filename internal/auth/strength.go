package auth

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go/frequency"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"github.com/ccojocar/zxcvbn-go/scoring"
	"golang.org/x/text/unicode/norm"
)

// A password has to be long enough and not among the first guesses. There are no composition rules. Lengths are in
// characters.
const (
	minPassword = 12
	maxPassword = 256
	// estimatedLength is the part of a password that is estimated: the time grows with the square of the length, and a
	// beginning that is hard to guess is enough.
	estimatedLength = 40
)

var errGuessable = &FieldError{Field: "password",
	Message: "This password is too common. Please choose another; a few unrelated words work well."}

// checkLength refuses a password that is too short, too long or not text. Unlike guessable it takes no time.
func checkLength(password string) error {
	refuse := func(message string) error { return &FieldError{Field: "password", Message: message} }
	switch n := utf8.RuneCountInString(norm.NFC.String(password)); {
	case !utf8.ValidString(password):
		return refuse("This password contains characters that can't be read. Please type it again.")
	case n < minPassword:
		return refuse(fmt.Sprintf("Please use at least %d characters. A few words work well.", minPassword))
	case n > maxPassword:
		return refuse(fmt.Sprintf("Please use at most %d characters.", maxPassword))
	}
	return nil
}

// guessable reports whether a password is among the first guesses: common passwords and their variations, the name of
// this product, and what others know about it and its owner. It takes a millisecond or two for any password.
func guessable(password string, about ...string) bool {
	words := []string{"cairn"}
	between := func(r rune) bool { return strings.ContainsRune("@. ", r) }
	for _, text := range about {
		words = append(words, strings.FieldsFunc(strings.ToLower(text), between)...)
	}
	runes := []rune(norm.NFC.String(password))
	start := string(runes[:min(len(runes), estimatedLength)])
	matches := matching.Omnimatch(start, words, matching.FilterL33tMatcher)
	for _, form := range plainForms(start) {
		matches = append(matches, matching.Omnimatch(form, words, notDictionary)...)
	}
	return scoring.MinimumEntropyMatchSequence(start, matches).Score < 2
}

// plainForms undoes "l33t" spelling, in which three characters can each be either of two letters. zxcvbn's own matcher
// is not used: it tries each letter separately, which makes thousands of forms of a password of 40 characters.
func plainForms(password string) (forms []string) {
	for i := range 8 {
		choose := func(bit int, one, other string) string {
			if i>>bit&1 == 0 {
				return one
			}
			return other
		}
		form := strings.NewReplacer(
			"4", "a", "@", "a", "8", "b", "(", "c", "{", "c", "[", "c", "<", "c",
			"3", "e", "6", "g", "9", "g", "!", "i", "0", "o", "$", "s", "5", "s",
			"+", "t", "%", "x", "2", "z",
			"1", choose(0, "i", "l"), "|", choose(1, "i", "l"), "7", choose(2, "t", "l"),
		).Replace(password)
		if form != password && !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	return forms
}

// notDictionary excludes the matchers that look for something other than words.
func notDictionary(m match.Matcher) bool {
	_, dictionary := frequency.Lists[m.ID]
	return !dictionary
}
