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

// Two hundred people are signed in on two instances. While some of them sign out and many requests are cancelled on the
// way, every answer is its own person's, and none is given to somebody whose sign-out was answered before they asked.
func TestEveryAnswerIsItsOwnPersons(t *testing.T) {
	t.Parallel()
	const people, callers = 200, 64
	pool, sites := fleet(t)
	type person struct {
		browser
		id  int64
		out atomic.Bool // the sign-out was answered
	}
	var all [people]person
	for i := range all {
		all[i].id = newUser(t, pool)
		all[i].browser = signIn(t, sites[i%2], all[i].id)
	}
	var wg sync.WaitGroup
	var answers, cancelled atomic.Int64
	for range callers {
		wg.Go(func() {
			for range testkit.Rounds(t) / 4 {
				who, s := &all[rand.N(people)], sites[rand.N(2)]
				wasOut := who.out.Load()
				if rand.N(200) == 0 {
					who.get(s.URL + "/out")
					who.out.Store(true)
					continue
				}
				ctx, cancel := context.WithCancel(t.Context())
				if rand.N(5) == 0 {
					go cancel()
				}
				text, err := who.ask(ctx, s.URL+"/who")
				cancel()
				switch {
				case err != nil:
					cancelled.Add(1)
				case text == fmt.Sprint("true ", who.id) && wasOut:
					t.Error("somebody who had signed out was served")
				case text != fmt.Sprint("true ", who.id) && !strings.HasPrefix(text, "false"):
					t.Errorf("%d was answered %q", who.id, text)
				default:
					answers.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if answers.Load() == 0 || cancelled.Load() == 0 {
		t.Errorf("%d answers, %d cancelled: want some of both", answers.Load(), cancelled.Load())
	}
}

// ask is get for a request that may be cancelled.
func (b browser) ask(ctx context.Context, url string) (string, error) {
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
