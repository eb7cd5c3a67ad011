package sandbox

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// usage is the number of API calls, the present one included.
type usage struct{ Quarter, Hour, Day int }

// over reports whether this is more than a quota "quarter,day" allows.
func (u usage) over(quota string) bool {
	quarter, day, _ := strings.Cut(quota, ",")
	return u.Quarter > number(quarter) || u.Day > number(day)
}

// number reads a setting that its switch has checked.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

func (s store) countCall(ctx context.Context, provider string, whose []byte) (usage, error) {
	if whose == nil {
		whose = []byte{} // never nil: the column is NOT NULL
	}
	_, err := s.pool.Exec(ctx, `
		INSERT INTO cairn_sandbox.quota_use (provider, token, quarter, calls)
		VALUES ($1, $2, date_bin('15 minutes', now(), 'epoch'), 1)
		ON CONFLICT (provider, token, quarter) DO UPDATE SET calls = quota_use.calls + 1`, provider, whose)
	if err != nil {
		return usage{}, fmt.Errorf("sandbox: count API call: %w", err)
	}
	used, _, err := oneRow[usage](ctx, s, "read usage", `
		SELECT coalesce(sum(calls) FILTER (WHERE quarter = date_bin('15 minutes', now(), 'epoch')), 0) AS quarter,
		       coalesce(sum(calls) FILTER (WHERE quarter >= date_bin('1 hour', now(), 'epoch')), 0) AS hour,
		       coalesce(sum(calls), 0) AS day
		FROM cairn_sandbox.quota_use
		WHERE provider = $1 AND token = $2 AND quarter >= date_bin('1 day', now(), 'epoch')`, provider, whose)
	return used, err
}

// ForgetUsage resets the provider's quotas.
func (s store) ForgetUsage(ctx context.Context, provider string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM cairn_sandbox.quota_use WHERE provider = $1`, provider)
	if err != nil {
		return fmt.Errorf("sandbox: forget usage: %w", err)
	}
	return nil
}
