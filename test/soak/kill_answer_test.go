package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/config"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// The worst moment for a server to die is between a provider's answer and our commit: the code, or
// the refresh token, is spent, and the tokens that came for it are lost. Afterwards a connection
// works, or says truthfully that it needs its owner, and then one click brings it back.

func TestKillAroundRefresh(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	providers := []string{sandbox.Strava, sandbox.Garmin}
	for _, p := range providers {
		k.must(k.v.connect(t.Context(), p, "ada", 0))
	}
	k.awaitSyncs()
	for round := range deployRounds(t, "DEPLOY_ANSWER_KILLS", 6) {
		k.refreshes(providers[round%2], aim(round/2%3))
	}
	k.wantWindowHit()
}

func TestKillAroundExchange(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	for round := range deployRounds(t, "DEPLOY_ANSWER_KILLS", 6) {
		k.exchanges(config.Providers()[round%3].Key, aim((round+round/3)%3), rand.IntN(2) == 0)
	}
	k.wantWindowHit()
}

// A connection that was lost does not go on saying that it works until somebody uses it: the server
// that takes the dead one's place finds out.
func TestKilledRefreshIsFoundOut(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	k.must(k.v.connect(t.Context(), sandbox.Strava, "ada", 0))
	k.awaitSyncs()
	k.expire(sandbox.Strava)
	k.kill(sandbox.Strava, "refresh_token", onTheWayBackForGood, func(ctx context.Context, v *visitor) error {
		return v.check(ctx, sandbox.Strava)
	})
	k.endLease()
	// Half a minute later:
	k.exec(`UPDATE cairn.river_job SET scheduled_at = now() WHERE kind = 'look' AND state = 'scheduled'`)
	testkit.Eventually(t, "the card says that it needs its owner", func() bool {
		home, err := k.v.member(t.Context(), k.url+"/connections", nil)
		k.must(err)
		return home.needsOwner(sandbox.Strava)
	})
}

// aim is where a kill is aimed at, at random within it. What it hits is seen afterwards.
type aim int

const (
	onTheWayThere       aim = iota // the provider has not been asked
	onTheWayBack                   // it has answered
	atArrival                      // we have the answer, and begin to use and to store it, or have done so
	onTheWayBackForGood            // it has answered, and however late the kill is, the answer does not arrive before
)

// aimed is how long each part of the way is, and the longest after it.
const aimed = 30 * time.Millisecond

// killing is one person with connections, and servers that die.
type killing struct {
	t *testing.T
	*fleet
	front  *front
	v      *visitor
	kills  int
	before int // the provider was not asked
	window int // the provider had carried it out, and we had not committed
	after  int // we had
	healed int // connections that said that they need their owner, and were brought back
}

func newKilling(t *testing.T) *killing {
	t.Helper()
	way := &front{}
	k := &killing{t: t, fleet: newFleetBehind(t, 2, way, mortal().Variable()), front: way}
	k.v = newVisitor(newSite(k.url, true))
	k.must(k.v.signUp(t.Context()))
	return k
}

func (k *killing) must(err error) {
	k.t.Helper()
	if err != nil {
		k.t.Fatalf("kill %d (%d before, %d in the window, %d after): %v", k.kills, k.before, k.window, k.after, err)
	}
}

// kill kills the instance that asks a provider for tokens, and replaces it. It reports whether the provider had carried
// the request out.
func (k *killing) kill(provider, grant string, at aim, ask func(context.Context, *visitor) error) (spent bool) {
	k.t.Helper()
	there, back := takes(aimed), takes(aimed)
	switch at {
	case atArrival:
		back = nil
	case onTheWayBackForGood:
		back = until(nil)
	}
	victim := k.kills % len(k.instances)
	k.kills++
	trip := k.front.next(provider, grant, there, back)
	asked := make(chan error, 1)
	go func() { asked <- ask(k.t.Context(), k.v.at(k.fleet, victim)) }()
	moment := map[aim]chan struct{}{onTheWayThere: trip.came, onTheWayBack: trip.done, onTheWayBackForGood: trip.done,
		atArrival: trip.sent}[at]
	select {
	case <-moment:
	case err := <-asked:
		k.must(fmt.Errorf("%s was not asked for tokens: %w", provider, err))
	}
	testkit.AtRandom(aimed)
	k.replace(victim, syscall.SIGKILL)
	if err := <-asked; err != nil && !errors.Is(err, errLost) {
		k.must(err)
	}
	<-trip.over
	if at == onTheWayBackForGood {
		k.front.next(provider, grant, nil, nil) // later answers arrive
	}
	return at != onTheWayThere || len(trip.done) > 0
}

// storedConnection is what the database has of a connection.
type storedConnection struct {
	IdentityID int64
	Subject    string
	Since      time.Time
	Generation int64 // counts token pairs; 0: there is no connection
}

func (k *killing) connection(provider string) storedConnection {
	k.t.Helper()
	rows, _ := k.pool.Query(k.t.Context(), `
		SELECT c.identity_id, i.subject, c.connected_at AS since, c.generation
		FROM cairn.connections c JOIN cairn.identities i ON i.id = c.identity_id WHERE c.provider = $1`, provider)
	c, err := pgx.CollectOneRow(rows, pgx.RowToStructByName[storedConnection])
	if !errors.Is(err, pgx.ErrNoRows) {
		k.must(err)
	}
	return c
}

