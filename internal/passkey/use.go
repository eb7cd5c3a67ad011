package passkey

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// UseOptions are the options, in JSON, with which a browser asks for a passkey: for one of these, or for any of this
// site if there are none.
func (s *Site) UseOptions(a Asked, expires time.Time, oneOf []Passkey) ([]byte, error) {
	options, _, err := s.lib.BeginDiscoverableLogin(
		webauthn.WithChallenge(s.Challenge(a, expires)), webauthn.WithAllowedCredentials(descriptors(oneOf)))
	if err != nil {
		return nil, fmt.Errorf("passkey: make options: %w", err)
	}
	return json.Marshal(options.Response)
}

// Answer is what a browser says with a passkey. Nothing of it is proven until Check.
type Answer struct {
	ID       []byte // of the passkey
	Answered Answered

	parsed *protocol.ParsedCredentialAssertionData
}

// Read reads an answer. Errors: ErrChallenge, ErrRefused.
func (s *Site) Read(answer string, a Asked) (Answer, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return Answer{}, refused(err)
	}
	to, err := s.answered(parsed.Response.CollectedClientData.Challenge, a)
	if err == nil && a.UserID == 0 && len(parsed.Response.UserHandle) == 0 {
		err = fmt.Errorf("%w: it names nobody", ErrRefused)
	}
	return Answer{ID: parsed.RawID, Answered: to, parsed: parsed}, err
}

// Used is what an answer says of its passkey.
type Used struct {
	Counter  int64
	BackedUp bool
}

// Check checks an answer with the passkey that it names and the passkey's owner. Errors: ErrRefused.
func (s *Site) Check(x Answer, k Passkey, owner Owner) (Used, error) {
	// The counter is compared when the use is stored, under the lock of the passkey's row.
	_, err := s.lib.ValidateLogin(
		user{Owner: owner, credentials: []webauthn.Credential{k.credential()}},
		webauthn.SessionData{Challenge: x.Answered.encoded, UserID: owner.Handle,
			UserVerification: protocol.VerificationRequired},
		x.parsed)
	if err != nil {
		return Used{}, refused(err)
	}
	data := x.parsed.Response.AuthenticatorData
	return Used{Counter: int64(data.Counter), BackedUp: data.Flags.HasBackupState()}, nil
}
