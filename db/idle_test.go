package db_test

import (
	"syscall"
	"testing"

	"cairn/db"
	"cairn/db/dbtest"

	"github.com/jackc/pgx/v5/pgxpool"
)

// A connection that PostgreSQL closed while it was idle must not fail the next statement, however soon that comes.
func TestARestartIsNotNoticedAfterwards(t *testing.T) {
	t.Parallel()
	postgres := dbtest.NewCluster(t)
	pool, err := db.Open(t.Context(), postgres.URL()+"&pool_max_conns=4", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	signals := map[string]syscall.Signal{
		"fast":      syscall.SIGINT,
		"immediate": syscall.SIGQUIT,
		"killed":    syscall.SIGKILL,
	}
	for name, signal := range signals {
		var conns []*pgxpool.Conn
		for range pool.Config().MaxConns {
			conn, err := pool.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		for _, conn := range conns {
			conn.Release()
		}
		postgres.Stop(signal)
		postgres.Start()
		if _, err := pool.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
