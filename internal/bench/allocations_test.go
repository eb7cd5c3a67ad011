package bench

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/go-chi/chi/v5"

	"cairn/db"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/routes"
	"cairn/internal/seal"
	"cairn/internal/session"
	"cairn/web"
)

// BenchmarkRequest counts what a request allocates, in our handler and in the one with the raw SELECT.
func BenchmarkRequest(b *testing.B) {
	m := newMachine(b)
	address := m.ours("small")
	fill(b, address, cookies, "30 days")
	rival := chi.NewRouter()
	rival.Get("/api/auth/me", raw(connect(b, address)))
	for name, handler := range map[string]http.Handler{"ours": ourHandler(b, address), "raw": rival} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, "/api/auth/me", nil)
			r.AddCookie(&http.Cookie{Name: "session", Value: token(7)})
			for b.Loop() {
				w := httptest.NewRecorder()
				if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
					b.Fatalf("%d %s", w.Code, w.Body)
				}
			}
		})
	}
}

func ourHandler(b *testing.B, address string) http.Handler {
	b.Helper()
	pool, err := db.Open(b.Context(), address, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	sealer, err := seal.New(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	site, err := routes.ReadWeb(web.Files)
	if err != nil {
		b.Fatal(err)
	}
	handler, err := routes.New(routes.Deps{
		PublicURL: &url.URL{Scheme: "http", Host: "localhost"},
		Log:       slog.New(slog.NewJSONHandler(io.Discard, nil)),
		Sessions:  session.New(session.Options{Pool: pool}),
		Accounts:  auth.New(pool, "bench", auth.Options{}),
		Connections: connection.New(connection.Deps{
			Pool: pool, Sealer: sealer, Client: oauth.NewClient(pool, oauth.Options{}),
		}),
		Web:   site,
		Ready: func(ctx context.Context) error { return db.Ready(ctx, pool) },
	})
	if err != nil {
		b.Fatal(err)
	}
	return handler
}
