package routes

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"cairn/internal/session"
)

// me answers who is signed in, in the words of the Node server's /api/auth/me.
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
		LastSyncAt  *string `json:"lastSyncAt"` // nothing is synchronised; clients expect the field
	}{current.UserID, current.Name, avatar, nil})
}

// health is the Node server's: it says that the process answers, and its clients read the two fields.
func (s *server) health(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]string{
		"status":    "ok",
		"timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	})
}

// healthz says that the process lives, and which one it is. It asks nobody: a database that is down
// is no reason to restart us.
func (s *server) healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "instance": s.Instance})
}

// readyz says whether traffic is welcome: the database answers, its schema is ours, and we are not stopping.
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
	_ = json.NewEncoder(w).Encode(answer) // the client has gone: nobody is left to tell
}
