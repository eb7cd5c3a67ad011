package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"cairn/internal/seal"
)

func newSealer(t *testing.T, keys ...byte) *seal.Sealer {
	t.Helper()
	var full [][]byte
	for _, k := range keys {
		full = append(full, bytes.Repeat([]byte{k}, 32))
	}
	s, err := seal.New(full...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	sealed := s.Seal([]byte("secret"), "row 1")
	if bytes.Contains(sealed, []byte("secret")) {
		t.Error("the plaintext shows in the sealed value")
	}
	if bytes.Equal(sealed, s.Seal([]byte("secret"), "row 1")) {
		t.Error("sealing twice gave the same bytes: the nonce repeats")
	}
	if got, err := s.Open(sealed, "row 1"); err != nil || string(got) != "secret" {
		t.Errorf("Open = %q, %v; want the secret", got, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	s := newSealer(t, 1)
	sealed := s.Seal([]byte("secret"), "row 1")
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	tests := map[string]struct {
		sealer *seal.Sealer
		value  []byte
		place  string
		want   error
	}{
		"another row's place": {s, sealed, "row 2", seal.ErrOpen},
		"damaged":             {s, flipped, "row 1", seal.ErrOpen},
		"cut short":           {s, sealed[:3], "row 1", seal.ErrOpen},
		"empty":               {s, nil, "row 1", seal.ErrOpen},
		"key not configured":  {newSealer(t, 2), sealed, "row 1", seal.ErrKey},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := tt.sealer.Open(tt.value, tt.place); !errors.Is(err, tt.want) {
				t.Errorf("Open error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestRotation(t *testing.T) {
	t.Parallel()
	old, both, fresh := newSealer(t, 1), newSealer(t, 2, 1), newSealer(t, 2)
	sealed := old.Seal([]byte("secret"), "row")
	if _, err := both.Open(sealed, "row"); err != nil {
		t.Errorf("the old key behind the new one does not open: %v", err)
	}
	if _, err := fresh.Open(both.Seal([]byte("x"), "row"), "row"); err != nil {
		t.Errorf("the first key is not the one that seals: %v", err)
	}
}

func TestNewRefusesShortKey(t *testing.T) {
	t.Parallel()
	if _, err := seal.New([]byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
}

// While servers are replaced, the new key opens but does not seal yet.
func TestSealWith(t *testing.T) {
	t.Parallel()
	old, both := newSealer(t, 1), newSealer(t, 2, 1, 2)
	ids := both.KeyIDs()
	if len(ids) != 2 || ids[1] != old.KeyIDs()[0] {
		t.Fatalf("the keys are %v, want two, the newest first", ids)
	}
	opens := func() bool { _, err := old.Open(both.Seal([]byte("secret"), "row"), "row"); return err == nil }
	if opens() {
		t.Error("the newest key does not seal")
	}
	both.SealWith(ids[1])
	if !opens() {
		t.Error("the chosen key does not seal")
	}
	both.SealWith("00000000")
	if !opens() {
		t.Error("an unknown key changed something")
	}
	both.SealWith(ids[0])
	if opens() {
		t.Error("the newest key does not seal again")
	}
}
