package bench

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alexedwards/scs/pgxstore"
	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// runRival names the variable that makes the test binary play a server that ours is compared with: "raw", "stock" or
// "sliding".
const runRival = "CAIRN_BENCH_PLAYS"

// person is what every server answers.
type person struct {
	ID          int64   `json:"id"`
	DisplayName string  `json:"displayName"`
	AvatarURL   *string `json:"avatarUrl"`
	LastSyncAt  *string `json:"lastSyncAt"`
}

func play(rival, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	pool, err := pgxpool.New(ctx, address)
	if err != nil {
		return err
	}
	defer pool.Close()
	router := chi.NewRouter()
	router.Get("/healthz", func(http.ResponseWriter, *http.Request) {})
	switch rival {
	case "raw":
		router.Get("/api/auth/me", raw(pool))
	case "stock", "sliding":
		stock(router, pool, rival == "sliding")
	}
	server := &http.Server{Addr: ":" + os.Getenv("PORT"), Handler: router, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// raw does the least that a handler can do: it hashes the token and runs one prepared SELECT of the session and its
// user by primary key.
func raw(pool *pgxpool.Pool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var p person
		cookie, err := r.Cookie("session")
		if err == nil {
			err = pool.QueryRow(r.Context(), `
				SELECT u.id, u.display_name, u.avatar_url
				FROM cairn.sessions s
				JOIN cairn.users u ON u.id = s.user_id
				WHERE s.token = $1 AND now() < s.expiry`,
				hashed(cookie.Value)).Scan(&p.ID, &p.DisplayName, &p.AvatarURL)
		}
		answer(w, p, err)
	}
}

// stock is scs with pgxstore as their READMEs show them, with a lifetime alone or with a sliding expiry.
func stock(router chi.Router, pool *pgxpool.Pool, sliding bool) {
	sessions := scs.New()
	sessions.Store = pgxstore.NewWithCleanupInterval(pool, 0)
	sessions.Lifetime = 30 * 24 * time.Hour
	if sliding {
		sessions.IdleTimeout = 24 * time.Hour
	}
	router.With(sessions.LoadAndSave).Get("/api/auth/me", func(w http.ResponseWriter, r *http.Request) {
		p := person{ID: sessions.GetInt64(r.Context(), "id"), DisplayName: sessions.GetString(r.Context(), "name")}
		var err error
		if p.ID == 0 {
			err = errors.New("not signed in")
		}
		answer(w, p, err)
	})
}

func answer(w http.ResponseWriter, p person, err error) {
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
	}
	_ = json.NewEncoder(w).Encode(p)
}

// hashed returns a token as scs's HashTokenInStore stores it.
func hashed(token string) string {
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// token returns the token of the nth session.
func token(n int) string {
	hash := sha256.Sum256(fmt.Appendf(nil, "session %d", n))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}
