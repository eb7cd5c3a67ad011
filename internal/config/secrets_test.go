package config

import (
	"os"
	"path/filepath"
	"sync"
	"testing"

	"cairn/internal/testkit"
)

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	dir := testkit.DataDir(t)
	var made [8]Config
	var wg sync.WaitGroup
	for i := range made {
		wg.Go(func() {
			var err error
			if made[i], err = (Config{DataDir: dir}).WithSecrets(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, config := range made {
		if config.SessionSecret != made[0].SessionSecret || len(config.SessionSecret) < 32 ||
			string(config.EncryptionKeys[0]) != string(made[0].EncryptionKeys[0]) {
			t.Fatal("servers that start at once have different secrets")
		}
	}
	info, err := os.Stat(filepath.Join(dir, "secrets.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, error %v; want mode 0600", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "secrets.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (Config{DataDir: dir}).WithSecrets(); err == nil {
		t.Error("a damaged file was accepted")
	}
}
