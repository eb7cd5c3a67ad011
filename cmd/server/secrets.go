package main

import (
	"crypto/rand"
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

// withSecrets fills in the secrets that are not configured from a file in the data directory, which is made if it is
// missing. Only development comes here with something missing.
func withSecrets(config Config) (Config, error) {
	if config.SessionSecret != "" && config.EncryptionKeys != nil {
		return config, nil
	}
	file := filepath.Join(config.DataDir, "secrets.json")
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
	if config.SessionSecret == "" {
		config.SessionSecret = made.SessionSecret
	}
	if config.EncryptionKeys == nil {
		key, err := hex.DecodeString(made.EncryptionKey)
		if err != nil || len(key) != 32 {
			return Config{}, fmt.Errorf("%s: encryption_key is not 64 hex digits", file)
		}
		config.EncryptionKeys = [][]byte{key}
	}
	return config, nil
}

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
