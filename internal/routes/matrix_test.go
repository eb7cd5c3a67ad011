package routes_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cairn/internal/oauth"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// slowModes last until a call is given up. They are simulated where that is soon.
var slowModes = []string{sandbox.ModeHang, sandbox.ModeDrip, sandbox.ModeSlow}

const soon = 3 * time.Second

// TestProviderMatrix makes every call to every provider go wrong in every way, and checks what people
// see of it. Each call of a scene has a site of its own, where one way comes after the
// other. Few lanes are at work at once, so that a good call is not given up on a busy machine.
func TestProviderMatrix(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	var lanes errgroup.Group
	lanes.SetLimit(6)
	turn := 0
	for _, provider := range []string{sandbox.Strava, sandbox.Garmin, sandbox.Foursquare} {
		for _, s := range scenes {
			for _, call := range s.calls {
				if !playable(provider, s, call) {
					continue
				}
				modes := modesFor(call, turn)
				turn++
				lanes.Go(func() error {
					t.Run(provider+"/"+s.name+"/"+call, func(t *testing.T) { newLane(t, provider, call).run(s, modes) })
					return nil
				})
			}
		}
	}
	_ = lanes.Wait()
}

// modesFor returns the modes of a call. Calls take turns in which slow mode they meet, and in
// whether it comes last or first, while others need the processor. With MATRIX=all they meet all
// slow modes.
func modesFor(call string, turn int) []string {
	modes := slices.DeleteFunc(sandbox.Modes(call), func(mode string) bool { return slices.Contains(slowModes, mode) })
	if os.Getenv("MATRIX") == "all" {
		return append(modes, slowModes...)
	}
	slow := slowModes[turn%2 : turn%2+1]
	if turn%4 < 2 {
		return append(modes, slow...)
	}
	return slices.Concat(slow, modes)
}

// playable reports whether a provider has a call in a scene.
func playable(provider string, s scene, call string) bool {
	if s.name == "backfilling" {
		return provider == sandbox.Garmin
	}
	if s.name == "revoking" && call == sandbox.Refresh {
		return provider == sandbox.Garmin // the others need no live access token for it
	}
	return slices.Contains(sandbox.Calls(provider), call)
}

// lane is a site on which one call to one provider goes wrong, in one way after the other, and a
// person who is signed in there.
type lane struct {
	t *testing.T
	site
	hasty          site // where calls are given up soon
	provider, call string
	person         browser
	owner          int    // the person's id
	clearing       string // SQL
	wire           *wire
	reader         *reader
	baseline       int // goroutines
}

func newLane(t *testing.T, provider, call string) *lane {
	t.Helper()
	mark(t.Context(), t.Name())
	l := &lane{t: t, provider: provider, call: call, wire: &wire{secrets: map[string]bool{}}}
	l.site = newSiteWith(t, options{heard: l.wire.hear})
	hasty := patientCalls
	hasty.Call = soon
	l.hasty = newSiteWith(t, options{pool: l.pool, heard: l.wire.hear, calls: hasty})
	l.reader = &reader{Transport: &http.Transport{}}
	l.baseline = marked(t, t.Name())
	l.signIn()
	l.prepareClearing()
	for _, quota := range []string{sandbox.Quota, sandbox.ReadQuota} { // of no interest here
		switch {
		case provider == sandbox.Strava:
			l.setSwitch(quota, "999999,9999999")
		case provider == sandbox.Foursquare && quota == sandbox.Quota:
			l.setSwitch(quota, "9999999")
		}
	}
	return l
}

// signIn makes the person of the lane, who has nothing to do with its provider.
func (l *lane) signIn() {
	l.t.Helper()
	other := sandbox.Foursquare
	if l.provider == other {
		other = sandbox.Strava
	}
	l.person = newBrowser(l.t, l.site)
	l.person.Transport = l.reader
	l.person.get(l.person.decide(l.person.consent("/login/"+other), "ada", "allow")).to("/")
	l.owner = count(l.t, l.site, `SELECT id FROM cairn.users`)
}

func (l *lane) run(s scene, modes []string) {
	for _, mode := range modes {
		l.t.Run(strings.ReplaceAll(mode, " ", "_"), func(t *testing.T) {
			cell := *l
			cell.t, cell.person.t = t, t
			if slices.Contains(slowModes, mode) {
				cell.site, cell.person = l.hasty, cell.person.at(l.hasty)
			}
			want, _ := outcome(l.provider, s, l.call, mode)
			if want == "" {
				t.Fatal("no rule says what comes of this")
			}
			cell.set(sandbox.ModeNone)
			cell.clear()
			before := cell.requests()[sandbox.Elsewhere]
			s.play(&cell, mode, want)
			if n := cell.requests()[sandbox.Elsewhere] - before; n != 0 {
				t.Errorf("another host received %d requests", n)
			}
		})
		l.hasNoSecrets(mode)
	}
	l.rests()
}

// hasNoSecrets checks that pages and log lines of one mode have no secret.
func (l *lane) hasNoSecrets(mode string) {
	log := l.log.String() + l.hasty.log.String()
	for _, secret := range l.wire.found(l.reader.pages.String()) {
		l.t.Errorf("%s: a page has %.12s…", mode, secret)
	}
	for _, secret := range l.wire.found(log) {
		l.t.Errorf("%s: the log has %.12s…", mode, secret)
	}
	l.wire.forget()
	l.reader.pages.Reset()
	l.log.forget()
	l.hasty.log.forget()
}

