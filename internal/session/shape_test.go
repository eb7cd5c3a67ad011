package session

import (
	"encoding/base64"
	"testing"
)

func FuzzCookieShape(f *testing.F) {
	for _, seed := range []string{
		"",
		"a",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB",
		"\x00",
		"00000000000000000000\n\n\n\n\n\n\n\n000000000000000",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !validToken(value) {
			return
		}
		// What is let through to the database is exactly what scs makes: 32 bytes, written in one way.
		raw, err := base64.RawURLEncoding.DecodeString(value)
		if err != nil || len(raw) != 32 || base64.RawURLEncoding.EncodeToString(raw) != value {
			t.Errorf("%q is let through", value)
		}
	})
}
