package passkey

import (
	"encoding/json"
	"fmt"

	"github.com/go-webauthn/webauthn/protocol"
)

// Password managers keep passkeys, and don't know which ones a site still accepts. Some browsers tell them:
// https://www.w3.org/TR/webauthn-3/#sctn-signal-methods.

// Signal is, in JSON, what a browser tells password managers about an owner's passkeys: which are accepted, and what
// the account is called now.
func (s *Site) Signal(owner Owner, accepted []Passkey) (string, error) {
	ids := []protocol.URLEncodedBase64{}
	for _, k := range accepted {
		ids = append(ids, k.ID)
	}
	return signal(struct {
		Host     string                      `json:"rpId"`
		Handle   protocol.URLEncodedBase64   `json:"userId"`
		Accepted []protocol.URLEncodedBase64 `json:"allAcceptedCredentialIds"`
		Name     string                      `json:"name"`
		Display  string                      `json:"displayName"`
	}{s.Host, owner.Handle, ids, owner.Name, owner.Name})
}

// SignalUnknown is, in JSON, what a browser tells password managers about a passkey that no account has.
func (s *Site) SignalUnknown(id []byte) (string, error) {
	return signal(struct {
		Host string                    `json:"rpId"`
		ID   protocol.URLEncodedBase64 `json:"credentialId"`
	}{s.Host, id})
}

func signal(told any) (string, error) {
	encoded, err := json.Marshal(told)
	if err != nil {
		return "", fmt.Errorf("passkey: encode a signal: %w", err)
	}
	return string(encoded), nil
}
