// Package seal encrypts small secrets, like providers' tokens, for the database.
//
// A sealed value is AES-256-GCM with a random nonce and names the key that made it:
//
//	version 1 byte (1) | key id 4 bytes | nonce 12 bytes | ciphertext and tag
//
// The key id is the beginning of SHA-256 over a label and the key, so it can be shown to an operator. The associated
// data is the row and column of the value, so a value that was copied into another row does not open.
//
// Rotation: put the new key first. The first key seals, unless SealWith chooses another. All keys open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
)

const (
	version   = 1
	keyIDSize = 4
	headSize  = 1 + keyIDSize
)

// ErrKey says that a value was sealed with a key that is not configured.
var ErrKey = errors.New("seal: the key of this value is not configured")

// ErrOpen says that a value is damaged or was sealed with other associated data.
var ErrOpen = errors.New("seal: value does not open")

// Sealer seals with one of its keys and opens with any. The zero value cannot be used; call New.
type Sealer struct {
	ids     []string               // newest first
	sealing atomic.Pointer[string] // the id of the key that seals
	keys    map[string]cipher.AEAD
}

// New returns a Sealer with one or more 32-byte keys, newest first.
func New(keys ...[]byte) (*Sealer, error) {
	if len(keys) == 0 {
		return nil, errors.New("seal: no key")
	}
	s := &Sealer{keys: make(map[string]cipher.AEAD, len(keys))}
	for _, key := range keys {
		if len(key) != 32 {
			return nil, errors.New("seal: a key has 32 bytes")
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("seal: make cipher: %w", err)
		}
		// The standard library draws the nonce itself and puts it in front of the ciphertext.
		id := keyID(key)
		if s.keys[id], err = cipher.NewGCMWithRandomNonce(block); err != nil {
			return nil, fmt.Errorf("seal: make cipher: %w", err)
		}
		if !slices.Contains(s.ids, id) {
			s.ids = append(s.ids, id)
		}
	}
	s.sealing.Store(&s.ids[0])
	return s, nil
}

// Seal encrypts plaintext. The associated data says where the value is stored, for example
// "cairn.connections/sealed_tokens/7/strava/12".
func (s *Sealer) Seal(plaintext []byte, associated string) []byte {
	id := *s.sealing.Load()
	head := append([]byte{version}, id...)
	return s.keys[id].Seal(head, nil, plaintext, []byte(associated))
}

// Open decrypts a value that was sealed with the same associated data. Errors: ErrKey, ErrOpen.
func (s *Sealer) Open(sealed []byte, associated string) ([]byte, error) {
	if len(sealed) < headSize || sealed[0] != version {
		return nil, ErrOpen
	}
	id := string(sealed[1:headSize])
	aead, ok := s.keys[id]
	if !ok {
		return nil, fmt.Errorf("%w: key id %s", ErrKey, hex.EncodeToString([]byte(id)))
	}
	plaintext, err := aead.Open(nil, nil, sealed[headSize:], []byte(associated))
	if err != nil {
		return nil, ErrOpen
	}
	return plaintext, nil
}

// KeyIDs returns the ids of all keys, in hex, the newest first.
func (s *Sealer) KeyIDs() (ids []string) {
	for _, id := range s.ids {
		ids = append(ids, hex.EncodeToString([]byte(id)))
	}
	return ids
}

// SealWith makes the key with this id, in hex, the one that seals. An id that is not among KeyIDs is ignored.
func (s *Sealer) SealWith(id string) {
	if i := slices.Index(s.KeyIDs(), id); i >= 0 {
		s.sealing.Store(&s.ids[i])
	}
}

func keyID(key []byte) string {
	sum := sha256.Sum256(append([]byte("cairn key id\x00"), key...))
	return string(sum[:keyIDSize])
}
