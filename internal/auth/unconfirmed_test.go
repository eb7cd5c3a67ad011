package auth_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/testkit"
)

// claim makes an unconfirmed identity, as an import does, and returns its id.
func claim(t *testing.T, pool *pgxpool.Pool, user int64, provider, subject string) (identity int64) {
	t.Helper()
	within(t, pool, func(tx pgx.Tx) error {
		owned, err := auth.ImportClaims(t.Context(), tx, provider, []auth.Claim{{UserID: user, Subject: subject}})
		identity = owned[subject].IdentityID
		return err
	})
	return identity
}

func confirm(t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, user, identity int64) (provider string, err error) {
	t.Helper()
	return provider, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		provider, err = a.Confirm(t.Context(), tx, user, identity)
		return err
	})
}

// tryToEnter signs in with a provider's account.
func tryToEnter(t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, provider, subject string) (user int64, err error) {
	t.Helper()
	return user, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		visitor := auth.Visitor{Provider: provider, Subject: subject, Name: "Ada"}
		owner, err := a.FindOrCreate(t.Context(), tx, visitor)
		user = owner.UserID
		return err
	})
}

func TestUnconfirmedIdentities(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	ada, moss := signUp(t, a, pool, "ada@example.org"), signUp(t, a, pool, "moss@example.org")
	strava := claim(t, pool, ada, "strava", "1")
	if _, err := tryToEnter(t, a, pool, "strava", "1"); !errors.Is(err, auth.ErrUnconfirmed) {
		t.Errorf("signing in: %v, want ErrUnconfirmed", err)
	}
	if err := link(t, a, pool, moss, "strava", "1"); !errors.Is(err, auth.ErrUnconfirmed) {
		t.Errorf("linking another user's: %v, want ErrUnconfirmed", err)
	}
	err := removeIdentity(t, a, pool, ada, strava, func(string, int64) error { return nil })
	if !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("removing it as a sign-in method: %v, want ErrNotFound", err)
	}
	account, err := a.Get(t.Context(), ada)
	if err != nil || account.Methods() != 1 || account.SignsInWith("strava") || !account.Has("strava") {
		t.Errorf("%d methods, Strava among them: %t, the user's: %t (error %v)",
			account.Methods(), account.SignsInWith("strava"), account.Has("strava"), err)
	}
	if _, err := confirm(t, a, pool, moss, strava); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("confirming another user's: %v, want ErrNotFound", err)
	}
	for range 2 {
		if provider, err := confirm(t, a, pool, ada, strava); provider != "strava" || err != nil {
			t.Errorf("confirming: %q, error %v", provider, err)
		}
	}
	if user, err := tryToEnter(t, a, pool, "strava", "1"); user != ada || err != nil {
		t.Errorf("signing in once it is confirmed: user %d, error %v; want %d", user, err, ada)
	}
}

func TestUnconfirmedIsNotTheLastMethod(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	user, foursquare := findOrCreate(t, a, pool, "foursquare", "1")
	claim(t, pool, user, "strava", "1")
	err := removeIdentity(t, a, pool, user, foursquare, func(string, int64) error { return nil })
	if !errors.Is(err, auth.ErrLastMethod) {
		t.Errorf("removing the only method: %v, want ErrLastMethod", err)
	}
}

func TestLinkTakesThePlaceOfAnUnknownAccount(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	user := signUp(t, a, pool, "ada@example.org")
	unknown := claim(t, pool, user, "garmin", auth.UnknownSubject(7))
	if _, err := confirm(t, a, pool, user, unknown); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("confirming it: %v, want ErrNotFound", err)
	}
	notRecent := func(provider string) error {
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			_, err := a.Link(t.Context(), tx, user, provider, "1", auth.NotRecent)
			return err
		})
	}
	if err := notRecent("strava"); !errors.Is(err, auth.ErrNotRecent) {
		t.Errorf("linking at another provider: %v, want ErrNotRecent", err)
	}
	if err := notRecent("garmin"); err != nil {
		t.Error(err)
	}
	if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.identities WHERE subject = '1'`); n != 1 {
		t.Errorf("%d identities, want the one that was linked", n)
	}
	if _, err := tryToEnter(t, a, pool, "garmin", "1"); !errors.Is(err, auth.ErrUnconfirmed) {
		t.Errorf("signing in: %v, want ErrUnconfirmed", err)
	}
}

// A credential that stops signing in between the check and the act does not sign in.
func TestStillProvenRefusesAnIdentityThatDoesNotSignIn(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	user, identity := findOrCreate(t, a, pool, "strava", "1")
	entered := make(chan error, 1)
	within(t, pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), `SELECT FROM cairn.users WHERE id = $1 FOR UPDATE`, user)
		if err != nil {
			return err
		}
		go func() { _, err := tryToEnter(t, a, pool, "strava", "1"); entered <- err }()
		testkit.Eventually(t, "the sign-in waits", func() bool { return lockAwaited(t, pool) })
		_, err = tx.Exec(context.Background(), `UPDATE cairn.identities SET signs_in = false WHERE id = $1`, identity)
		return err
	})
	if err := <-entered; !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("signing in: %v, want ErrCredentials", err)
	}
}

// A failed disconnection removes nothing, and confirmed identities stay.
func TestRemoveUnconfirmed(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	user, _ := findOrCreate(t, a, pool, "strava", "1")
	claim(t, pool, user, "strava", "2")
	claim(t, pool, user, "garmin", "2")
	failure := errors.New("no connection")
	for _, want := range []error{failure, nil} {
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			return a.RemoveUnconfirmed(t.Context(), tx, user, "strava", func() error { return want })
		})
		left := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.identities`)
		if !errors.Is(err, want) || left != map[bool]int{true: 2, false: 3}[want == nil] {
			t.Errorf("error %v, %d identities are left", err, left)
		}
	}
	if user2, err := tryToEnter(t, a, pool, "strava", "1"); user2 != user || err != nil {
		t.Errorf("the confirmed one signs in to user %d, error %v; want %d", user2, err, user)
	}
}

// Accounts whose id is not known, and those of other providers, are nothing that an owner could confirm.
func TestCountUnconfirmed(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	ada := signUp(t, a, pool, "ada@example.org")
	confirmed := claim(t, pool, ada, "garmin", "1")
	for _, subject := range []string{"2", "3", auth.UnknownSubject(4)} {
		claim(t, pool, ada, "garmin", subject)
	}
	claim(t, pool, ada, "strava", "5")
	if _, err := confirm(t, a, pool, ada, confirmed); err != nil {
		t.Fatal(err)
	}
	within(t, pool, func(tx pgx.Tx) error {
		n, err := auth.CountUnconfirmed(t.Context(), tx, "garmin")
		if n != 2 {
			t.Errorf("%d, want 2", n)
		}
		return err
	})
}

func TestGetNobody(t *testing.T) {
	t.Parallel()
	a, _ := newAccounts(t)
	if account, err := a.Get(t.Context(), 1); !errors.Is(err, auth.ErrNotFound) {
		t.Errorf("got %+v, error %v, want ErrNotFound", account, err)
	}
}
