package routes

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeated logs a failure that comes again and again, for everybody alike: at once the first time, and from then on
// once in a while how often it came since. A database that is away is one event and not thousands.
type repeated struct {
	log     *slog.Logger
	level   slog.Level
	message string
	every   time.Duration

	mu      sync.Mutex
	telling bool // the next line is due at a time that is set
	times   int  // since the last line
	last    []slog.Attr
}

// note counts a failure. attrs describe it; those of the last one are logged.
func (r *repeated) note(attrs ...slog.Attr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times, r.last = r.times+1, attrs
	if !r.telling {
		r.tell()
	}
}

// tell writes a line and sets the time of the next one.
func (r *repeated) tell() {
	attrs := append([]slog.Attr{slog.Int("times", r.times)}, r.last...)
	r.log.LogAttrs(context.Background(), r.level, r.message, attrs...)
	r.times, r.telling = 0, true
	time.AfterFunc(r.every, r.due)
}

func (r *repeated) due() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == 0 {
		r.telling = false
		return
	}
	r.tell()
}
