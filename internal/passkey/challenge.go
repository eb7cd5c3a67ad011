package passkey

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"
)

// Purpose is what a challenge is for. An answer is good for that alone.
type Purpose string

// Purposes.
const (
	ToSignIn  Purpose = "sign in"
	ToConfirm Purpose = "confirm" // that the signed-in person is still there
	ToAdd     Purpose = "add"
)

// Asked is what a challenge is bound to.
type Asked struct {
	Purpose Purpose
	UserID  int64  // 0: anybody
	Browser string // the value of its cookie. Several tabs share it, and each has a challenge of its own
}

const (
	randomSize    = 16
	expirySize    = 8
	challengeSize = randomSize + expirySize + sha256.Size
)

// Challenge makes a challenge: a random value, the time until which it is good, and a signature over these and what it
// is bound to. So nothing is stored for a browser that is given one and goes away.
func (s *Site) Challenge(a Asked, expires time.Time) []byte {
	challenge := make([]byte, randomSize, challengeSize)
	_, _ = rand.Read(challenge) // never fails
	challenge = binary.BigEndian.AppendUint64(challenge, uint64(expires.Unix()))
	return append(challenge, s.sign(challenge, a)...)
}

// expiry returns when one of our challenges expires. Errors: ErrChallenge.
func (s *Site) expiry(challenge []byte, a Asked) (time.Time, error) {
	if len(challenge) != challengeSize || a.Browser == "" {
		return time.Time{}, ErrChallenge
	}
	signed, signature := challenge[:randomSize+expirySize], challenge[randomSize+expirySize:]
	if !hmac.Equal(signature, s.sign(signed, a)) {
		return time.Time{}, ErrChallenge
	}
	return time.Unix(int64(binary.BigEndian.Uint64(signed[randomSize:])), 0), nil
}

func (s *Site) sign(challenge []byte, a Asked) []byte {
	mac := hmac.New(sha256.New, s.key)
	_, _ = mac.Write(challenge)
	_, _ = fmt.Fprintf(mac, "%q %d %q", a.Purpose, a.UserID, a.Browser)
	return mac.Sum(nil)
}

// Answered is the challenge of an answer. Its user has to take care that each is answered once, and in time.
type Answered struct {
	Hash    []byte // stands for the challenge
	Expires time.Time

	encoded string // as the answer has it
}

// answered reads the challenge of an answer, as the answer has it. Errors: ErrChallenge.
func (s *Site) answered(encoded string, a Asked) (Answered, error) {
	challenge, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return Answered{}, ErrChallenge
	}
	expires, err := s.expiry(challenge, a)
	sum := sha256.Sum256(challenge)
	return Answered{sum[:], expires, encoded}, err
}
