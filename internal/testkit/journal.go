package testkit

import (
	"encoding/json"
	"strings"
	"sync"
)

// Journal is a log that one goroutine writes while others read it.
type Journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *Journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *Journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// ReadyAt returns the address that a server has logged, or "" if it has logged none yet.
func (j *Journal) ReadyAt() string {
	for line := range strings.Lines(j.String()) {
		if address, ok := ReadyAt(line); ok {
			return address
		}
	}
	return ""
}

// ReadyAt returns the server's address if a log line says it.
func ReadyAt(line string) (address string, ok bool) {
	var logged struct{ Msg string }
	_ = json.Unmarshal([]byte(line), &logged)
	_, address, ok = strings.Cut(logged.Msg, "ready: open ")
	return address, ok
}
