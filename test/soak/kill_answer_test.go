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

// The worst moment for a server to die is between a provider's answer and our commit: the code or refresh token is
// spent, and the tokens that came for it are lost. Afterwards a connection works, or says that its owner has to connect
// again, which takes one click.

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
	k.wantWindowHit("a token is refreshed (Strava, Garmin)")
}

func TestKillAroundExchange(t *testing.T) {
	t.Parallel()
	k := newKilling(t)
	for round := range deployRounds(t, "DEPLOY_ANSWER_KILLS", 6) {
		k.exchanges(config.Providers()[round%3].Key, aim((round+round/3)%3), rand.IntN(2) == 0)
	}
	k.wantWindowHit("somebody connects, for the first time or again (all three)")
}

// A connection whose tokens were lost does not claim to work until somebody uses it: the server that replaces the dead
// one finds out.
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
	testkit.Eventually(t, "the card asks its owner to connect again", func() bool {
		home, err := k.v.member(t.Context(), k.url+"/connections", nil)
		k.must(err)
		return home.needsOwner(sandbox.Strava)
	})
}

// aim is the part of a request at which a kill is aimed. The kill comes at a random point of it, and what it hit is
// checked afterwards.
type aim int

const (
	onTheWayThere       aim = iota // the provider has not been asked
	onTheWayBack                   // it has answered
	atArrival                      // we have the answer, and are about to store it or have stored it
	onTheWayBackForGood            // it has answered, and the answer never arrives
)

// aimed is how long each part takes, and the longest time until the kill.
const aimed = 30 * time.Millisecond

// killing is one person with connections on servers that are killed.
type killing struct {
	t *testing.T
	*fleet
	front  *front
	v      *visitor
	kills  int
	before int // the provider was not asked
	window int // the provider had answered, and we had not committed
	after  int // we had committed
	healed int // connections that their owner had to connect again
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

// kill kills and replaces the server that asks a provider for tokens. It reports whether the provider had carried out
// the request.
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

// storedConnection is a connection in the database.
type storedConnection struct {
	IdentityID int64
	Subject    string
	Since      time.Time
	Generation int64 // grows with each stored token pair; 0: there is no connection
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

// hit counts what a kill hit, and reports whether it was the window.
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

// expire makes access tokens expire, at the provider and in our database.
func (k *killing) expire(provider string) {
	k.t.Helper()
	k.must(k.sandbox.ExpireTokens(k.t.Context(), provider))
	k.exec(expireOurs, provider)
}

// expireOurs makes a provider's access tokens expire in our database.
const expireOurs = `
	UPDATE cairn.connections SET token_expires_at = now() WHERE provider = $1 AND token_expires_at > now()`

// endLease ends the leases for which others wait when a server has died.
func (k *killing) endLease() {
	k.t.Helper()
	k.exec(`UPDATE cairn.connections SET refresh_lease_until = now() WHERE refresh_lease_until > now()`)
}

// used returns how often the provider was asked whose account it is, which takes an access token.
func (k *killing) used(provider string) int {
	k.t.Helper()
	requests, err := k.sandbox.Requests(k.t.Context(), provider)
	k.must(err)
	return requests[sandbox.UserInfo]
}

func (k *killing) exec(sql string, args ...any) {
	k.t.Helper()
	_, err := k.pool.Exec(k.t.Context(), sql, args...)
	k.must(err)
}

// refreshes kills a server that refreshes tokens. A rotating refresh token is lost in the window, and only there.
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

// exchanges kills a server while somebody connects, for the first time or again.
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
	if after.Generation == 0 { // nothing is half done, so the next attempt works
		home, err := k.v.member(k.t.Context(), k.url+"/connections", nil)
		k.must(err)
		if !strings.Contains(home.body, `id="card-`+provider+`" data-state="none"`) {
			k.t.Errorf("kill %d: %s is not connected, and its card does not say so", k.kills, provider)
		}
		k.must(k.v.connect(k.t.Context(), provider, "ada", 0))
	}
	k.expire(provider) // a connection that works can refresh its tokens, too
	if works := k.wantWorking(provider); !works && !window {
		k.t.Errorf("kill %d: the connection is lost, but the kill was outside the window", k.kills)
	}
	if before.Generation > 0 {
		k.wantSame(before, k.connection(provider))
	}
}

// wantWorking uses the connection, on any server. If that fails, the card has to ask the owner to connect again, and
// connecting has to work.
func (k *killing) wantWorking(provider string) (works bool) {
	k.t.Helper()
	use := func() bool {
		var page page
		var works bool
		// On a busy machine a background call may get no answer just after the check: then the card waits for a moment.
		testkit.Eventually(k.t, provider+" works, or its card asks for its owner", func() bool {
			var err error
			page, err = k.v.member(k.t.Context(), k.url+"/connections/"+provider+"/check", map[string][]string{})
			k.must(err)
			works = strings.Contains(page.body, "the connection works")
			return !works || page.connected(provider) || page.needsOwner(provider)
		})
		if works != page.connected(provider) || !works && !page.needsOwner(provider) {
			k.must(fmt.Errorf("%s works: %v; its card says: connected %v, has to be connected again %v",
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

// wantWindowHit checks that the test met what it is about, and prints the row of docs/performance.md. A connection that
// claims to work and does not has ended the test before: 0.
func (k *killing) wantWindowHit(what string) {
	k.t.Helper()
	testkit.Row(k.t, what, testkit.Cell("%d", k.before), testkit.Cell("%d", k.window), testkit.Cell("%d", k.after),
		testkit.Cell("%d", k.kills-k.healed), testkit.Cell("%d", k.healed), "0")
	if k.window == 0 {
		k.t.Error("no kill fell between answer and commit, so this run proves nothing")
	}
}
