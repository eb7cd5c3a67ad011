package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/term"
)

// newLogger writes text for people at a terminal, and JSON for everything else. There, lines gather for a moment, because a
// write for each request takes a fifth of what a server can do (make bench); what is a warning or worse goes out at once, with
// all before it. flush writes what is left.
func newLogger(w io.Writer) (log *slog.Logger, flush func()) {
	if file, ok := w.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return slog.New(slog.NewTextHandler(w, nil)), func() {}
	}
	lines := &gathered{out: w}
	return slog.New(prompt{slog.NewJSONHandler(lines, nil), lines}), lines.flush
}

const (
	gatherFor = 100 * time.Millisecond // what a killed process may lose
	gatherMax = 64 << 10
)

// gathered is a writer that writes a moment later.
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
		_, _ = g.out.Write(g.buf) // there is nowhere to say that the log can't be written
		g.buf = g.buf[:0]
	}
}

// prompt is a handler whose warnings do not wait.
type prompt struct {
	slog.Handler
	lines *gathered
}

func (h prompt) Handle(ctx context.Context, r slog.Record) error {
	err := h.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.lines.flush()
	}
	return err
}

func (h prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{h.Handler.WithAttrs(attrs), h.lines}
}

func (h prompt) WithGroup(name string) slog.Handler {
	return prompt{h.Handler.WithGroup(name), h.lines}
}
