package node

import (
	"log/slog"
	"sync"
	"time"
)

// trouble logs why that server's tables can't be used, once a minute.
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
	t.log.Error("tables of the Node server can't be used: see server doctor", "error", err, "times", t.missed)
	t.logged, t.missed = time.Now(), 0
}