// rests checks that no goroutine is left.
func (l *lane) rests() {
	l.server.Config.SetKeepAlivesEnabled(false) // which closes what is idle, at both ends
	l.hasty.server.Config.SetKeepAlivesEnabled(false)
	l.reader.CloseIdleConnections()
	what := fmt.Sprintf("no more goroutines than the %d from the beginning are left", l.baseline)
	testkit.Eventually(l.t, what, func() bool { return marked(l.t, l.t.Name()) <= l.baseline })
}

// set makes the lane's call go wrong from now on, and ends all waits that it caused before.
func (l *lane) set(mode string) {
	l.t.Helper()
	l.setSwitch(l.call, mode)
	l.later(l.t)
}

func (l *lane) setSwitch(name, value string) {
	l.t.Helper()
	if err := l.sandbox.SetSwitch(l.t.Context(), l.provider, name, value); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lane) exec(sql string, args ...any) {
	l.t.Helper()
	if _, err := l.pool.Exec(l.t.Context(), sql, args...); err != nil {
		l.t.Fatal(err)
	}
}

// clear empties our tables but for the person who is signed in.
func (l *lane) clear() {
	l.t.Helper()
	l.exec(`DELETE FROM cairn.users WHERE id <> $1`, l.owner)
	l.exec(l.clearing)
}

// prepareClearing says once which tables there are, so that new ones are not forgotten.
func (l *lane) prepareClearing() {
	l.t.Helper()
	err := l.pool.QueryRow(l.t.Context(), `
		SELECT string_agg(format('DELETE FROM cairn.%I', tablename), ';') FROM pg_tables
		WHERE schemaname = 'cairn'
		  AND tablename NOT IN ('users', 'sessions', 'budgets', 'providers', 'sign_in_methods', 'goose_db_version')
		  AND (tablename NOT LIKE 'river%' OR tablename = 'river_job')`).Scan(&l.clearing)
	if err != nil {
		l.t.Fatal(err)
	}
}

// stored checks that as many accounts are connected, each with its identity, and that no attempt is left.
func (l *lane) stored(want int) {
	l.t.Helper()
	var identities, connections, attempts int
	err := l.pool.QueryRow(l.t.Context(), `
		SELECT (SELECT count(*) FROM cairn.identities), (SELECT count(*) FROM cairn.connections),
		       (SELECT count(*) FROM cairn.oauth_attempts)`).
		Scan(&identities, &connections, &attempts)
	if err != nil {
		l.t.Fatal(err)
	}
	if identities != want || connections != want || attempts != 0 {
		l.t.Errorf("%d identities, %d connections and %d attempts are stored, want %d, %d and none",
			identities, connections, attempts, want, want)
	}
}

// requests counts what the lane's provider has received, by call.
func (l *lane) requests() map[string]int {
	l.t.Helper()
	counts, err := l.sandbox.Requests(l.t.Context(), l.provider)
	if err != nil {
		l.t.Fatal(err)
	}
	return counts
}

// expire ends the access token at the provider and, because clocks agree, in our eyes.
func (l *lane) expire() {
	l.t.Helper()
	if err := l.sandbox.ExpireTokens(l.t.Context(), l.provider); err != nil {
		l.t.Fatal(err)
	}
	l.exec(`UPDATE cairn.connections SET token_expires_at = now() - interval '1 minute'`)
}

// fetch does what the background does.
func (l *lane) fetch() {
	l.t.Helper()
	id := count(l.t, l.site, `SELECT identity_id FROM cairn.connections WHERE provider = $1`, l.provider)
	_ = l.entries.Fetch(l.t.Context(), l.at(l.provider), int64(id)) // the card shows the result
}

// ping is a message of Garmin's with an address to fetch from.
func (l *lane) ping() {
	l.t.Helper()
	grants, err := l.sandbox.Grants(l.t.Context(), sandbox.Garmin)
	if err != nil || len(grants) != 1 {
		l.t.Fatalf("%d grants (error %v), want one", len(grants), err)
	}
	address, err := l.sandbox.PullURL(l.t.Context(), grants[0].ID)
	if err != nil {
		l.t.Fatal(err)
	}
	body := `{"activities":[{"userId":"d3315b1072e84c1f9a7c1f0e5b6a9c01","callbackURL":"` + address + `"}]}`
	if status := postWebhook(l.t, l.site, garminPath, body, "garmin-client-id", "garmin-id"); status != http.StatusOK {
		l.t.Errorf("a ping was answered %d", status)
	}
}

func (s site) at(provider string) *oauth.Provider {
	return s.providers[slices.IndexFunc(s.providers, func(p *oauth.Provider) bool { return p.Key == provider })]
}

// revokes runs the revocation, and reports whether it is over.
func (l *lane) revokes() (done bool) {
	l.t.Helper()
	pending, err := l.connections.PendingRevocations(l.t.Context(), l.provider)
	if err != nil || len(pending) != 1 {
		l.t.Fatalf("%d revocations are pending (error %v), want one", len(pending), err)
	}
	return l.connections.Revoke(l.t.Context(), pending[0]) == nil
}
