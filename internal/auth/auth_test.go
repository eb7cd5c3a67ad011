package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/testkit"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

const (
	good    = "granite lichen and slow rain"
	another = "a different heap of pebbles"
	address = "192.0.2.7"
)

func newAccounts(t *testing.T) (*auth.Accounts, *pgxpool.Pool) {
	t.Helper()
	pool := dbtest.New(t)
	return auth.New(pool, "the secret of this test", auth.Options{Known: []string{"Garmin Connect", "Strava"}}), pool
}

func signUp(t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, email string) int64 {
	t.Helper()
	id, err := tryToSignUp(t, a, pool, "Ada", email, good, address)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func tryToSignUp(
	t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, name, email, password, address string,
) (id int64, err error) {
	t.Helper()
	account, err := a.SignUp(t.Context(), name, email, password, address)
	if err != nil {
		return 0, err
	}
	return id, pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		id, err = a.Create(t.Context(), tx, account)
		return err
	})
}

// tryToSignIn signs in from an unknown browser.
func tryToSignIn(t *testing.T, a *auth.Accounts, email, password, address string) (int64, error) {
	t.Helper()
	proof, err := a.SignIn(t.Context(), email, password, address, "")
	return proof.UserID, err
}

func TestSignUpAndSignIn(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	id := signUp(t, a, pool, "Ada@Example.org")
	for _, email := range []string{"Ada@Example.org", "ada@example.org", "ADA@EXAMPLE.ORG", " ada@example.org "} {
		if got, err := tryToSignIn(t, a, email, good, address); err != nil || got != id {
			t.Errorf("sign in as %q: user %d, error %v; want %d", email, got, err, id)
		}
		if _, err := tryToSignUp(t, a, pool, "", email, good, address); !errors.Is(err, auth.ErrEmailTaken) {
			t.Errorf("sign up again as %q: error %v, want ErrEmailTaken", email, err)
		}
	}
	if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.users`); n != 1 {
		t.Errorf("%d users, want 1: a refused sign-up leaves none behind", n)
	}
	for _, tt := range []struct{ email, password string }{
		{"ada@example.org", good + " "},
		{"ada@example.org", strings.ToUpper(good)},
		{"ada@example.org", ""},
		{"nobody@example.org", good},
		{"", ""},
	} {
		if _, err := tryToSignIn(t, a, tt.email, tt.password, address); !errors.Is(err, auth.ErrCredentials) {
			t.Errorf("sign in as %q with %q: error %v, want ErrCredentials", tt.email, tt.password, err)
		}
	}
}

func scalar[T any](t *testing.T, pool *pgxpool.Pool, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := pool.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStoredHash(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	one, two := signUp(t, a, pool, "one@example.org"), signUp(t, a, pool, "two@example.org")
	hash := func(id int64) string {
		return scalar[string](t, pool, `SELECT hash FROM cairn.passwords WHERE user_id = $1`, id)
	}
	if !strings.HasPrefix(hash(one), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %q, want OWASP's parameters", hash(one))
	}
	if hash(one) == hash(two) {
		t.Error("two people with the same password have the same hash")
	}
}

func TestPasswordsAreNormalised(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	composed, decomposed := "caf\u00e9 by the quiet harbour", "cafe\u0301 by the quiet harbour"
	id, err := tryToSignUp(t, a, pool, "", "ada@example.org", decomposed, address)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tryToSignIn(t, a, "ada@example.org", composed, address); err != nil || got != id {
		t.Errorf("got user %d, error %v", got, err)
	}
}

func TestSignUpRefuses(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	tests := []struct{ name, person, email, password, field string }{
		{"short password", "Ada", "a@example.org", "elevenchars", "password"},
		{"too long password", "Ada", "a@example.org", strings.Repeat("pebble ", 40), "password"},
		{"common password", "Ada", "a@example.org", "password1234", "password"},
		{"keyboard walk", "Ada", "a@example.org", "qwertyuiop12", "password"},
		{"repeated", "Ada", "a@example.org", strings.Repeat("a", 40), "password"},
		{"product and year", "Ada", "a@example.org", "strava2026garmin", "password"},
		{"own address", "Ada", "adalovelace1815@example.org", "adalovelace1815", "password"},
		{"bytes that are no text", "Ada", "a@example.org", "\xff\xfe and some more words", "password"},
		{"no e-mail", "Ada", "", good, "email"},
		{"no at", "Ada", "example.org", good, "email"},
		{"two ats", "Ada", "a@b@example.org", good, "email"},
		{"a name too", "Ada", "Ada <a@example.org>", good, "email"},
		{"a list", "Ada", "a@example.org, b@example.org", good, "email"},
		{"line break", "Ada", "a@example.org\r\nBcc: b@example.org", good, "email"},
		{"endless e-mail", "Ada", strings.Repeat("a", 250) + "@example.org", good, "email"},
		{"NUL in the name", "A\x00da", "a@example.org", good, "name"},
		{"endless name", strings.Repeat("a", 101), "a@example.org", good, "name"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := tryToSignUp(t, a, pool, tt.person, tt.email, tt.password, fmt.Sprintf("192.0.2.%d", i))
			field, ok := errors.AsType[*auth.FieldError](err)
			if !ok || field.Field != tt.field || field.Message == "" {
				t.Errorf("got error %v, want one of the field %s", err, tt.field)
			}
		})
	}

	t.Run("accepts", func(t *testing.T) {
		for i, password := range []string{good, strings.Repeat("öde Täler, ", 23), "Tr0ub4dor&3 and more"} {
			email := fmt.Sprintf("ok%d@example.org", i)
			if _, err := tryToSignUp(t, a, pool, "", email, password, "198.51.100.1"); err != nil {
				t.Errorf("%q: %v", password, err)
			}
		}
	})

}

func TestLimits(t *testing.T) {
	t.Parallel()
	one, pool := newAccounts(t)
	two := auth.New(pool, "the secret of this test", auth.Options{}) // another instance
	signUp(t, one, pool, "ada@example.org")
	limited := func(a *auth.Accounts, email, password, from string) bool {
		_, err := tryToSignIn(t, a, email, password, from)
		limit, ok := errors.AsType[*auth.LimitError](err)
		if ok && limit.RetryAfter <= 0 {
			t.Errorf("limited without saying until when")
		}
		return ok
	}
	for i := range 10 {
		if limited([]*auth.Accounts{one, two}[i%2], "ada@example.org", "wrong", "203.0.113.1") {
			t.Fatalf("limited at try %d", i+1)
		}
	}
	if !limited(one, "ADA@example.org", good, "203.0.113.1") || !limited(two, "ada@example.org", good, "203.0.113.1") {
		t.Error("the eleventh try passed, in another case or on another instance")
	}
	if limited(one, "ada@example.org", good, "203.0.113.2") {
		t.Error("a stranger's tries locked the owner out elsewhere")
	}
	n := scalar[int](t, pool, `
		SELECT count(*)::int FROM cairn.rate_limits WHERE bucket LIKE '%ada%' OR bucket LIKE '%203.0%'`)
	if n != 0 {
		t.Error("the table of counters names people or addresses")
	}
	_, err := pool.Exec(t.Context(), `UPDATE cairn.rate_limits SET resets_at = now() - interval '1 second'`)
	if err != nil {
		t.Fatal(err)
	}
	if limited(one, "ada@example.org", good, "203.0.113.1") {
		t.Error("limited after the window is over")
	}
}

func TestLimitHoldsInParallel(t *testing.T) {
	t.Parallel()
	a, _ := newAccounts(t)
	var passed atomic.Int64
	var wg sync.WaitGroup
	for range 150 {
		wg.Go(func() {
			if err := a.Allow(t.Context(), a.Limits.BeginNetwork.From("2001:db8:1:2::1")); err == nil {
				passed.Add(1)
			}
		})
	}
	wg.Wait()
	if passed.Load() != 100 {
		t.Errorf("%d of 150 parallel attempts passed, want 100", passed.Load())
	}
	if err := a.Allow(t.Context(), a.Limits.BeginNetwork.From("2001:db8:1:2:ffff::1")); err == nil {
		t.Error("another address of the same network is counted apart")
	}
	if err := a.Allow(t.Context(), a.Limits.BeginNetwork.From("2001:db8:1:3::1")); err != nil {
		t.Errorf("another network: %v", err)
	}
}

// Many networks within one IPv6 /48 share a limit. The owner signs in from elsewhere.
func TestLimitsOfSites(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	signUp(t, a, pool, "ada@example.org")
	tries, limited := 0, ""
	for try := range 100 {
		_, err := tryToSignIn(t, a, "ada@example.org", "wrong", fmt.Sprintf("2001:db8:7:%x::1", try%10))
		if limit, ok := errors.AsType[*auth.LimitError](err); ok {
			limited = limit.Limit
			continue
		}
		tries++
	}
	if tries != 20 || limited != a.Limits.SignInPair.Name {
		t.Errorf("%d tries passed, then %q refused; want 20 and the limit of an e-mail and a network", tries, limited)
	}
	for _, from := range []string{"203.0.113.1", "::ffff:203.0.113.1", "2001:db8:8::1"} {
		if _, err := tryToSignIn(t, a, "ada@example.org", good, from); err != nil {
			t.Errorf("the owner at %s: %v", from, err)
		}
	}
}

// A client that goes on after a refusal does not use up the limits that it shares.
func TestRefusedTriesAreNotCountedFurther(t *testing.T) {
	t.Parallel()
	a, _ := newAccounts(t)
	for range 200 {
		_ = a.Allow(t.Context(), a.Limits.PasswordPair.From(address, 1), a.Limits.SignInNetwork.From(address))
	}
	session, network := a.Limits.PasswordPair.From(address, 2), a.Limits.SignInNetwork.From(address)
	if err := a.Allow(t.Context(), session, network); err != nil {
		t.Errorf("another session: %v", err)
	}
	if err := a.Reset(t.Context(), a.Limits.PasswordPair.From(address, 1)); err != nil {
		t.Fatal(err)
	}
	if err := a.Allow(t.Context(), a.Limits.PasswordPair.From(address, 1)); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}

// If several limits refuse, RetryAfter is the longest wait.
func TestRetryAfterIsTheLongestWait(t *testing.T) {
	t.Parallel()
	a, _ := newAccounts(t)
	pause, hour := a.Limits.CallPause.Of(1), a.Limits.CallHour.Of(1)
	for range a.Limits.CallHour.Max {
		if err := a.Allow(t.Context(), hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Allow(t.Context(), pause); err != nil {
		t.Fatal(err)
	}
	for _, allow := range []func(context.Context, ...auth.Count) error{a.Allow, a.StillAllowed} {
		var limit *auth.LimitError
		if err := allow(t.Context(), pause, hour); !errors.As(err, &limit) || limit.RetryAfter < time.Hour/2 {
			t.Errorf("got %v, want an hour's limit", err)
		}
	}
	if err := a.StillAllowed(t.Context(), a.Limits.CallPause.Of(2), a.Limits.CallHour.Of(2)); err != nil {
		t.Errorf("another person: %v", err)
	}
}

// A network that goes on after a refusal, with another e-mail each time, adds no rows.
func TestRefusedTriesLeaveNoRows(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	try := func(i int) error {
		return a.Allow(t.Context(),
			a.Limits.SignInPair.From(address, i),
			a.Limits.SignInNetwork.From(address),
			a.Limits.SignInAccount.Of(i))
	}
	for i := range a.Limits.SignInNetwork.Max {
		if err := try(i); err != nil {
			t.Fatal(err)
		}
	}
	before := rows(t, pool)
	for i := range 100 {
		var limit *auth.LimitError
		err := try(1000 + i)
		if !errors.As(err, &limit) || limit.Limit != a.Limits.SignInNetwork.Name || limit.RetryAfter <= 0 {
			t.Fatalf("got %v", err)
		}
	}
	if left := rows(t, pool) - before; left != 0 {
		t.Errorf("100 refused tries leave %d rows", left)
	}
}

func rows(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.rate_limits`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Statements that count and reset several counters at once do not deadlock.
func TestCountingDoesNotDeadlock(t *testing.T) {
	t.Parallel()
	a, _ := newAccounts(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 60 {
				pair := a.Limits.SignInPair.From("2001:db8::1", n%3)
				account := a.Limits.SignInAccount.Of(n % 3)
				err := a.Allow(t.Context(), pair, a.Limits.SignInNetwork.From("2001:db8::1"), account)
				if _, limited := errors.AsType[*auth.LimitError](err); err != nil && !limited {
					t.Error(err)
				}
				if i%2 == 0 {
					if err := a.Reset(t.Context(), pair, account); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	id := signUp(t, a, pool, "ada@example.org")
	change := func(current, password string, then func() error) error {
		c, err := a.CheckPasswordChange(t.Context(), id, current, password)
		if err != nil {
			return err
		}
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			return errors.Join(a.ChangePassword(t.Context(), tx, c), then())
		})
	}
	nothing := func() error { return nil }
	if err := change("not the current one", another, nothing); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("wrong current password: %v", err)
	}
	if err := change(good, "short", nothing); err == nil {
		t.Error("a short password was accepted")
	}
	failing := errors.New("sessions can't be ended")
	if err := change(good, another, func() error { return failing }); !errors.Is(err, failing) {
		t.Errorf("got %v", err)
	}
	if _, err := tryToSignIn(t, a, "ada@example.org", good, address); err != nil {
		t.Fatalf("after failed changes the old password is refused: %v", err)
	}
	if err := change(good, another, nothing); err != nil {
		t.Fatal(err)
	}
	if _, err := tryToSignIn(t, a, "ada@example.org", good, address); !errors.Is(err, auth.ErrCredentials) {
		t.Errorf("the old password: %v", err)
	}
	if _, err := tryToSignIn(t, a, "ada@example.org", another, address); err != nil {
		t.Errorf("the new password: %v", err)
	}
}

// findOrCreate signs in with a provider's account as the callback does.
func findOrCreate(t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, provider, subject string) (user, identity int64) {
	t.Helper()
	err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) (err error) {
		visitor := auth.Visitor{Provider: provider, Subject: subject, Name: "Ada"}
		owner, err := a.FindOrCreate(t.Context(), tx, visitor)
		user, identity = owner.UserID, owner.IdentityID
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return user, identity
}

func link(t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, user int64, provider, subject string) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := a.Link(t.Context(), tx, user, provider, subject, auth.Recent)
		return err
	})
}

