package metrics

import (
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db/dbtest"
	"cairn/internal/session"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// scrape returns the metrics of a database.
func scrape(t *testing.T, pool *pgxpool.Pool) string {
	t.Helper()
	m := New(pool, time.Minute)
	m.Count(session.New(session.Options{Pool: pool}), pool)
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return answer.Body.String()
}
