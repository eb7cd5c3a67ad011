package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
	"cairn/internal/testkit"
)

// One test for each defect that stock scs with pgxstore was measured to have. Z4 and Z5 (single-use values and parallel
// attempts in the session's data) are closed by keeping attempts in a table of their own; package oauth tests that.

// slow is a handler that writes to the session and can be held while other requests run.
type slow struct{ entered, release chan struct{} }

func newSlow() slow { return slow{make(chan struct{}, 1), make(chan struct{})} }

func (s slow) handle(m *session.Manager, w http.ResponseWriter, r *http.Request) {
	m.Flash(r.Context(), "late")
	s.entered <- struct{}{}
	<-s.release
	_, _ = fmt.Fprint(w, "secret page")
}

// overlap runs act while a request of b is in the slow handler, and returns that request's answer.
func overlap(s site, b browser, held slow, act func()) answer {
	answers := make(chan answer, 1)
	go func() { answers <- b.get(s.URL + "/slow") }()
	<-held.entered
	act()
	close(held.release)
	return <-answers
}

func TestZ1OverlappingRequestDoesNotUndoSignOut(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	held := newSlow()
	s := newSite(t, session.Options{Pool: pool}, handlers{"/slow": held.handle})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	thief := b.copied(s)
	a := overlap(s, b.copied(s), held, func() { b.get(s.URL + "/out") })
	a.want(t, 401, "gone")
	if a.cookie != nil {
		t.Errorf("the late request set %v", a.cookie)
	}
	if n := sessionsOf(t, pool, user); n != 0 {
		t.Errorf("%d sessions after sign-out, want 0", n)
	}
	thief.get(s.URL+"/who").want(t, 200, "false")
}

func TestZ2EndingOthersEndsThem(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	others := func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
		current, _ := session.Current(r.Context())
		if _, err := m.EndOthers(r.Context(), pool, current.UserID, current.ID, session.EndedElsewhere); err != nil {
			panic(err)
		}
	}
	s := newSite(t, session.Options{Pool: pool}, handlers{"/others": others})
	user, bystander := newUser(t, pool), newUser(t, pool)
	here, phone, laptop, stranger := signIn(t, s, user), signIn(t, s, user), signIn(t, s, user), signIn(t, s, bystander)
	// This is Z9 in Z2.
	exec(t, pool, `
		UPDATE cairn.sessions SET data = 'not json'
		WHERE id = (SELECT max(id) FROM cairn.sessions WHERE user_id = $1)`, user)
	here.get(s.URL+"/others").want(t, 200, "")
	here.get(s.URL+"/who").want(t, 200, "true")
	phone.get(s.URL+"/who").want(t, 200, "false")
	laptop.get(s.URL+"/who").want(t, 200, "false")
	stranger.get(s.URL+"/who").want(t, 200, "true")
}

// refuseWrites makes every statement of this kind on the sessions fail, as a full disk would.
func refuseWrites(t *testing.T, pool *pgxpool.Pool, operation string) {
	t.Helper()
	exec(t, pool, `
		CREATE FUNCTION cairn.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN RAISE EXCEPTION 'disk full' USING ERRCODE = '53100'; END $$`)
	exec(t, pool, `
		CREATE TRIGGER refuse BEFORE `+operation+` ON cairn.sessions
		FOR EACH ROW EXECUTE FUNCTION cairn.refuse()`)
}

func TestZ3FailedSignInSetsNoCookie(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	refuseWrites(t, pool, "INSERT")
	if a := newBrowser(t, s).get(s.URL+fmt.Sprint("/signin/", user)).want(t, 503, "failed"); a.cookie != nil {
		t.Errorf("the answer set %v", a.cookie)
	}
}

// A page that needs nothing written is shown by a database that can't write.
func TestNoticeThatCannotBeSavedWithholdsNothing(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	tell := func(m *session.Manager, w http.ResponseWriter, r *http.Request) {
		m.Flash(r.Context(), "x")
		_, _ = fmt.Fprint(w, "done")
	}
	s := newSite(t, session.Options{Pool: pool}, handlers{"/tell": tell})
	b := signIn(t, s, newUser(t, pool))
	b.get(s.URL+"/tell").want(t, 200, "done")
	refuseWrites(t, pool, "UPDATE")
	b.get(s.URL+"/tell").want(t, 200, "done")
	b.get(s.URL+"/who").want(t, 200, "true")
}

func TestZ6WhatIsAskedAfterTheFirstByteIsSaved(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	late := func(m *session.Manager, w http.ResponseWriter, r *http.Request) {
		var user int64
		_, _ = fmt.Sscan(r.PathValue("user"), &user)
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprint(w, "begun")
		_ = http.NewResponseController(w).Flush()
		must(signInAs(r.Context(), m, user, true))
	}
	s := newSite(t, session.Options{Pool: pool}, handlers{"/late/{user}": late})
	user := newUser(t, pool)
	b := newBrowser(t, s)
	b.get(s.URL+fmt.Sprint("/late/", user)).want(t, 201, "begun")
	b.get(s.URL+"/who").want(t, 200, "true")
}