func TestIdentities(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	ada, _ := findOrCreate(t, a, pool, "strava", "1")
	if again, _ := findOrCreate(t, a, pool, "strava", "1"); again != ada {
		t.Errorf("the second sign-in is of user %d, the first of %d", again, ada)
	}
	if other, _ := findOrCreate(t, a, pool, "garmin", "1"); other == ada {
		t.Error("the same id at another provider leads to the same user")
	}
	moss := signUp(t, a, pool, "moss@example.org")
	if err := link(t, a, pool, moss, "strava", "1"); !errors.Is(err, auth.ErrLinked) {
		t.Errorf("linking another user's account: %v, want ErrLinked", err)
	}
	for range 2 {
		if err := link(t, a, pool, moss, "strava", "2"); err != nil {
			t.Error(err)
		}
	}
}

func TestRaceParallelFirstSignInsCreateOneUser(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	for round := range testkit.Rounds(t) {
		subject := fmt.Sprint(round)
		users := make([]int64, 6)
		var wg sync.WaitGroup
		for i := range users {
			wg.Go(func() { users[i], _ = findOrCreate(t, a, pool, "strava", subject) })
		}
		wg.Wait()
		for _, user := range users {
			if user != users[0] {
				t.Fatalf("six first sign-ins created users %v", users)
			}
		}
	}
}

