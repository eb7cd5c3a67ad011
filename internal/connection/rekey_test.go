package connection_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
	"cairn/internal/seal"
	"cairn/internal/sealed"
)

func TestRekey(t *testing.T) {
	t.Parallel()
	r := newRig(t) // seals with key 1
	owners := []oauth.Owner{r.owner(), r.owner()}
	r.connect(sandbox.Strava, owners[0], "ada")
	r.connect(sandbox.Garmin, owners[0], "ada")
	r.connect(sandbox.Strava, owners[1], "moss")
	r.connect(sandbox.Garmin, owners[1], "moss")
	r.disconnect(sandbox.Garmin, owners[1])
	secrets := func(keys ...byte) sealed.Columns {
		return sealed.Columns{Pool: r.pool, Sealer: newSealer(t, keys...), All: connection.SealedColumns()}
	}
	err := secrets(2).Check(t.Context())
	if err == nil || !strings.Contains(err.Error(), newSealer(t, 1).KeyIDs()[0]) {
		t.Errorf("with the old key missing: %v, want its id named", err)
	}
	both := secrets(2, 1)
	if err := both.Check(t.Context()); err != nil {
		t.Error(err)
	}
	before, err := r.Token(t.Context(), r.providers[sandbox.Strava], owners[0].UserID)
	if err != nil {
		t.Fatal(err)
	}
	if done, err := both.Rekey(t.Context()); done != 4 || err != nil {
		t.Fatalf("rekeyed %d, error %v; want all 4", done, err)
	}
	if done, err := both.Rekey(t.Context()); done != 0 || err != nil {
		t.Errorf("again: %d, error %v; want none", done, err)
	}
	fresh := r.storeIn(r.pool, newSealer(t, 2), oauth.Options{Limits: r.limits})
	if err := secrets(2).Check(t.Context()); err != nil {
		t.Error(err)
	}
	after, err := fresh.Token(t.Context(), r.providers[sandbox.Strava], owners[0].UserID)
	if err != nil || after != before {
		t.Errorf("with the new key alone: %v", err)
	}
	r.Store = fresh
	if err := r.revoke(); err != nil || len(r.grants(sandbox.Garmin)) != 1 {
		t.Errorf("the revocation with the new key alone: %v", err)
	}
	if err := secrets(1).Check(t.Context()); err == nil {
		t.Error("the old key alone is accepted")
	}
}

// Tokens that were moved to another row open nowhere. They do not keep the others from being sealed anew.
func TestRekeyPassesDamagedTokens(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	const people = 103 // more than one batch
	for i := range people {
		owner := r.owner()
		r.exec(`
			WITH i AS (
				INSERT INTO cairn.identities (user_id, provider, subject) VALUES ($1, 'garmin', $2) RETURNING id
			)
			INSERT INTO cairn.connections (identity_id, user_id, provider, sealed_tokens)
			SELECT id, $1, 'garmin', $3 FROM i`,
			owner.UserID, strconv.Itoa(i), newSealer(t, 1).Seal([]byte("{}"), "another row"))
	}
	owner := r.owner()
	r.connect(sandbox.Garmin, owner, "ada")
	both := sealed.Columns{Pool: r.pool, Sealer: newSealer(t, 2, 1), All: connection.SealedColumns()}
	done, err := both.Rekey(t.Context())
	if done != 1 || !errors.Is(err, seal.ErrOpen) || strings.Count(err.Error(), "sealed_tokens") != people {
		t.Errorf("rekeyed %d, error %v; want 1, and the others named", done, err)
	}
	fresh := r.storeIn(r.pool, newSealer(t, 2), oauth.Options{Limits: r.limits})
	if _, err := fresh.Token(t.Context(), r.providers[sandbox.Garmin], owner.UserID); err != nil {
		t.Errorf("with the new key alone: %v", err)
	}
}
