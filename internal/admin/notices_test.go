package admin

import (
	"io"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// A command that takes a message may not hang for ever.
func TestNoticesCommandsHaveATimeLimit(t *testing.T) {
	t.Parallel()
	began := time.Now()
	err := notifier{said: io.Discard, limit: 50 * time.Millisecond}.give(t.Context(), "exec sleep 600", nil)
	if err == nil || !strings.Contains(err.Error(), "more than 50ms") || time.Since(began) > testkit.Patience {
		t.Errorf("error %v after %v", err, time.Since(began))
	}
}
