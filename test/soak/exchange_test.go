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

// The tokens of a code are stored even if the browser has left, because the code is good only once.
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
		testkit.Eventually(t, p.Key+" is connected", func() bool { return k.connection(p.Key).Generation > 0 })
		k.must(k.v.check(t.Context(), p.Key))
	}
}

// If the database fails after the exchange, nothing is half done: a first connection does not exist, and an existing
// one is unchanged. The person gets an error page, and the next attempt works.
func TestDatabaseFailsAfterExchange(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	k.exec(`CREATE FUNCTION cairn.refuse() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'admin_shutdown'; END $$`)
	for _, p := range config.Providers() {
		for _, again := range []bool{false, true} {
			before := k.connection(p.Key)
			// The event is the last row that the transaction writes.
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
	var identities int
	k.must(k.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.identities`).Scan(&identities))
	if identities != len(config.Providers()) {
		t.Errorf("%d identities at %d providers", identities, len(config.Providers()))
	}
}

// wantDatabaseAway connects, and expects an error page about the database.
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
