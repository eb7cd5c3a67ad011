package passkey

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"
)

// AddOptions are the options, in JSON, with which a browser makes a passkey. An authenticator that has one of the
// owner's already makes no other.
func (s *Site) AddOptions(a Asked, expires time.Time, owner Owner, has []Passkey) ([]byte, error) {
	challenge := func(o *protocol.PublicKeyCredentialCreationOptions) error {
		o.Challenge = s.Challenge(a, expires)
		return nil
	}
	options, _, err := s.lib.BeginRegistration(user{Owner: owner}, challenge, webauthn.WithExclusions(descriptors(has)))
	if err != nil {
		return nil, fmt.Errorf("passkey: make options: %w", err)
	}
	return json.Marshal(options.Response)
}

// CheckNew checks the answer of a browser that made a passkey. Errors: ErrChallenge, ErrRefused.
func (s *Site) CheckNew(answer string, a Asked, owner Owner) (Passkey, Answered, error) {
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return Passkey{}, Answered{}, refused(err)
	}
	to, err := s.answered(parsed.Response.CollectedClientData.Challenge, a)
	if err != nil {
		return Passkey{}, Answered{}, err
	}
	made, err := s.lib.CreateCredential(user{Owner: owner}, webauthn.SessionData{
		Challenge: to.encoded, UserID: owner.Handle, UserVerification: protocol.VerificationRequired,
		CredParams: webauthn.CredentialParametersDefault(),
	}, parsed)
	if err != nil {
		return Passkey{}, Answered{}, refused(err)
	}
	k := Passkey{
		ID: made.ID, PublicKey: made.PublicKey, Host: s.Host, AAGUID: made.Authenticator.AAGUID,
		Counter:        int64(made.Authenticator.SignCount),
		BackupEligible: made.Flags.BackupEligible, BackedUp: made.Flags.BackupState, Transports: []string{},
	}
	for _, transport := range made.Transport {
		k.Transports = append(k.Transports, string(transport))
	}
	return k, to, nil
}