func TestZ7FailureDuringRotationSignsNobodyOut(t *testing.T) {
	t.Parallel()
	t.Run("save fails", func(t *testing.T) {
		t.Parallel()
		pool := dbtest.New(t)
		s := newSite(t, session.Options{Pool: pool}, nil)
		b := signIn(t, s, newUser(t, pool))
		refuseWrites(t, pool, "UPDATE")
		b.get(s.URL+"/rotate").want(t, 503, "failed")
		b.get(s.URL+"/who").want(t, 200, "true")
	})
	t.Run("insert fails", func(t *testing.T) {
		t.Parallel()
		pool := dbtest.New(t)
		s := newSite(t, session.Options{Pool: pool}, nil)
		user := newUser(t, pool)
		b := signIn(t, s, user)
		refuseWrites(t, pool, "INSERT")
		b.get(s.URL+fmt.Sprint("/signin/", user)).want(t, 503, "failed")
		b.get(s.URL+"/who").want(t, 200, "true")
	})
	t.Run("panic", func(t *testing.T) {
		t.Parallel()
		pool := dbtest.New(t)
		rotateAndPanic := func(m *session.Manager, _ http.ResponseWriter, r *http.Request) {
			must(rotate(r.Context(), m))
			panic("on purpose")
		}
		s := newSite(t, session.Options{Pool: pool}, handlers{"/panic": rotateAndPanic})
		b := signIn(t, s, newUser(t, pool))
		b.get(s.URL+"/panic").want(t, 500, "panicked")
		b.get(s.URL+"/who").want(t, 200, "true")
	})
}

func TestZ8OverlappingRequestDoesNotUndoRotation(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	held := newSlow()
	s := newSite(t, session.Options{Pool: pool}, handlers{"/slow": held.handle})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	thief := b.copied(s)
	overlap(s, thief.copied(s), held, func() { b.get(s.URL + "/rotate") }).want(t, 401, "gone")
	thief.get(s.URL+"/who").want(t, 200, "false")
	b.get(s.URL+"/who").want(t, 200, "true")
	if n := sessionsOf(t, pool, user); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestZ9UndecodableRowIsNoSession(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	for _, data := range []string{"", "null", "[1]", "\x7f gob", `{"a":`} {
		b := signIn(t, s, newUser(t, pool))
		exec(t, pool, `UPDATE cairn.sessions SET data = $1`, []byte(data))
		a := b.get(s.URL+"/who").want(t, 200, "false")
		if a.cookie == nil || a.cookie.MaxAge >= 0 {
			t.Errorf("data %q: got cookie %v, want it cleared", data, a.cookie)
		}
		b.get(s.URL+"/who").want(t, 200, "false")
	}
}

// Z10 and Z12 are defects of pgxstore's clean-up goroutine; Z18, of its statement. There is none.
func TestZ10Z12NoCleanUpGoroutine(t *testing.T) {
	session.New(session.Options{Pool: dbtest.New(t)})
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "pgxstore") {
		t.Error("a goroutine of pgxstore runs")
	}
}

func TestZ11StatementsEndWithTheirContext(t *testing.T) {
	t.Parallel()
	config := dbtest.New(t).Config()
	// These are the server's own limits.
	parameters := config.ConnConfig.RuntimeParams
	parameters["lock_timeout"], parameters["statement_timeout"] = "0", "0"
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	s := newSite(t, session.Options{Pool: pool}, nil)
	b := signIn(t, s, newUser(t, pool))
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.Background()) }()
	if _, err := tx.Exec(t.Context(), `LOCK TABLE cairn.sessions`); err != nil {
		t.Fatal(err)
	}
	hasty := newSite(t, session.Options{Pool: pool, LookupTimeout: 300 * time.Millisecond}, nil)
	b.copied(hasty).get(hasty.URL+"/who").want(t, 503, "failed") // by our own deadline, long before the browser's

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/who", nil)
	for _, cookie := range b.Jar.Cookies(mustURL(t, s.URL)) {
		r.AddCookie(cookie)
	}
	start := time.Now()
	s.Config.Handler.ServeHTTP(httptest.NewRecorder(), r)
	if took := time.Since(start); took > testkit.Patience {
		t.Errorf("a request with 50 ms took %v", took)
	}
}

func TestZ13ShortWritesFinishWhenTheBrowserHasGone(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	m := session.New(session.Options{Pool: pool})
	user := newUser(t, pool)
	ctx, leave := context.WithCancel(t.Context())
	hooks := session.Hooks{Address: func(*http.Request) string { return "" }}
	h := m.Handler(hooks)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		must(signInAs(r.Context(), m, user, true))
		leave()
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	if n := sessionsOf(t, pool, user); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}

func TestZ14RotationDoesNotResetTheAbsoluteLimit(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `
		UPDATE cairn.sessions
		SET created = now() - interval '364 days 23 hours 59 minutes', expiry = now() + interval '1 minute'`)
	b.get(s.URL + "/rotate")
	b.get(s.URL+"/who").want(t, 200, "true")
	left := scalar[float64](t, pool, `
		SELECT EXTRACT(epoch FROM LEAST(expiry, created + interval '365 days') - now())::float8
		FROM cairn.sessions`)
	if left > 60 {
		t.Errorf("the session has %.0f s left, want at most 60", left)
	}
	exec(t, pool, `
		UPDATE cairn.sessions
		SET created = now() - interval '365 days 1 second', expiry = now() + interval '20 days'`)
	b.get(s.URL+"/who").want(t, 200, "false")
}

func TestZ15DeadCookieIsNotReplacedByAnAnonymousSession(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	held := newSlow()
	s := newSite(t, session.Options{Pool: pool}, handlers{"/slow": held.handle})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	before := b.copied(s)
	b.get(s.URL + fmt.Sprint("/signin/", user)) // the old token is dead from here on
	a := overlap(s, before, held, func() {})
	if a.cookie != nil {
		t.Errorf("a request with a dead cookie was given %v", a.cookie)
	}
	b.get(s.URL+"/who").want(t, 200, "true")
	if n := sessionsOf(t, pool, user); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}
