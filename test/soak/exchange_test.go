package soak

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// What a code was exchanged for is stored though the browser has left: the code is good only once.
func TestExchangeOutlivesTheBrowser(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	for _, p := range config.Providers() {
		left := make(chan struct{})
		trip := k.front.next(p.Key, "authorization_code", nil, until(left))
		ctx, leave := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- k.v.connect(ctx, p.Key, "ada", 0) }()
		<-trip.done
		leave()
		if err := <-gone; err == nil {
			t.Errorf("%s: the browser had its answer before it left", p.Key)
		}
		close(left)
		testkit.Eventually(t, p.Key+" is connected", func() bool { return k.connection(p.Key).Generation == 1 })
		k.must(k.v.check(t.Context(), p.Key))
	}
}

// When the database fails after the exchange, nothing is half done: a first connection does not
// exist, an existing one is unchanged, and both say how they are when they are used. The person is
// told, and the next attempt works.
func TestDatabaseFailsAfterExchange(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	k.exec(`CREATE FUNCTION cairn.refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'admin_shutdown'; END $$`)
	for _, p := range config.Providers() {
		for _, again := range []bool{false, true} {
			before := k.connection(p.Key)
			// An event is written last in the transaction.
			k.exec(`
				CREATE TRIGGER refuse BEFORE INSERT ON cairn.connection_events
				FOR EACH ROW EXECUTE FUNCTION cairn.refuse()`)
			k.wantDatabaseAway(p.Key)
			k.exec(`DROP TRIGGER refuse ON cairn.connection_events`)
			if after := k.connection(p.Key); after != before {
				t.Errorf("%s, again: %v: the connection was %+v and is %+v", p.Key, again, before, after)
			}
			if again {
				k.expire(p.Key)
				k.wantWorking(p.Key)
				k.wantSame(before, k.connection(p.Key))
				continue
			}
			k.must(k.v.connect(t.Context(), p.Key, "ada", 0))
			k.must(k.v.check(t.Context(), p.Key))
		}
	}
	var ways int
	k.must(k.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.identities`).Scan(&ways))
	if ways != len(config.Providers()) {
		t.Errorf("%d ways in by %d providers", ways, len(config.Providers()))
	}
}

// wantDatabaseAway goes to a provider, allows everything, and is told that it could not be stored.
func (k *killing) wantDatabaseAway(provider string) {
	k.t.Helper()
	consent, err := k.v.open(k.t.Context(), k.url+"/connect/"+provider, url.Values{})
	k.must(err)
	back, _ := k.v.open(k.t.Context(), consent.url, url.Values{
		"person":     {"ada"},
		"decision":   {"allow"},
		"scope":      {"read", "activity:read_all"},
		"permission": {"ACTIVITY_EXPORT"},
	})
	if back.status != http.StatusServiceUnavailable || !strings.Contains(back.body, "its database") {
		k.t.Errorf("%s: %d at %s", provider, back.status, strings.SplitN(back.url, "?", 2)[0])
	}
}
