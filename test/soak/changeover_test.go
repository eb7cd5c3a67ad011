package soak

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// changeOver is two servers of ours and one that plays the Node server, on one database.
type changeOver struct {
	*fleet
	site
	there, here string // addresses of that server and of one of ours, on the host of the site

	signedOut, signOuts, leaks atomic.Int64
}

func newChangeOver(t *testing.T, people int) *changeOver {
	t.Helper()
	const secrets = "the newest secret,an older secret"
	database := dbtest.NewPatientURL(t)
	testkit.Execute(t, database, testkit.NodeUsers, fmt.Sprintf(`
		INSERT INTO public.users (foursquare_user_id, display_name)
		SELECT 'f' || n, 'Ada ' || n FROM generate_series(1, %d) n`, people))
	c := &changeOver{there: testkit.Express{DatabaseURL: database, Secrets: secrets, MaxAge: "2592000000"}.Start(t)}
	resp, err := testkit.NewBrowser(t).Get(c.there + "/signin?user=1") // makes its table
	if err != nil || resp.Body.Close() != nil {
		t.Fatal(err)
	}
	day := time.Now().UTC().AddDate(0, 0, 30).Format(time.DateOnly)
	c.fleet = newFleetOn(t, database, 2, &front{}, "NODE_IMPORT=on", "NODE_WINDOW=both", "NODE_SESSIONS_UNTIL="+day,
		"NODE_SESSION_SECRET="+secrets, "NODE_ENCRYPTION_KEY=the key of that server")
	c.here = strings.Replace(c.balancer.backends[0].url.String(), "127.0.0.1", "localhost", 1)
	c.site = newSite(c.fleet.url, true)
	testkit.Eventually(t, "all people are imported", func() bool {
		return testkit.Ask[int](t, database, `SELECT count(*)::int FROM cairn.node_users`) == people
	})
	return c
}

// move sends all requests to the Node server, or to ours.
func (c *changeOver) move(there bool) {
	c.t.Helper()
	if !there {
		c.elsewhere.Store(nil)
		return
	}
	target, err := url.Parse(c.there)
	if err != nil {
		c.t.Fatal(err)
	}
	c.elsewhere.Store(newProxy(target, c.wires))
}

// signIn signs a person in at the Node server.
func (c *changeOver) signIn(ctx context.Context, node int) (*visitor, error) {
	v := newVisitor(c.site)
	_, err := v.open(ctx, fmt.Sprintf("%s/signin?user=%d", c.there, node), nil)
	return v, err
}

// isIn reports whether a server shows a browser as signed in, whichever of the two answers.
func isIn(p page) bool {
	return strings.Contains(p.body, `{"user":`) || strings.Contains(p.body, `<body class="member">`)
}

// look loads pages as a person who is signed in.
func (c *changeOver) look(ctx context.Context, v *visitor) {
	p, err := v.open(ctx, c.site.url+"/", nil)
	if err == nil && !isIn(p) {
		c.signedOut.Add(1)
		err = errSignedOut
	}
	c.figures.did("pages", err)
}

// leaveAt signs out on one server, and checks that this holds on both.
func (c *changeOver) leaveAt(ctx context.Context, v *visitor, there bool) error {
	form, at := url.Values{}, c.here+"/logout"
	if there {
		form, at = nil, c.there+"/signout"
	}
	if _, err := v.open(ctx, at, form); err != nil {
		return err
	}
	c.signOuts.Add(1)
	for _, address := range []string{c.there + "/me", c.here + "/account"} {
		p, err := v.open(ctx, address, nil)
		if err != nil {
			return err
		}
		if isIn(p) {
			c.leaks.Add(1)
			return errors.New("still signed in after signing out")
		}
	}
	return nil
}

// People are signed in at the Node server. All requests move to ours, back, and again to ours, while people look at
// pages, and others sign out: nobody is signed out by a move, no request fails, and each sign-out holds on both.
// make changeover-test does that many times, and prints figures.
func TestChangeOver(t *testing.T) {
	t.Parallel()
	rounds, people, pace := deployRounds(t, "CHANGEOVER_ROUNDS", 1), 100, 500*time.Millisecond
	if !measured() {
		people, pace = 20, 2*time.Second // beside other tests
	}
	c := newChangeOver(t, people)
	c.move(true)
	leaving := make(chan struct{})
	var crowd sync.WaitGroup
	var moves atomic.Int64
	looked := make([]atomic.Int64, people) // after how many moves each was last seen
	for i := range people {
		v, err := c.signIn(t.Context(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		crowd.Go(func() {
			for {
				select {
				case <-leaving:
					return
				default:
				}
				after := moves.Load()
				c.look(context.Background(), v)
				looked[i].Store(after)
				testkit.AtRandom(pace) // people look at what they see
			}
		})
	}
	for round := range rounds {
		for _, there := range []bool{false, true, false} {
			c.move(there)
			after := moves.Add(1)
			c.comeAndGo(people, round)
			testkit.Eventually(t, "everybody has looked since the move", func() bool {
				for i := range looked {
					if looked[i].Load() < after {
						return false
					}
				}
				return true
			})
		}
	}
	close(leaving)
	crowd.Wait()
	seen := c.figures
	seen.row(t, testkit.Cell("%d people, %d moves", people, moves.Load()), testkit.Cell("%d", len(seen.failures)),
		testkit.Cell("%d", c.signedOut.Load()), testkit.Cell("%d of %d", c.leaks.Load(), c.signOuts.Load()))
	if len(seen.failures) > 0 || len(seen.broken) > 0 {
		t.Errorf("%d requests failed:\n%s\nbroken:\n%s", len(seen.failures), some(seen.failures), some(seen.broken))
	}
	if seen.done["sign-outs"] == 0 {
		t.Errorf("only %d pages and %d sign-outs", seen.done["pages"], seen.done["sign-outs"])
	}
}

// comeAndGo lets people sign in at the Node server with other browsers, be seen by ours or not, and sign out again on
// one of the two.
func (c *changeOver) comeAndGo(people, round int) {
	c.t.Helper()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			ctx := context.Background()
			v, err := c.signIn(ctx, (round*8+i)%people+1)
			if err == nil && i%4 < 2 {
				_, err = v.open(ctx, c.here+"/", nil)
			}
			if err == nil {
				c.look(ctx, v)
				err = c.leaveAt(ctx, v, i%2 == 0 || i%4 > 1)
			}
			c.figures.did("sign-outs", err)
		})
	}
	all.Wait()
}
