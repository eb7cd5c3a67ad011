package config

import (
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

// secrets are what development makes for itself, once, so that sessions and connections outlive a restart there too.
type secrets struct {
	SessionSecret string `json:"session_secret"`
	EncryptionKey string `json:"encryption_key"`
}

// WithSecrets fills in the secrets that are not configured from a file in the data directory, which is made if it is
// missing. Only development comes here with something missing.
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
		return Config{}, fmt.Errorf("%s can't be read: remove it to have new secrets; "+
			"connections sealed with the old ones are lost then", file)
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

// HasSecretsFile tells whether development has made its secrets.
func (c Config) HasSecretsFile() bool { return exists(c.secretsFile()) }

// makeSecrets writes the file unless it is there. It appears under its name when it is complete, so of two servers that
// start at once one writes and both read the same.
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
	draft, err := os.CreateTemp(filepath.Dir(file), ".secrets-*") // readable by its owner only
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

// Derive makes a secret for a purpose, so that instances and restarts agree on it. The secrets of development differ
// from those of production, even with the same SESSION_SECRET.
func (c Config) Derive(purpose string) string {
	if !c.Production {
		purpose = "development: " + purpose
	}
	mac := hmac.New(sha256.New, []byte(c.SessionSecret))
	mac.Write([]byte(purpose))
	return hex.EncodeToString(mac.Sum(nil)[:20])
}

// WebhookKey is in the addresses that providers are given, and so proves who calls them.
func (c Config) WebhookKey() string { return c.Derive("webhook key") }
