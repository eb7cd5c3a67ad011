// Package passkey is WebAuthn: it makes the options with which browsers ask authenticators, and checks the answers. It
// has no database, no clock, and speaks no HTTP. Package auth stores passkeys and signs in with them.
//
//	passkey.go    what a passkey is, and the site that it is for
//	challenge.go  challenges, which are signed: a row of one is stored when it was answered
//	add.go        making a passkey
//	use.go        signing in with one
//	signal.go     what password managers are told
//	name.go       the names of authenticators
//
// Passkeys are discoverable, so that people sign in without typing anything, and their authenticators verify the person
// each time, by a PIN or a finger. So a passkey proves two things at once: having the device, and being its owner.
package passkey

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

var (
	// ErrRefused says that an answer proves nothing. The text of the error around it says why, for the log.
	ErrRefused = errors.New("passkey: the answer is refused")
	// ErrChallenge says that an answer is not to a challenge that this browser was given for this purpose.
	ErrChallenge = errors.New("passkey: not a challenge of ours")
)

// Passkey is a passkey as it is stored.
type Passkey struct {
	ID             []byte // chosen by the authenticator
	PublicKey      []byte
	Host           string // that it is for
	AAGUID         []byte
	Transports     []string
	Counter        int64
	BackupEligible bool
	BackedUp       bool
}

// Owner is whose passkey it is.
type Owner struct {
	Handle []byte // by which authenticators know the person
	Name   string // by which people recognize the account in a list of passkeys
}

// Site is the site that passkeys are for. Make it with New.
type Site struct {
	Host string // passkeys of another host don't sign in

	lib *webauthn.WebAuthn
	key []byte
}

// New returns the site at an address; nil if it can't have passkeys, because its host is an IP address. Its challenges
// are signed with a key that is derived from the secret, which all instances share.
func New(address *url.URL, secret string) *Site {
	host := strings.ToLower(address.Hostname())
	lib, err := webauthn.New(&webauthn.Config{
		RPID: host, RPDisplayName: "Cairn", RPOrigins: []string{address.Scheme + "://" + address.Host},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
		// Password managers add outputs that nobody asked for. We read none.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte("challenges of passkeys"))
	return &Site{Host: host, lib: lib, key: mac.Sum(nil)}
}

// refused returns an ErrRefused that says why. The library keeps the reason apart from its errors' text.
func refused(err error) error {
	if detailed, ok := errors.AsType[*protocol.Error](err); ok {
		return fmt.Errorf("%w: %s (%s)", ErrRefused, detailed.Details, detailed.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrRefused, err)
}

// user is an Owner as the library wants it.
type user struct {
	Owner
	credentials []webauthn.Credential
}

func (u user) WebAuthnID() []byte                         { return u.Handle }
func (u user) WebAuthnName() string                       { return u.Name }
func (u user) WebAuthnDisplayName() string                { return u.Name }
func (u user) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

// credential is a Passkey as the library wants it.
func (k Passkey) credential() webauthn.Credential {
	return webauthn.Credential{
		ID: k.ID, PublicKey: k.PublicKey,
		Flags:         webauthn.CredentialFlags{BackupEligible: k.BackupEligible, BackupState: k.BackedUp},
		Authenticator: webauthn.Authenticator{AAGUID: k.AAGUID, SignCount: uint32(k.Counter)},
	}
}

// descriptors name passkeys in options.
func descriptors(all []Passkey) (named []protocol.CredentialDescriptor) {
	for _, k := range all {
		d := protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: k.ID}
		for _, transport := range k.Transports {
			d.Transport = append(d.Transport, protocol.AuthenticatorTransport(transport))
		}
		named = append(named, d)
	}
	return named
}