func TestTheLastMethodStays(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	user, strava := findOrCreate(t, a, pool, "strava", "1")
	remove := func(user int64) error {
		return removeIdentity(t, a, pool, user, strava, func(string, int64) error { return nil })
	}
	if err := remove(user); !errors.Is(err, auth.ErrLastMethod) {
		t.Errorf("removing the only method: %v, want ErrLastMethod", err)
	}
	password, err := a.NewPassword(t.Context(), user, "ada@example.org", good, address)
	if err != nil {
		t.Fatal(err)
	}
	within(t, pool, func(tx pgx.Tx) error { return a.AddPassword(t.Context(), tx, user, password) })
	if err := remove(user + 1); err == nil {
		t.Error("another user removed it")
	}
	if err := remove(user); err != nil {
		t.Error(err)
	}
	err = pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return a.RemovePassword(t.Context(), tx, user) })
	if !errors.Is(err, auth.ErrLastMethod) {
		t.Errorf("removing the only password: %v, want ErrLastMethod", err)
	}
}

func removeIdentity(
	t *testing.T, a *auth.Accounts, pool *pgxpool.Pool, user, identity int64, disconnect auth.Disconnect,
) error {
	t.Helper()
	return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := a.RemoveIdentity(t.Context(), tx, user, identity, disconnect)
		return err
	})
}

