package node

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"

	"cairn/internal/config"
)

// errSealed says that a value does not open: it is damaged, or no key is the one that sealed it.
var errSealed = errors.New("node: value does not open")

const (
	ivSize  = 16
	tagSize = 16
)

// keys open what the Node server sealed: AES-256-GCM with a nonce of 16 bytes, as hex(nonce):hex(tag):hex(ciphertext),
// without associated data.
type keys []cipher.AEAD

// newKeys makes a key from each text, as the Node server did: 64 hex digits are the key, any other text goes through
// scrypt. Empty ones and doubles are left out.
func newKeys(texts ...string) (keys, error) {
	var all keys
	made := map[string]bool{"": true}
	for _, text := range texts {
		if made[text] {
			continue
		}
		made[text] = true
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != 32 {
			key, err = scrypt.Key([]byte(text), []byte("salt"), 1<<14, 8, 1, 32)
		}
		if err != nil {
			return nil, fmt.Errorf("node: make a key: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("node: make a key: %w", err)
		}
		aead, err := cipher.NewGCMWithNonceSize(block, ivSize)
		if err != nil {
			return nil, fmt.Errorf("node: make a key: %w", err)
		}
		all = append(all, aead)
	}
	return all, nil
}

// seal seals as the Node server does, with the first key.
func (k keys) seal(plain []byte) string {
	var iv [ivSize]byte
	_, _ = rand.Read(iv[:]) // never fails
	sealed := k[0].Seal(nil, iv[:], plain, nil)
	text, tag := sealed[:len(sealed)-tagSize], sealed[len(sealed)-tagSize:]
	return hex.EncodeToString(iv[:]) + ":" + hex.EncodeToString(tag) + ":" + hex.EncodeToString(text)
}

// that returns the one key that opens all of these. Errors: errSealed.
func (k keys) that(opens []string) (keys, error) {
	for i := range k {
		one := k[i : i+1]
		if !slices.ContainsFunc(opens, func(text string) bool { _, err := one.open(text); return err != nil }) {
			return one, nil
		}
	}
	return nil, errSealed
}

// keyTexts returns the texts of keys that don't depend on a database's address.
func keyTexts(c config.Config) []string {
	texts := []string{c.Node.EncryptionKey}
	for _, key := range c.EncryptionKeys { // the Node server may have had one of them
		texts = append(texts, hex.EncodeToString(key))
	}
	return texts
}

// open returns what was sealed. Errors: errSealed.
func (k keys) open(text string) ([]byte, error) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return nil, errSealed
	}
	iv, err1 := hex.DecodeString(parts[0])
	tag, err2 := hex.DecodeString(parts[1])
	sealed, err3 := hex.DecodeString(parts[2])
	if errors.Join(err1, err2, err3) != nil || len(iv) != ivSize || len(tag) != tagSize {
		return nil, errSealed
	}
	for _, key := range k {
		if plain, err := key.Open(nil, iv, append(sealed[:len(sealed):len(sealed)], tag...), nil); err == nil {
			return plain, nil
		}
	}
	return nil, errSealed
}
