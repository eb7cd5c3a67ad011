package session_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
)

// A read-only database fails no page and loses no message.
func TestMessageOutlivesAReadOnlyDatabase(t *testing.T) {
	t.Parallel()
	pool, sites := fleet(t)
	s := sites[0]
	b := signIn(t, s, newUser(t, pool))
	b.get(s.URL+"/write").want(t, 200, "true")
	refuseWrites(t, pool, "UPDATE")
	for range 2 {
		if a := b.get(s.URL+"/who").want(t, 200, "true"); !strings.HasSuffix(a.body, " x") {
			t.Errorf("the page says %q, want the message on it", a.body)
		}
	}
	exec(t, pool, `DROP TRIGGER refuse ON cairn.sessions`)
	b.get(s.URL + "/who")
	if a := b.get(s.URL + "/who"); strings.HasSuffix(a.body, " x") {
		t.Errorf("the message is shown again: %q", a.body)
	}
}

// A failed update of last_seen is made up for by the next one.
func TestTouchOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t)
	s := newSite(t, session.Options{Pool: pool}, nil)
	user := newUser(t, pool)
	b := signIn(t, s, user)
	exec(t, pool, `UPDATE cairn.sessions SET last_seen = now() - interval '1 hour'`)
	b.get(s.URL+"/who").want(t, 200, "true")
	refuseWrites(t, pool, "UPDATE")
	if err := s.SaveLastSeen(t.Context()); err == nil {
		t.Error("a failed update was not reported")
	}
	exec(t, pool, `DROP TRIGGER refuse ON cairn.sessions`)
	if err := s.SaveLastSeen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if scalar[bool](t, pool, `SELECT last_seen < now() - interval '1 minute' FROM cairn.sessions`) {
		t.Error("last_seen was not saved")
	}
}

// tracer counts the statements of a pool.
type tracer struct{ statements atomic.Int64 }

func (c *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	c.statements.Add(1)
	return ctx
}

func (c *tracer) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// A signed-in request that only reads is one statement, and changes nothing in the database.
func TestReadingIsOneStatementAndNoWrite(t *testing.T) {
	t.Parallel()
	counted, pool := &tracer{}, dbtest.New(t)
	config := pool.Config()
	config.ConnConfig.Tracer = counted
	traced, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(traced.Close)
	s := newSite(t, session.Options{Pool: traced}, nil)
	b := signIn(t, s, newUser(t, pool))
	image := func() string { // the row, and which transaction wrote or locked it
		return scalar[string](t, pool, `SELECT xmin::text || xmax::text || s::text FROM cairn.sessions s`)
	}
	before, statements := image(), counted.statements.Load()
	const requests = 20
	for range requests {
		b.get(s.URL+"/who").want(t, 200, "true")
	}
	if n := counted.statements.Load() - statements; n != requests {
		t.Errorf("%d statements for %d requests", n, requests)
	}
	if after := image(); after != before {
		t.Errorf("the row was %s and is %s", before, after)
	}
}