// within runs do in a transaction that must not fail.
func within(t *testing.T, pool *pgxpool.Pool, do func(pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), pool, do); err != nil {
		t.Fatal(err)
	}
}

func TestRaceParallelRemovalsLeaveAMethod(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	for round := range testkit.Rounds(t) {
		user, strava := findOrCreate(t, a, pool, "strava", fmt.Sprint(round))
		if err := link(t, a, pool, user, "garmin", fmt.Sprint(round)); err != nil {
			t.Fatal(err)
		}
		garmin := scalar[int64](t, pool, `
			SELECT id FROM cairn.identities WHERE user_id = $1 AND provider = 'garmin'`, user)
		// Each removal waits for the other one to begin, unless a lock keeps the other one out.
		var inside, removed atomic.Int64
		both, alone := make(chan struct{}), make(chan struct{})
		meet := func(string, int64) error {
			if inside.Add(1) == 2 {
				close(both)
			}
			select {
			case <-both: // at the same moment
			case <-alone:
			}
			return nil
		}
		go func() {
			testkit.Within(testkit.Patience, func() bool { return closed(both) || lockAwaited(t, pool) })
			close(alone)
		}()
		var wg sync.WaitGroup
		for _, id := range []int64{strava, garmin} {
			wg.Go(func() {
				if err := removeIdentity(t, a, pool, user, id, meet); err == nil {
					removed.Add(1)
				}
			})
		}
		wg.Wait()
		if removed.Load() != 1 {
			t.Fatalf("%d of two removals succeeded, want 1", removed.Load())
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// lockAwaited reports whether a transaction waits for a lock.
func lockAwaited(t *testing.T, pool *pgxpool.Pool) (waits bool) {
	err := pool.QueryRow(t.Context(), `
		SELECT EXISTS (
			SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND wait_event_type = 'Lock')`).Scan(&waits)
	if err != nil {
		t.Error(err)
	}
	return waits
}

func TestSweepOfCounters(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	_, err := pool.Exec(t.Context(), `
		INSERT INTO cairn.rate_limits SELECT n, 1, now() - interval '1 minute' FROM generate_series(1, 700) n`)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Allow(t.Context(), a.Limits.BeginNetwork.From(address)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []bool{true, false} {
		if more, err := a.Sweep(t.Context()); err != nil || more != want {
			t.Fatalf("more %t, error %v; want %t", more, err, want)
		}
	}
	if n := scalar[int](t, pool, `SELECT count(*)::int FROM cairn.rate_limits`); n != 1 {
		t.Errorf("%d counters are left, want the live one", n)
	}
}

// Servers of the release before know addresses by cairn.passwords alone. Those of this release see what they do.
func TestEmailFollowsPasswordsOfTheReleaseBefore(t *testing.T) {
	t.Parallel()
	a, pool := newAccounts(t)
	id := signUp(t, a, pool, "ada@example.org")
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql, id); err != nil {
			t.Fatal(err)
		}
	}
	email := func() string {
		t.Helper()
		account, err := a.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return account.Email
	}
	exec(`DELETE FROM cairn.passwords WHERE user_id = $1`)
	if got := email(); got != "" {
		t.Errorf("without a password the address is %q", got)
	}
	exec(`INSERT INTO cairn.passwords (user_id, email, email_key, hash) 
		VALUES ($1, 'Eve@a.org', 'eve@a.org', '$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA')`)
	if got := email(); got != "Eve@a.org" {
		t.Errorf("with a new password the address is %q", got)
	}
	exec(`UPDATE cairn.emails SET verified_at = now() WHERE user_id = $1`)
	exec(`DELETE FROM cairn.passwords WHERE user_id = $1`)
	if got := email(); got != "Eve@a.org" {
		t.Errorf("a verified address is %q without a password", got)
	}
}
