package node

import (
	"log/slog"
	"sync"
	"time"
)

// trouble logs what keeps sessions from being adopted, once a minute.
type trouble struct {
	log    *slog.Logger
	mu     sync.Mutex
	logged time.Time
	missed int
}

func (t *trouble) note(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.missed++
	if time.Since(t.logged) < time.Minute {
		return
	}
	t.log.Error("sessions of the Node server can't be adopted: see server doctor", "error", err, "visits", t.missed)
	t.logged, t.missed = time.Now(), 0
}
