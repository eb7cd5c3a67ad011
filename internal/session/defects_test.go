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

// One test for each defect that was measured in stock scs with pgxstore. Two more, single-use values and parallel
// attempts in the session's data, can't occur, because attempts have a table of their own; package oauth tests that.

// slow is a handler that writes to the session and can be held while other requests run.
type slow struct{ entered, release chan struct{} }

func newSlow() slow { return slow{make(chan struct{}, 1), make(chan struct{})} }

func (s slow) handle(m *session.Manager, w http.ResponseWriter, r *http.Request) {
	m.Flash(r.Context(), "late")
	s.entered <- struct{}{}
	<-s.release
	_, _ = fmt.Fprint(w, "secret page")
}

// overlap runs act while a request of b is in the slow handler, and returns that request's response.
func overlap(s site, b browser, held slow, act func()) response {
	responses := make(chan response, 1)
	go func() { responses <- b.get(s.URL + "/slow") }()
	<-held.entered
	act()
	close(held.release)
	return <-responses
}

func TestOverlappingRequestDoesNotUndoSignOut(t *testing.T) {
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

func TestEndingOthersEndsThem(t *testing.T) {
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
	// Data that does not decode does not keep a session from its end.
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

func TestFailedSignInSetsNoCookie(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	refuseWrites(t, pool, "INSERT")
	if a := newBrowser(t, s).get(s.URL+fmt.Sprint("/signin/", user)).want(t, 503, "failed"); a.cookie != nil {
		t.Errorf("the response set %v", a.cookie)
	}
}

// A database that can't write fails no page that does not depend on a write.
func TestNoticeThatCannotBeSavedFailsNoPage(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	flash := func(m *session.Manager, w http.ResponseWriter, r *http.Request) {
		m.Flash(r.Context(), "x")
		_, _ = fmt.Fprint(w, "done")
	}
	s := newSite(t, session.Options{Pool: pool}, handlers{"/flash": flash})
	b := signIn(t, s, newUser(t, pool))
	b.get(s.URL+"/flash").want(t, 200, "done")
	refuseWrites(t, pool, "UPDATE")
	b.get(s.URL+"/flash").want(t, 200, "done")
	b.get(s.URL+"/who").want(t, 200, "true")
}

func TestSignInAfterTheFirstByteIsSaved(t *testing.T) {
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

func TestFailureDuringRotationDoesNotSignOut(t *testing.T) {
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

func TestOverlappingRequestDoesNotUndoRotation(t *testing.T) {
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

func TestUndecodableRowIsNoSession(t *testing.T) {
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

// pgxstore's clean-up goroutine races with its own stop, and its statement has no limit. It does not run.
func TestNoCleanUpGoroutine(t *testing.T) {
	session.New(session.Options{Pool: dbtest.New(t)})
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "pgxstore") {
		t.Error("a goroutine of pgxstore runs")
	}
}

func TestStatementsEndWithTheirContext(t *testing.T) {
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

func TestShortWritesFinishWhenTheBrowserHasGone(t *testing.T) {
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

func TestRotationDoesNotResetTheAbsoluteLimit(t *testing.T) {
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

func TestStaleCookieIsNotReplacedByAnAnonymousSession(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	held := newSlow()
	s := newSite(t, session.Options{Pool: pool}, handlers{"/slow": held.handle})
	user := newUser(t, pool)
	b := signIn(t, s, user)
	before := b.copied(s)
	b.get(s.URL + fmt.Sprint("/signin/", user)) // the old token is stale from here on
	a := overlap(s, before, held, func() {})
	if a.cookie != nil {
		t.Errorf("a request with a stale cookie got %v", a.cookie)
	}
	b.get(s.URL+"/who").want(t, 200, "true")
	if n := sessionsOf(t, pool, user); n != 1 {
		t.Errorf("%d sessions, want 1", n)
	}
}
