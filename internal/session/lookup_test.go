package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const statementTimeout = time.Minute

// asked is a query that the test ends.
type asked struct {
	ctx    context.Context
	tokens []string
	answer chan error
}

// database hands each query to the test and returns for each token a row that names it.
type database struct{ queries chan asked }

func newDatabase() (database, *lookups) {
	d := database{make(chan asked)}
	return d, &lookups{query: d.query, timeout: statementTimeout}
}

func (d database) query(ctx context.Context, tokens []string) (map[string]*row, error) {
	a := asked{ctx, slices.Clone(tokens), make(chan error)}
	select {
	case d.queries <- a:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case err := <-a.answer:
		return rowsOf(tokens), err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func rowsOf(tokens []string) map[string]*row {
	rows := map[string]*row{}
	for _, token := range tokens {
		if token != "unknown" {
			rows[token] = &row{Session: Session{Name: token}}
		}
	}
	return rows
}

// lookup is a find that is under way.
type lookup struct {
	cancel context.CancelFunc
	done   chan struct{}
	row    *row
	err    error
}

func begin(l *lookups, token string) *lookup {
	ctx, cancel := context.WithCancel(context.Background())
	k := &lookup{cancel: cancel, done: make(chan struct{})}
	go func() {
		k.row, k.err = l.find(ctx, token)
		close(k.done)
	}()
	synctest.Wait()
	return k
}

func (k *lookup) want(t *testing.T, token string) {
	t.Helper()
	<-k.done
	if k.err != nil || k.row == nil || k.row.Name != token {
		t.Errorf("got %+v, error %v, want %q", k.row, k.err, token)
	}
}

func (k *lookup) wantError(t *testing.T, want error) {
	t.Helper()
	<-k.done
	if !errors.Is(k.err, want) || k.row != nil {
		t.Errorf("got %+v, error %v, want the error %v", k.row, k.err, want)
	}
}

// occupy begins as many lookups as queries may run.
func occupy(d database, l *lookups) (busy [maxLookups]asked) {
	for i := range busy {
		begin(l, fmt.Sprint("busy ", i))
		busy[i] = <-d.queries
	}
	return busy
}

func TestALoneLookupStartsAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDatabase()
		began := time.Now()
		for range 3 {
			k := begin(l, "ada")
			q := <-d.queries
			if len(q.tokens) != 1 || time.Since(began) != 0 {
				t.Errorf("it was asked for %q after %v", q.tokens, time.Since(began))
			}
			q.answer <- nil
			k.want(t, "ada")
		}
	})
}

func TestLookupsShareAQuery(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDatabase()
		busy := occupy(d, l)
		tokens := []string{"ada", "moss", "unknown", "ada"}
		var waiting []*lookup
		for _, token := range tokens {
			waiting = append(waiting, begin(l, token))
		}
		busy[0].answer <- nil
		q := <-d.queries
		if !slices.Equal(q.tokens, tokens) {
			t.Errorf("one query was for %q, want %q", q.tokens, tokens)
		}
		// A lookup that begins now must not get the rows of this query.
		late := begin(l, "late")
		q.answer <- nil
		for i, token := range tokens {
			if token == "unknown" {
				<-waiting[i].done
				if waiting[i].row != nil || waiting[i].err != nil {
					t.Errorf("a row for an unknown token: %+v", waiting[i])
				}
				continue
			}
			waiting[i].want(t, token)
		}
		q = <-d.queries
		q.answer <- nil
		late.want(t, "late")
		busy[1].answer <- nil
		synctest.Wait()
		if l.running != 0 || l.next != nil {
			t.Errorf("%d queries count as running", l.running)
		}
	})
}

func TestACancelledLookupCancelsNoOther(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDatabase()
		alone := begin(l, "alone")
		first := <-d.queries
		begin(l, "busy")
		second := <-d.queries
		leaves, stays := begin(l, "leaves"), begin(l, "stays")
		alone.cancel()
		leaves.cancel()
		leaves.wantError(t, context.Canceled)
		synctest.Wait()
		if first.ctx.Err() != nil {
			t.Error("the query was broken off, and its connection with it")
		}
		first.answer <- nil
		alone.want(t, "alone")
		(<-d.queries).answer <- nil
		stays.want(t, "stays")
		second.answer <- nil
	})
}

func TestAQueryThatHangsIsGivenUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDatabase()
		began := time.Now()
		occupy(d, l)
		time.Sleep(time.Second)
		patient := begin(l, "patient")
		q := <-d.queries // when the ones before it have been given up
		if waited := time.Since(began); waited != statementTimeout {
			t.Errorf("a query was given up after %v, want %v", waited, statementTimeout)
		}
		q.answer <- nil
		patient.want(t, "patient")
	})
}

func TestWhichErrorsALookupRepeats(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err   error
		again bool
	}{
		"cut":           {io.ErrUnexpectedEOF, true},
		"shutting down": {&pgconn.PgError{Code: "57P01"}, true},
		"crashed":       {&pgconn.PgError{Code: "57P02"}, true},
		"timeout":       {&pgconn.PgError{Code: "57014"}, false},
		"no such table": {&pgconn.PgError{Code: "42P01"}, false},
		"unreachable":   {&pgconn.ConnectError{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, l := newDatabase()
				k := begin(l, "ada")
				(<-d.queries).answer <- tt.err
				if !tt.again {
					k.wantError(t, tt.err)
					return
				}
				(<-d.queries).answer <- nil
				k.want(t, "ada")
				k = begin(l, "moss") // twice is enough
				(<-d.queries).answer <- tt.err
				(<-d.queries).answer <- tt.err
				k.wantError(t, tt.err)
			})
		})
	}
}

// A failed query fails the lookups that share it, and no others.
func TestAFailureStaysInItsBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, l := newDatabase()
		busy := occupy(d, l)
		unlucky := begin(l, "unlucky")
		busy[0].answer <- nil
		bad := &pgconn.PgError{Code: "XX000"}
		q := <-d.queries
		next := begin(l, "next")
		q.answer <- bad
		unlucky.wantError(t, bad)
		(<-d.queries).answer <- nil
		next.want(t, "next")
		busy[1].answer <- nil
	})
}

// Lookups begin and are cancelled at random while the rows change. Each returns the row of its own token, no older than
// the lookup, or the error of its own context.
func TestLookupsReturnTheirOwnRow(t *testing.T) {
	t.Parallel()
	const users, callers, each = 50, 64, 500
	var versions [users]atomic.Int64
	l := &lookups{timeout: statementTimeout, query: func(_ context.Context, tokens []string) (map[string]*row, error) {
		rows := map[string]*row{}
		for _, token := range tokens {
			user, _ := strconv.Atoi(token)
			rows[token] = &row{Session: Session{ID: versions[user].Load(), Name: token}}
		}
		if rand.N(20) == 0 {
			return rows, &pgconn.PgError{Code: "XX000"}
		}
		return rows, nil
	}}
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range each {
				user := rand.N(users)
				token, version := strconv.Itoa(user), versions[user].Add(1)
				ctx, cancel := context.WithCancel(t.Context())
				if rand.N(4) == 0 {
					go cancel()
				}
				r, err := l.find(ctx, token)
				if err == nil && (r == nil || r.Name != token || r.ID < version) {
					t.Errorf("%s at version %d got %+v", token, version, r)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
