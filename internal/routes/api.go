package routes

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"cairn/internal/session"
)

// MePath is where clients ask who is signed in. They get JSON, errors included.
const MePath = "/api/auth/me"

// me says who is signed in, in the format of the Node server's /api/auth/me.
func (s *server) me(w http.ResponseWriter, r *http.Request) {
	current, ok := session.Current(r.Context())
	if !ok {
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "Authentication required"})
		return
	}
	var avatar *string
	if current.AvatarURL != "" {
		avatar = &current.AvatarURL
	}
	writeJSON(w, http.StatusOK, struct {
		ID          int64   `json:"id"`
		DisplayName string  `json:"displayName"`
		AvatarURL   *string `json:"avatarUrl"`
		LastSyncAt  *string `json:"lastSyncAt"` // always null; clients expect the field
	}{current.UserID, current.Name, avatar, nil})
}

// health answers in the format of the Node server's; its clients read both fields.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]string{
		"status":    "ok",
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	})
}

// healthz says that the process is alive, and which one it is. It doesn't ask the database: an outage there is no
// reason to restart us.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "instance": s.Instance})
}

// readyz says whether we can take traffic: the database answers, its schema is ours, and we are not stopping.
func (s *server) readyz(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := s.Ready(r.Context()); err != nil {
		s.notReady.note(slog.Any("error", err))
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"status": "unavailable"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func writeJSON(w http.ResponseWriter, status int, answer any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(answer) // an error means that the client has gone
}
