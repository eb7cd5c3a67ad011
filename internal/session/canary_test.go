package session_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cairn/internal/testkit"
)

// Two hundred people are signed in on two instances. Some sign out, and many requests are cancelled. Each response is
// for the person who made the request, and after a sign-out there is none.
func TestRaceResponsesReachTheirOwnUser(t *testing.T) {
	t.Parallel()
	const people, callers = 200, 64
	pool, sites := fleet(t)
	type person struct {
		browser
		id  int64
		out atomic.Bool // the sign-out is complete
	}
	var all [people]person
	for i := range all {
		all[i].id = newUser(t, pool)
		all[i].browser = signIn(t, sites[i%2], all[i].id)
	}
	var wg sync.WaitGroup
	var responses, cancelled atomic.Int64
	for range callers {
		wg.Go(func() {
			for range max(1, testkit.Rounds(t)/4) {
				p, s := &all[rand.N(people)], sites[rand.N(2)]
				wasOut := p.out.Load()
				if rand.N(200) == 0 {
					p.get(s.URL + "/out")
					p.out.Store(true)
					continue
				}
				ctx, cancel := context.WithCancel(t.Context())
				if rand.N(5) == 0 {
					go cancel()
				}
				text, err := p.tryGet(ctx, s.URL+"/who")
				cancel()
				switch {
				case err != nil:
					cancelled.Add(1)
				case text == fmt.Sprint("true ", p.id) && wasOut:
					t.Error("a person who had signed out was served")
				case text != fmt.Sprint("true ", p.id) && !strings.HasPrefix(text, "false"):
					t.Errorf("user %d got %q", p.id, text)
				default:
					responses.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if responses.Load() == 0 || cancelled.Load() == 0 {
		t.Errorf("%d responses, %d cancelled: want some of both", responses.Load(), cancelled.Load())
	}
}

// tryGet is get for a request that may be cancelled.
func (b browser) tryGet(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := b.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(text)), err
}
