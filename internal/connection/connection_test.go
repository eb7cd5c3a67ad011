package connection_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
	"cairn/internal/seal"
	"cairn/internal/testkit"
)

func TestTokensRestSealed(t *testing.T) {
	t.Parallel()
	r, owner := newConnected(t, sandbox.Strava)
	token, err := r.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID)
	if err != nil {
		t.Fatal(err)
	}
	var sealed []byte
	if err := r.pool.QueryRow(t.Context(), `SELECT sealed_tokens FROM cairn.connections`).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, []byte(token)) {
		t.Error("the access token can be read in the database")
	}

	rotated := r.storeIn(r.pool, newSealer(t, 2, 1), oauth.Options{Limits: r.limits})
	again, err := rotated.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID)
	if err != nil || again != token {
		t.Errorf("with a new key in front: error %v", err)
	}
	lost := r.storeIn(r.pool, newSealer(t, 2), oauth.Options{Limits: r.limits})
	if _, err := lost.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID); !errors.Is(err, seal.ErrKey) {
		t.Errorf("with the old key gone: %v, want ErrKey", err)
	}

	other := r.owner() // tokens copied into another row don't open there
	r.connect(sandbox.Strava, other, "moss")
	r.exec(`UPDATE cairn.connections SET sealed_tokens = $1 WHERE user_id = $2`, sealed, other.UserID)
	if _, err := r.Token(t.Context(), r.providers[sandbox.Strava], other.UserID); !errors.Is(err, seal.ErrOpen) {
		t.Errorf("tokens of another row: %v, want ErrOpen", err)
	}
	if c := r.connection(sandbox.Strava, other); c.State != connection.NeedsReconnect || c.Cause != connection.Damaged {
		t.Errorf("with them it is %s, %s; want its owner to connect again", c.State, c.Cause)
	}
	if c := r.connection(sandbox.Strava, owner); c.State != connection.Active {
		t.Errorf("the row they were copied from is %s", c.State)
	}
	revoking, err := r.tryDisconnect(r.providers[sandbox.Strava], other.UserID)
	if last := r.last(sandbox.Strava, other); revoking || err != nil || last != "ended: not_told 0" {
		t.Errorf("disconnected: revoking %t, error %v, the history ends with %q", revoking, err, last)
	}
	r.connect(sandbox.Strava, other, "moss")
	if _, err := r.Token(t.Context(), r.providers[sandbox.Strava], other.UserID); err != nil {
		t.Errorf("connected again: %v", err)
	}
}

