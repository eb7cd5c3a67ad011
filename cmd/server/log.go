package main

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"

	"cairn/internal/admin"
)

// newLogger returns a logger that writes text to a terminal and JSON to everything else. Lines of JSON are buffered for
// a moment, because a write for each request costs a fifth of a server's throughput (make bench). A warning or an error
// is written at once, together with the lines before it. flush writes the lines that are still buffered.
func newLogger(w io.Writer, level slog.Level) (log *slog.Logger, flush func()) {
	options := &slog.HandlerOptions{Level: level}
	if admin.IsTerminal(w) {
		return slog.New(slog.NewTextHandler(w, options)), func() {}
	}
	lines := &gathered{out: w}
	return slog.New(prompt{slog.NewJSONHandler(lines, options), lines}), lines.flush
}

const (
	gatherFor = 100 * time.Millisecond // a killed process loses the lines of this time
	gatherMax = 64 << 10
)

// gathered is a writer that gathers what is written and passes it on a moment later.
type gathered struct {
	out io.Writer

	mu  sync.Mutex
	buf []byte
}

func (g *gathered) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.buf) == 0 {
		time.AfterFunc(gatherFor, g.flush)
	}
	g.buf = append(g.buf, p...)
	if len(g.buf) >= gatherMax {
		g.write()
	}
	return len(p), nil
}

func (g *gathered) flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.write()
}

func (g *gathered) write() {
	if len(g.buf) > 0 {
		_, _ = g.out.Write(g.buf) // there is no other place to report that the log can't be written
		g.buf = g.buf[:0]
	}
}

// prompt is a handler that does not buffer warnings, and that names the unit of durations.
type prompt struct {
	slog.Handler
	lines *gathered
}

func (h prompt) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, inMilliseconds(r))
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

func (h prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	named := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		named[i] = milliseconds(a)
	}
	return prompt{h.Handler.WithAttrs(named), h.lines}
}

func (h prompt) WithGroup(name string) slog.Handler {
	return prompt{h.Handler.WithGroup(name), h.lines}
}

// inMilliseconds returns r with its durations in milliseconds. In JSON they would be bare nanoseconds. slog's
// ReplaceAttr would double the cost of each line, and few lines have a duration.
func inMilliseconds(r slog.Record) slog.Record {
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = a.Value.Kind() == slog.KindDuration
		return !found
	})
	if !found {
		return r
	}
	named := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		named.AddAttrs(milliseconds(a))
		return true
	})
	return named
}

func milliseconds(a slog.Attr) slog.Attr {
	if a.Value.Kind() != slog.KindDuration {
		return a
	}
	return slog.Float64(a.Key+"_ms", float64(a.Value.Duration().Microseconds())/1000)
}
