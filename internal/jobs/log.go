package jobs

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// warnings drops what river reports about itself every few seconds, and what it has logged in the last minute: while
// the database is unreachable, each queue repeats its error every second. It also drops reports that river did not
// finish something because it was stopped.
type warnings struct {
	slog.Handler
	said *sync.Map // when, by message
}

func newWarnings(h slog.Handler) warnings { return warnings{h, new(sync.Map)} }

const sayAgain = time.Minute

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) Handle(ctx context.Context, record slog.Record) error {
	stopped := false
	record.Attrs(func(a slog.Attr) bool {
		stopped = a.Key == "err" && a.Value.String() == context.Canceled.Error()
		return !stopped
	})
	if stopped {
		return nil
	}
	if last, ok := h.said.Load(record.Message); ok && record.Time.Sub(last.(time.Time)) < sayAgain {
		return nil
	}
	h.said.Store(record.Message, record.Time)
	return h.Handler.Handle(ctx, record)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs), h.said}
}

func (h warnings) WithGroup(name string) slog.Handler {
	return warnings{h.Handler.WithGroup(name), h.said}
}

// failures logs each failed attempt.
type failures struct{ log *slog.Logger }

func (f failures) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	f.log.WarnContext(ctx, "job failed", "kind", job.Kind, "job", job.ID,
		"attempt", job.Attempt, "last", job.Attempt >= job.MaxAttempts, "error", err)
	return nil
}

// HandlePanic has nothing to add: river writes a line with the stack.
func (f failures) HandlePanic(context.Context, *rivertype.JobRow, any, string) *river.ErrorHandlerResult {
	return nil
}