// hit sees and counts what a kill hit.
func (k *killing) hit(spent bool, before, after storedConnection) (window bool) {
	switch {
	case after.Generation > before.Generation:
		k.after++
	case spent:
		k.window++
		return true
	default:
		k.before++
	}
	return false
}

// expire ends access tokens at the provider, and in our eyes.
func (k *killing) expire(provider string) {
	k.t.Helper()
	k.must(k.sandbox.ExpireTokens(k.t.Context(), provider))
	k.exec(expireOurs, provider)
}

// expireOurs lets the end that we know of come; clocks agree.
const expireOurs = `
	UPDATE cairn.connections SET token_expires_at = now() WHERE provider = $1 AND token_expires_at > now()`

// endLease lets the time pass for which others wait for an instance that died.
func (k *killing) endLease() {
	k.t.Helper()
	k.exec(`UPDATE cairn.connections SET refresh_lease_until = now() WHERE refresh_lease_until > now()`)
}

// used is how often the provider was asked whose account it is, which takes an access token.
func (k *killing) used(provider string) int {
	k.t.Helper()
	requests, err := k.sandbox.Requests(k.t.Context(), provider)
	k.must(err)
	return requests[sandbox.WhoAmI]
}

func (k *killing) exec(sql string, args ...any) {
	k.t.Helper()
	_, err := k.pool.Exec(k.t.Context(), sql, args...)
	k.must(err)
}

// refreshes kills a server that refreshes. What rotates is lost in the window, and only there.
func (k *killing) refreshes(provider string, at aim) {
	k.t.Helper()
	k.expire(provider)
	before, used := k.connection(provider), k.used(provider)
	check := func(ctx context.Context, v *visitor) error { return v.check(ctx, provider) }
	spent := k.kill(provider, "refresh_token", at, check)
	window := k.hit(spent, before, k.connection(provider))
	if window && k.used(provider) > used {
		k.t.Errorf("kill %d: the new token was used before it was stored", k.kills)
	}
	k.endLease()
	if works := k.wantWorking(provider); works == window {
		k.t.Errorf("kill %d: in the window: %v; the connection works: %v", k.kills, window, works)
	}
	k.wantSame(before, k.connection(provider))
}

// exchanges kills a server that connects somebody, for the first time or again.
func (k *killing) exchanges(provider string, at aim, first bool) {
	k.t.Helper()
	if first {
		k.exec(`DELETE FROM cairn.identities WHERE provider = $1`, provider)
	}
	before := k.connection(provider)
	connect := func(ctx context.Context, v *visitor) error { return v.connect(ctx, provider, "ada", 0) }
	spent := k.kill(provider, "authorization_code", at, connect)
	after := k.connection(provider)
	window := k.hit(spent, before, after)
	if after.Generation == 0 { // nothing is half done: the next attempt works
		home, err := k.v.member(k.t.Context(), k.url+"/connections", nil)
		k.must(err)
		if !strings.Contains(home.body, `id="card-`+provider+`" data-state="none"`) {
			k.t.Errorf("kill %d: %s is not connected, and its card does not say so", k.kills, provider)
		}
		k.must(k.v.connect(k.t.Context(), provider, "ada", 0))
	}
	k.expire(provider) // a connection that works can refresh, too
	if works := k.wantWorking(provider); !works && !window {
		k.t.Errorf("kill %d: outside the window it cost the connection", k.kills)
	}
	if before.Generation > 0 {
		k.wantSame(before, k.connection(provider))
	}
}

// wantWorking uses the connection, on either instance. If that fails, the card has to say that the
// connection needs its owner, and one click has to bring it back.
func (k *killing) wantWorking(provider string) (works bool) {
	k.t.Helper()
	use := func() bool {
		page, err := k.v.member(k.t.Context(), k.url+"/connections/"+provider+"/check", map[string][]string{})
		k.must(err)
		works := strings.Contains(page.body, "the connection works")
		if works != page.connected(provider) || !works && !page.needsOwner(provider) {
			k.must(fmt.Errorf("%s works: %v; its card says that it is connected: %v, that it needs its owner: %v",
				provider, works, page.connected(provider), page.needsOwner(provider)))
		}
		return works
	}
	if use() {
		return true
	}
	k.healed++
	k.must(k.v.connect(k.t.Context(), provider, "ada", 0))
	if !use() {
		k.must(fmt.Errorf("%s does not work after reconnecting", provider))
	}
	return false
}

func (p page) needsOwner(provider string) bool {
	return strings.Contains(p.body, `id="card-`+provider+`" data-state="needs_reconnect"`)
}

func (k *killing) wantSame(before, after storedConnection) {
	k.t.Helper()
	if after.IdentityID != before.IdentityID || after.Subject != before.Subject || !after.Since.Equal(before.Since) {
		k.t.Errorf("kill %d: the connection was %+v and is %+v", k.kills, before, after)
	}
}

func (k *killing) wantWindowHit() {
	k.t.Helper()
	k.t.Logf("%d kills: %d before the provider was asked, %d between its answer and the commit, %d after; "+
		"%d reconnected by their owner; the rest worked on",
		k.kills, k.before, k.window, k.after, k.healed)
	if k.window == 0 {
		k.t.Error("no kill fell between answer and commit: that proves nothing")
	}
}
