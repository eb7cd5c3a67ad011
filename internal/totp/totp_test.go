package totp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	apps "github.com/pquerna/otp/totp"

	"cairn/internal/totp"
)

func TestCodesOfApps(t *testing.T) {
	t.Parallel()
	secret, now := totp.New(), time.Date(2026, 11, 29, 12, 0, 15, 0, time.UTC)
	if !secret.Valid() || totp.Secret("ABC").Valid() || totp.Secret("0"+string(secret)[1:]).Valid() {
		t.Error("a secret's shape is not recognised")
	}
	for offset, good := range map[time.Duration]bool{
		0: true, -30 * time.Second: true, 30 * time.Second: true, -60 * time.Second: false, 60 * time.Second: false,
	} {
		code, err := apps.GenerateCode(string(secret), now.Add(offset))
		if err != nil {
			t.Fatal(err)
		}
		step, ok := secret.Step(code, now)
		if ok != good || ok && step != now.Add(offset).Unix()/30 {
			t.Errorf("a code of %v: step %d, %v", offset, step, ok)
		}
	}
	for _, wrong := range []string{"", "12345", "1234567", "abcdef", "１２３４５６"} {
		if _, ok := secret.Step(wrong, now); ok {
			t.Errorf("%q is taken", wrong)
		}
	}
}

// RFC 6238, appendix B, with the last six digits.
func TestCodeOfTheStandard(t *testing.T) {
	t.Parallel()
	secret := totp.Secret("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
	if step, ok := secret.Step("081804", time.Unix(1111111109, 0)); !ok || step != 1111111109/30 {
		t.Errorf("step %d, %v", step, ok)
	}
}

func TestURI(t *testing.T) {
	t.Parallel()
	secret := totp.New()
	key, err := otp.NewKeyFromURL(secret.URI("cairn.example.org", "ada lovelace+1@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if key.Secret() != string(secret) || key.Issuer() != "cairn.example.org" || key.Period() != 30 ||
		key.AccountName() != "ada lovelace+1@example.org" {
		t.Errorf("an app reads %q, %q, %q", key.Issuer(), key.AccountName(), key.String())
	}
	if got := totp.Secret("ABCDEFGHIJ").Spelled(); got != "ABCD EFGH IJ" {
		t.Errorf("spelled %q", got)
	}
}

// The three corners of a QR code have a frame of seven dark modules.
func TestQR(t *testing.T) {
	t.Parallel()
	code, err := totp.QR(totp.New().URI("cairn.example.org", "ada@example.org"))
	if err != nil {
		t.Fatal(err)
	}
	if code.Size < 33 || !strings.HasPrefix(code.Path, "M0 0h7v1h-7z") {
		t.Errorf("%d modules: %.40s", code.Size, code.Path)
	}
	if _, err := totp.QR(strings.Repeat("long", 2000)); err == nil {
		t.Error("a text that is too long was drawn")
	}
}
