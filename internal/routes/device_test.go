package routes_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"net/http"
	"strings"
	"testing"

	"github.com/descope/virtualwebauthn"
)

// device is an authenticator with one passkey.
type device struct {
	party virtualwebauthn.RelyingParty
	auth  virtualwebauthn.Authenticator
	key   virtualwebauthn.Credential
}

// newDevice returns an authenticator that says it is asked by a site.
func newDevice(s site) *device {
	return &device{
		party: virtualwebauthn.RelyingParty{Name: "Cairn", ID: "localhost", Origin: s.url},
		auth:  virtualwebauthn.NewAuthenticator(), key: newKey(),
	}
}

// newKey leaves out keys whose coordinates begin with a zero, one in 128: the library encodes them too short.
func newKey() virtualwebauthn.Credential {
	for {
		key := virtualwebauthn.NewCredential(virtualwebauthn.KeyTypeEC2)
		parsed, err := x509.ParsePKCS8PrivateKey(key.Key.Data)
		if err != nil {
			panic(err)
		}
		point, err := parsed.(*ecdsa.PrivateKey).PublicKey.Bytes() // 4, X, Y
		if err != nil {
			panic(err)
		}
		if point[1] != 0 && point[33] != 0 {
			return key
		}
	}
}

// options asks for options, and returns them.
func (b browser) options(path string) string {
	b.t.Helper()
	a := b.post(path + "/options")
	if a.status != http.StatusOK || !strings.HasPrefix(a.header.Get("Content-Type"), "application/json") {
		b.t.Fatalf("the options of %s were answered %d %q", path, a.status, a.Find("h1").Text())
	}
	return a.body
}

// makes answers options that make a passkey.
func (d *device) makes(t testing.TB, options string) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAttestationOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	d.auth.Options.UserHandle = []byte(parsed.UserID)
	return virtualwebauthn.CreateAttestationResponse(d.party, d.auth, d.key, *parsed)
}

// answers answers options that ask for a passkey.
func (d *device) answers(t testing.TB, options string) string {
	t.Helper()
	parsed, err := virtualwebauthn.ParseAssertionOptions(options)
	if err != nil {
		t.Fatal(err)
	}
	d.key.Counter++
	return virtualwebauthn.CreateAssertionResponse(d.party, d.auth, d.key, *parsed)
}

const addPasskey = "/account/passkeys/new"

// addsPasskey adds the device's passkey to the account. With the first one, recovery codes come.
func (b browser) addsPasskey(d *device) {
	b.t.Helper()
	a := b.post(addPasskey, "answer", d.makes(b.t, b.options(addPasskey)))
	if a.status == http.StatusOK {
		a.recoveryCodes()
		return
	}
	a.to("/account#methods")
}

// entersWith signs in with a device.
func (b browser) entersWith(d *device) answer {
	b.t.Helper()
	return b.post("/login/passkey", "answer", d.answers(b.t, b.options("/login/passkey")), "next", "/account")
}
