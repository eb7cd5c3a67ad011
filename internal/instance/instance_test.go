package instance_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/instance"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func announce(t *testing.T, s *instance.Self) string {
	t.Helper()
	key, err := s.Announce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// silence sets when a server was last seen.
func silence(t *testing.T, pool *pgxpool.Pool, s *instance.Self, ago string) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `
		UPDATE cairn.instances SET last_seen = now() - $2::interval WHERE id = $1`, s.ID, ago)
	if err != nil {
		t.Fatal(err)
	}
}

// A key seals once every live server holds it, however the servers are replaced.
func TestKeySealsOnceAllHoldIt(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	server := func(keys ...string) *instance.Self { return instance.New(pool, "host", "v1", 11, keys) }
	want := func(s *instance.Self, key string) {
		t.Helper()
		if got := announce(t, s); got != key {
			t.Errorf("it seals with %s, want %s", got, key)
		}
	}
	one, two := server("old"), server("old")
	want(one, "old")
	want(two, "old")
	next := server("new", "old")
	want(next, "old")
	if err := one.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	want(next, "old")
	silence(t, pool, two, "119 s")
	want(next, "old")
	silence(t, pool, two, "121 s") // it was killed
	want(next, "new")
	want(two, "old") // it was only frozen
	want(next, "old")
	stranger := server("other")
	want(stranger, "other") // they have no key in common, and tokens that the others can't read are better than none
	want(next, "new")
}

func TestListAndSweep(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	one := instance.New(pool, "a", "v1", 11, []string{"k1"})
	two := instance.New(pool, "b", "v2", 12, []string{"k2", "k1"})
	announce(t, one)
	announce(t, two)
	two.NoteUntrusted(netip.MustParseAddr("172.18.0.1"))
	announce(t, two)
	ids := func(all []instance.Instance, err error) (ids []string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range all {
			ids = append(ids, i.ID)
		}
		return ids
	}
	all, err := instance.List(t.Context(), pool)
	if got := ids(all, err); !slices.Equal(got, []string{one.ID, two.ID}) {
		t.Fatalf("listed %v", got)
	}
	got := all[1]
	if got.Hostname != "b" || got.Version != "v2" || got.Schema != 12 || !slices.Equal(got.Keys, two.Keys) ||
		!got.Live || got.LastSeen.Before(got.Started) ||
		got.UntrustedProxy == nil || got.UntrustedProxy.String() != "172.18.0.1" || all[0].UntrustedProxy != nil {
		t.Errorf("listed %+v", got)
	}
	if got := ids(instance.Lacking(t.Context(), pool, "k2")); !slices.Equal(got, []string{one.ID}) {
		t.Errorf("%v lack k2", got)
	}
	silence(t, pool, one, "3 minutes")
	if got := ids(instance.Lacking(t.Context(), pool, "k2")); got != nil {
		t.Errorf("a silent server counts as lacking a key: %v", got)
	}
	if all, _ := instance.List(t.Context(), pool); len(all) != 2 || all[0].Live || !all[1].Live {
		t.Errorf("listed %+v", all)
	}
	silence(t, pool, one, "61 minutes")
	if more, err := two.Sweep(t.Context()); more || err != nil {
		t.Errorf("sweep: more %v, error %v", more, err)
	}
	if got := ids(instance.List(t.Context(), pool)); !slices.Equal(got, []string{two.ID}) {
		t.Errorf("after the sweep: %v", got)
	}
}
