// Package totp makes and checks the codes of authenticator apps (RFC 6238): six digits that change every 30 seconds,
// with SHA-1, which is what every app takes. It stores nothing.
//
//	totp.go  secrets, and the codes that they give
//	qr.go    the QR code with which an app takes a secret
package totp

import (
	"crypto/rand"
	"encoding/base32"
	"net/url"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

const (
	period     = 30 // seconds: a step
	secretSize = 20 // bytes, as RFC 4226 recommends
	// Digits is how many a code has.
	Digits = 6
)

// Secret is what an app and we share, in base32.
type Secret string

// New makes a secret.
func New() Secret {
	secret := make([]byte, secretSize)
	_, _ = rand.Read(secret) // never fails
	return Secret(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret))
}

// Valid reports whether s is a secret that New could have made.
func (s Secret) Valid() bool {
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(string(s))
	return err == nil && len(raw) == secretSize
}

// Spelled is the secret in groups of four, for people who type it.
func (s Secret) Spelled() string {
	var groups []string
	for rest := string(s); rest != ""; {
		n := min(4, len(rest))
		groups, rest = append(groups, rest[:n]), rest[n:]
	}
	return strings.Join(groups, " ")
}

// URI is the address from which apps take the secret, in a QR code or a link. issuer names the site, account the person
// there.
func (s Secret) URI(issuer, account string) string {
	u := url.URL{Scheme: "otpauth", Host: "totp", Path: "/" + issuer + ":" + account}
	// Some apps show a plus sign as it is.
	u.RawQuery = strings.ReplaceAll(url.Values{"secret": {string(s)}, "issuer": {issuer}}.Encode(), "+", "%20")
	return u.String()
}

// Step returns the number of the step, 30 seconds long, that a code is for. It accepts the present step, the one before
// and the one after, because clocks differ. ok is false if the code is wrong.
func (s Secret) Step(code string, now time.Time) (step int64, ok bool) {
	if len(code) != Digits {
		return 0, false
	}
	present := now.Unix() / period
	for _, candidate := range []int64{present, present - 1, present + 1} {
		match, err := hotp.ValidateCustom(code, uint64(candidate), string(s),
			hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err == nil && match {
			return candidate, true
		}
	}
	return 0, false
}
