package testkit

import (
	"encoding/json"
	"strings"
	"sync"
)

// Journal is written by one goroutine and read by another.
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

// ReadyAt returns the address at which a server has said to be, "" if it has not.
func (j *Journal) ReadyAt() string {
	for line := range strings.Lines(j.String()) {
		if address, ok := ReadyAt(line); ok {
			return address
		}
	}
	return ""
}

// ReadyAt returns the address in the line of a log that says where the server is.
func ReadyAt(line string) (address string, ok bool) {
	var logged struct{ Msg string }
	_ = json.Unmarshal([]byte(line), &logged)
	_, address, ok = strings.Cut(logged.Msg, "ready: open ")
	return address, ok
}
