package connection_test

import (
	"fmt"
	"slices"
	"testing"

	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/sandbox"
)

// story returns a connection's history, oldest first, without times.
func (r rig) story(provider string, owner oauth.Owner) (story []string) {
	r.t.Helper()
	overview, err := r.Overview(r.t.Context(), owner.UserID)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, e := range slices.Backward(overview.History[provider]) {
		story = append(story, fmt.Sprintf("%s: %s %d", e.State, e.Cause, e.Status))
	}
	return story
}

func TestHistoryHasEveryChangeOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	owner, other := r.owner(), r.owner()
	strava := r.providers[sandbox.Strava]
	r.connect(sandbox.Strava, other, "moss")
	check := func() { _ = r.Check(connection.WithReference(t.Context(), "ref1"), strava, owner.UserID) }
	r.connect(sandbox.Strava, owner, "ada")
	check() // works, as before
	r.set(sandbox.Strava, sandbox.API, "500")
	check()
	check() // the same trouble: recorded once
	r.set(sandbox.Strava, sandbox.API, "429")
	check()
	r.set(sandbox.Strava, sandbox.API, "403")
	check()
	r.set(sandbox.Strava, sandbox.API, sandbox.ModeNone)
	check()
	r.expire(sandbox.Strava)
	r.set(sandbox.Strava, sandbox.Token, sandbox.ModeReset)
	check()
	r.set(sandbox.Strava, sandbox.Token, sandbox.ModeNone)
	check()
	for _, g := range r.grants(sandbox.Strava) {
		if err := r.sandbox.RevokeGrant(t.Context(), g.ID); err != nil {
			t.Fatal(err)
		}
	}
	check()
	check()
	r.connect(sandbox.Strava, owner, "ada")
	want := []string{"paused: app_refused 403", "active: works 200", "trouble: no_answer 0", "active: works 200",
		"needs_reconnect: refresh_refused 400", "active: reconnected 0"}
	if got := r.story(sandbox.Strava, owner); !slices.Equal(got[2:], want) {
		t.Errorf("got %q, want %q at the end", got, want)
	}
	r.disconnect(sandbox.Strava, owner)
	if err := r.revoke(); err != nil {
		t.Fatal(err)
	}
	got := r.story(sandbox.Strava, owner)
	if len(got) != 8 || got[6] != "withdrawing: disconnected 0" || got[7] != "ended: told 0" ||
		got[0] != "paused: app_refused 403" {
		t.Errorf("got %q, want the 8 newest", got)
	}
	if got := r.story(sandbox.Strava, other); len(got) != 1 {
		t.Errorf("another person's history is %q", got)
	}
	var referenced int
	err := r.pool.QueryRow(t.Context(), `
		SELECT count(*) FROM cairn.connection_events WHERE reference = 'ref1'`).Scan(&referenced)
	if err != nil || referenced != 7 {
		t.Errorf("%d events have the id of their request (error %v), want 7", referenced, err)
	}
}