func TestReconnectAndOtherAccounts(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ada, moss := r.owner(), r.owner()
	r.connect(sandbox.Strava, ada, "ada", "read")
	r.exec(`UPDATE cairn.connections SET state = 'needs_reconnect', connected_at = now() - interval '3 days'`)
	before := r.connection(sandbox.Strava, ada)
	r.connect(sandbox.Strava, ada, "ada")
	after := r.connection(sandbox.Strava, ada)
	if after.State != "active" || !after.Since.Equal(before.Since) ||
		after.IdentityID != before.IdentityID || len(after.Granted) != 2 {
		t.Errorf("got %+v after %+v", after, before)
	}
	for _, tt := range []struct {
		name, person string
		owner        oauth.Owner
		want         error
	}{{"another user's", "ada", moss, auth.ErrLinked}, {"another of mine", "moss", ada, connection.ErrOtherAccount}} {
		back := r.decide(r.begin(sandbox.Strava, tt.owner), tt.person, "allow")
		grant, err := r.finish(sandbox.Strava, tt.owner, back)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.store(tt.owner, grant); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	if c := r.connection(sandbox.Strava, ada); c.Subject != before.Subject {
		t.Errorf("refused attempts changed the connection to %+v", c)
	}
	if c := r.connection(sandbox.Strava, moss); c.Subject != "" {
		t.Errorf("a refused attempt left %+v", c)
	}
	var n int
	if err := r.pool.QueryRow(t.Context(), `SELECT count(*) FROM cairn.identities`).Scan(&n); err != nil || n != 1 {
		t.Errorf("%d identities (error %v), want 1: what is refused leaves nothing", n, err)
	}
}

// An expired token is refreshed once, however many ask for it at the same moment on however many instances: the second
// refresh would use a token that the first made invalid.
func TestRaceRefreshHappensOnce(t *testing.T) {
	t.Parallel()
	eachRefreshing(t, func(t *testing.T, provider string) {
		r, owner := newConnected(t, provider)
		otherPool, err := pgxpool.NewWithConfig(t.Context(), r.pool.Config())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(otherPool.Close)
		other := r.storeIn(otherPool, newSealer(t, 1), oauth.Options{Limits: r.limits})
		stores := []*connection.Store{r.Store, other}
		for _, quota := range []string{sandbox.Quota, sandbox.ReadQuota} {
			r.set(sandbox.Strava, quota, "1000000,1000000") // each round makes a call
		}
		for round := range testkit.Rounds(t) {
			r.expire(provider)
			tokens := make([]string, 10)
			var wg sync.WaitGroup
			for i := range tokens {
				wg.Go(func() {
					token, err := stores[i%2].Token(t.Context(), r.providers[provider], owner.UserID)
					if err != nil {
						t.Error(err)
					}
					tokens[i] = token
				})
			}
			wg.Wait()
			for _, token := range tokens {
				if token != tokens[0] {
					t.Fatal("two callers got different tokens")
				}
			}
			if n := r.requests(provider, "refresh_token"); n != round+1 {
				t.Fatalf("%d refreshes after %d rounds", n, round+1)
			}
			if err := r.Check(t.Context(), r.providers[provider], owner.UserID); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRefreshGoesOnWhenTheBrowserLeaves(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Strava)
	p, arrived, let := r.delayed(sandbox.Strava)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := r.Token(ctx, p, owner.UserID)
		done <- err
	}()
	select {
	case <-arrived:
	case err := <-done:
		t.Fatalf("the refresh ended without a call: %v", err)
	}
	leave()
	close(let)
	<-done
	if err := r.Check(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		t.Errorf("the refreshed tokens were lost: %v", err)
	}
	if n := r.requests(sandbox.Strava, "refresh_token"); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
}

// Others wait for a lease that holds. One that has run out belongs to an instance that died.
func TestLeaseOfADeadInstance(t *testing.T) {
	t.Parallel()
	r, owner := newExpired(t, sandbox.Strava)
	r.exec(`UPDATE cairn.connections SET refresh_lease = 'dead', refresh_lease_until = now() + interval '1 second'`)
	if _, err := r.Token(t.Context(), r.providers[sandbox.Strava], owner.UserID); err != nil {
		t.Fatal(err)
	}
	var free bool
	err := r.pool.QueryRow(t.Context(), `SELECT refresh_lease IS NULL FROM cairn.connections`).Scan(&free)
	if err != nil || !free {
		t.Errorf("the lease is not given back (error %v)", err)
	}
	r.wantToken(sandbox.Strava, owner, 1)
}

func TestCheck(t *testing.T) {
	t.Parallel()
	revoke := func(r rig, provider string) {
		if err := r.sandbox.RevokeGrant(r.t.Context(), r.grants(provider)[0].ID); err != nil {
			r.t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		prepare func(r rig, provider string)
		want    string // kind of error, "<nil>" for none
		state   connection.State
		except  string // a provider whose tokens don't expire
	}{
		{
			name:    "works",
			prepare: func(rig, string) {},
			want:    "<nil>",
			state:   "active",
		},
		{
			name:    "expired",
			prepare: func(r rig, p string) { r.expire(p) },
			want:    "<nil>",
			state:   "active",
			except:  sandbox.Foursquare,
		},
		{
			name: "expired there, good by our clock",
			prepare: func(r rig, p string) {
				if err := r.sandbox.ExpireTokens(r.t.Context(), p); err != nil {
					r.t.Fatal(err)
				}
			},
			want:   "<nil>",
			state:  "active",
			except: sandbox.Foursquare,
		},
		{
			name:    "revoked",
			prepare: revoke,
			want:    connection.ErrReconnect.Error(),
			state:   "needs_reconnect",
		},
		{
			name:    "expired and revoked",
			prepare: func(r rig, p string) { r.expire(p); revoke(r, p) },
			want:    connection.ErrReconnect.Error(),
			state:   "needs_reconnect",
			except:  sandbox.Foursquare,
		},
	}
	for _, tt := range tests {
		for provider := range makers {
			if provider == tt.except {
				continue
			}
			t.Run(tt.name+" "+provider, func(t *testing.T) {
				t.Parallel()
				r, owner := newConnected(t, provider)
				r.exec(`UPDATE cairn.connections SET account_name = 'old', checked_at = now() - interval '1 day'`)
				tt.prepare(r, provider)
				err := r.Check(t.Context(), r.providers[provider], owner.UserID)
				if kind := kindOf(err); kind != tt.want {
					t.Errorf("got %v, want %s", err, tt.want)
				}
				c := r.connection(provider, owner)
				if c.State != tt.state {
					t.Errorf("state %s, want %s", c.State, tt.state)
				}
				if (tt.want == "<nil>") != (c.Name != "old") {
					t.Errorf("after %q the name is %q", tt.want, c.Name)
				}
				if len(c.Granted) == 0 {
					t.Error("the permissions are forgotten")
				}
				for _, secret := range []string{"s3cr3t", "http"} {
					if err != nil && strings.Contains(err.Error(), secret) {
						t.Errorf("the error contains %q: %v", secret, err)
					}
				}
			})
		}
	}
}
