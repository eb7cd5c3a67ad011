package node

import (
	"errors"
	"strings"
	"testing"
)

// The texts were sealed by Node.js with crypto.createCipheriv and crypto.scryptSync.
var sealedByNode = []struct{ name, key, text string }{
	{
		"64 hex digits", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		"b5ad45dc932b245a2f88f729ce30a4a0:fc1e7629e6c5204e1d890192b4755bf8:b1d3d27062265c7b068363e588cbeddace087de9",
	},
	{
		"a passphrase", "a passphrase of the operator",
		"755857880e120d9459f8a967958f4bf8:9b5beed69cc2bd328544c63349d07ea8:3a1526fc40de7c9bcd6bb2e15e22992a579cf208",
	},
	{
		"the database's address", "postgres://node:secret@db.example.org:5432/app",
		"da360ee2266b1c52042a4d8735d594f8:e0192654c7e624dc5cf80286bd2022c8:b81cd78f5238c21507038df1edc3923eb01f5d05",
	},
}

func TestOpenWhatNodeSealed(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, tt := range sealedByNode {
		texts = append(texts, tt.key)
	}
	all, err := newKeys(append(texts, "", texts[0])...)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(sealedByNode) {
		t.Errorf("%d keys of %d texts: empty ones and doubles count", len(all), len(sealedByNode))
	}
	for i, tt := range sealedByNode {
		plain, err := all.open(tt.text)
		if err != nil || string(plain) != "FSQ-token-0123456789" {
			t.Errorf("%s: %q, error %v", tt.name, plain, err)
		}
		if _, err := all[i+1:].open(tt.text); !errors.Is(err, errSealed) {
			t.Errorf("%s: other keys: error %v", tt.name, err)
		}
	}
}

func TestDamagedTextDoesNotOpen(t *testing.T) {
	t.Parallel()
	keys, err := newKeys(sealedByNode[0].key)
	if err != nil {
		t.Fatal(err)
	}
	good := sealedByNode[0].text
	parts := strings.Split(good, ":")
	for name, text := range map[string]string{
		"empty":             "",
		"a word":            "null",
		"cut off":           good[:len(good)-2],
		"half a byte":       good[:len(good)-1],
		"one part missing":  parts[0] + ":" + parts[2],
		"one part more":     good + ":00",
		"short nonce":       parts[0][:24] + ":" + parts[1] + ":" + parts[2],
		"short tag":         parts[0] + ":" + parts[1][:24] + ":" + parts[2],
		"no hex":            "zz" + good[2:],
		"another byte":      good[:len(good)-2] + "00",
		"parts exchanged":   parts[1] + ":" + parts[0] + ":" + parts[2],
		"nothing but marks": "::",
	} {
		if plain, err := keys.open(text); !errors.Is(err, errSealed) {
			t.Errorf("%s: %q, error %v", name, plain, err)
		}
	}
}

func TestTokenShapes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"ABCDEF0123456789": true, "a.b_c~d+e/f-g=": true,
		"": false, "null": false, "undefined": false, `"quoted-token"`: false, `{"accessToken":"x"}`: false,
		"two words": false, "[object Object]": false, "line\nbreak": false, strings.Repeat("a", 4097): false,
	} {
		if isToken(text) != want {
			t.Errorf("%q: %v", text, !want)
		}
	}
}
