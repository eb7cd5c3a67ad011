package config

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// secrets are what development generates once, so that sessions and connections outlive a restart there too.
type secrets struct {
	SessionSecret string `json:"session_secret"`
	EncryptionKey string `json:"encryption_key"`
}

// WithSecrets reads secrets that are not configured from a file in the data directory, and makes that file if it is
// missing. In production all secrets are configured.
func (c Config) WithSecrets() (Config, error) {
	if c.SessionSecret != "" && c.EncryptionKeys != nil {
		return c, nil
	}
	file := c.secretsFile()
	if err := makeSecrets(file); err != nil {
		return Config{}, fmt.Errorf("make %s: %w", file, err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, err
	}
	var made secrets
	if err := json.Unmarshal(text, &made); err != nil {
		return Config{}, fmt.Errorf("%s can't be read: remove it to get new secrets, "+
			"but then connections sealed with the old ones are lost", file)
	}
	if c.SessionSecret == "" {
		c.SessionSecret = made.SessionSecret
	}
	if c.EncryptionKeys == nil {
		key, err := hex.DecodeString(made.EncryptionKey)
		if err != nil || len(key) != 32 {
			return Config{}, fmt.Errorf("%s: encryption_key is not 64 hex digits", file)
		}
		c.EncryptionKeys = [][]byte{key}
	}
	return c, nil
}

func (c Config) secretsFile() string { return filepath.Join(c.DataDir, "secrets.json") }

// HasSecretsFile reports whether development has made its secrets.
func (c Config) HasSecretsFile() bool { return exists(c.secretsFile()) }

// makeSecrets writes the file if it is missing. The complete file is linked to its name, so two servers that start at
// once read the same secrets.
func makeSecrets(file string) error {
	if _, err := os.Stat(file); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails since Go 1.24
	made := secrets{SessionSecret: rand.Text() + rand.Text(), EncryptionKey: hex.EncodeToString(key)}
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(file), ".secrets-*") // only its owner can read it
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.Write(append(text, '\n'))
	if err := errors.Join(err, draft.Sync(), draft.Close()); err != nil {
		return err
	}
	if err := os.Link(draft.Name(), file); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// Derive makes a secret for a purpose from SESSION_SECRET, the same on all instances and after restarts. Development
// and production get different ones, even with the same SESSION_SECRET.
func (c Config) Derive(purpose string) string {
	if !c.Production {
		purpose = "development: " + purpose
	}
	mac := hmac.New(sha256.New, []byte(c.SessionSecret))
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// DeriveKey is Derive for a key of 32 bytes, by HKDF.
func (c Config) DeriveKey(purpose string) []byte {
	if !c.Production {
		purpose = "development: " + purpose
	}
	key, err := hkdf.Key(sha256.New, []byte(c.SessionSecret), nil, purpose, 32)
	if err != nil {
		panic("config: HKDF can't make 32 bytes: " + err.Error())
	}
	return key
}

// WebhookKey returns the key in the webhook addresses that we give to providers. It proves that a provider calls.
func (c Config) WebhookKey() string { return c.Derive("webhook key") }
