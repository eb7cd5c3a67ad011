package auth_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	apps "github.com/pquerna/otp/totp"

	"cairn/internal/auth"
	"cairn/internal/seal"
	"cairn/internal/sealed"
)

// sealedBy returns a sealer with keys, the newest first.
func sealedBy(t *testing.T, keys ...byte) *seal.Sealer {
	t.Helper()
	var all [][]byte
	for _, key := range keys {
		all = append(all, bytes.Repeat([]byte{key}, 32))
	}
	sealer, err := seal.New(all...)
	if err != nil {
		t.Fatal(err)
	}
	return sealer
}

// Rotating keys breaks no authenticator app, and a missing key is named.
func TestRekeyOfApps(t *testing.T) {
	t.Parallel()
	plain, pool := newAccounts(t)
	with := func(keys ...byte) *auth.Accounts {
		return auth.New(pool, "the secret of this test", auth.Options{
			Sealer: sealedBy(t, keys...), Cost: auth.Cost{Memory: 64, Passes: 1},
		})
	}
	user, old := signUp(t, plain, pool, "ada@example.org"), with(1)
	secret, inForm := old.SetUpApp(user)
	code := func(ahead time.Duration) string {
		t.Helper()
		code, err := apps.GenerateCode(string(secret), time.Now().Add(ahead))
		if err != nil {
			t.Fatal(err)
		}
		return code
	}
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		app, err := old.CheckNewApp(t.Context(), user, inForm, code(0), address)
		if err == nil {
			_, err = old.AddApp(t.Context(), tx, user, app)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	secrets := func(keys ...byte) sealed.Columns {
		return sealed.Columns{Pool: pool, Sealer: sealedBy(t, keys...), All: auth.SealedColumns()}
	}
	if err := secrets(2).Check(t.Context()); !errors.Is(err, seal.ErrKey) {
		t.Errorf("without the key: %v, want ErrKey", err)
	}
	early, err := old.CheckCode(t.Context(), user, code(30*time.Second), address, "")
	if err != nil {
		t.Fatal(err)
	}
	both := secrets(2, 1)
	if err := both.Check(t.Context()); err != nil {
		t.Error(err)
	}
	for _, want := range []int{1, 0} {
		if done, err := both.Rekey(t.Context()); done != want || err != nil {
			t.Errorf("sealed %d again (error %v), want %d", done, err, want)
		}
	}
	fresh := with(2)
	if err := secrets(2).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := fresh.CheckCode(t.Context(), user, code(30*time.Second), address, ""); err != nil {
		t.Errorf("a code after the rotation: %v", err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return old.UseCode(t.Context(), tx, early) })
	if err != nil {
		t.Errorf("a code that was checked before the rotation: %v", err)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE cairn.second_factors SET app = app || '\x00'`); err != nil {
		t.Fatal(err)
	}
	if done, err := secrets(3, 2).Rekey(t.Context()); done != 0 || !errors.Is(err, seal.ErrOpen) {
		t.Errorf("a damaged secret: %d (error %v), want ErrOpen", done, err)
	}
}
