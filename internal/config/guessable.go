package config

import (
	"bytes"
	"encoding/hex"
	"slices"
	"strings"
)

// wellKnown are words that no secret may contain, however long it is.
var wellKnown = []string{
	"secret", "password", "changeme", "change-me", "change_me", "keyboard cat", "default", "example", "your-",
	"12345678", "cairn",
}

func (c *reader) sessionSecret() string {
	value := c.value("SESSION_SECRET")
	lower := strings.ToLower(value)
	isIn := func(word string) bool { return strings.Contains(lower, word) }
	switch {
	case value == "":
	case len(value) < 32:
		c.problem("SESSION_SECRET has fewer than 32 characters")
	case distinct([]byte(value)) < 10 || slices.ContainsFunc(wellKnown, isIn):
		c.problem("SESSION_SECRET can be guessed; make one with: openssl rand -base64 48")
	case strings.Contains(strings.ToLower(c.value("ENCRYPTION_KEY")), lower):
		c.problem("SESSION_SECRET is in ENCRYPTION_KEY, too; each needs its own value")
	}
	return value
}

func (c *reader) encryptionKeys() (keys [][]byte) {
	value := c.value("ENCRYPTION_KEY")
	if value == "" {
		return nil
	}
	for part := range strings.SplitSeq(value, ",") {
		key, err := hex.DecodeString(strings.TrimSpace(part))
		switch {
		case err != nil || len(key) != 32:
			c.problem("ENCRYPTION_KEY is not 64 hex digits, or several such keys separated by commas; " +
				"make one with: openssl rand -hex 32")
			return nil
		case guessable(key):
			c.problem("ENCRYPTION_KEY can be guessed; make one with: openssl rand -hex 32")
			return nil
		case slices.ContainsFunc(keys, func(other []byte) bool { return bytes.Equal(key, other) }):
			c.problem("ENCRYPTION_KEY has the same key twice")
			return nil
		}
		keys = append(keys, key)
	}
	return keys
}

// guessable reports whether a key is probably not random: a repetition, a sequence or text. It mistakes one random key
// in a billion: 32 random bytes have about 30 different values, and so have their differences.
func guessable(key []byte) bool {
	var steps []byte
	for i := range key[1:] {
		steps = append(steps, key[i+1]-key[i])
	}
	isText := !slices.ContainsFunc(key, func(b byte) bool { return b < ' ' || b > '~' })
	return isText || distinct(key) <= len(key)/2 || distinct(steps) <= len(steps)/2
}

func distinct(values []byte) int {
	var seen [256]bool
	n := 0
	for _, v := range values {
		if !seen[v] {
			seen[v], n = true, n+1
		}
	}
	return n
}
