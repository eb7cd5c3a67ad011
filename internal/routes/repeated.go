package routes

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// repeated logs a failure that many requests share: at once the first time, and then at intervals how often it has come
// since. A database outage is one event and not thousands.
type repeated struct {
	log     *slog.Logger
	level   slog.Level
	message string
	every   time.Duration

	mu        sync.Mutex
	scheduled bool // the next line is
	times     int  // since the last line
	last      []slog.Attr
}

// note counts a failure. attrs describe it; those of the last one are logged.
func (r *repeated) note(attrs ...slog.Attr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times, r.last = r.times+1, attrs
	if !r.scheduled {
		r.write()
	}
}

// write writes a line and schedules the next one.
func (r *repeated) write() {
	attrs := append([]slog.Attr{slog.Int("times", r.times)}, r.last...)
	r.log.LogAttrs(context.Background(), r.level, r.message, attrs...)
	r.times, r.scheduled = 0, true
	time.AfterFunc(r.every, r.due)
}

func (r *repeated) due() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times == 0 {
		r.scheduled = false
		return
	}
	r.write()
}
