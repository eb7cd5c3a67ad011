package db_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"cairn/db/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// journal collects log lines, and closes first at the first one.
type journal struct {
	first chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
}

func newJournal() (*journal, *slog.Logger) {
	j := &journal{first: make(chan struct{})}
	return j, slog.New(slog.NewJSONHandler(j, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (j *journal) Write(line []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.text.Len() == 0 {
		close(j.first)
	}
	return j.text.Write(line)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
