package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// usage is how many API calls there have been, this one included.
type usage struct{ Quarter, Hour, Day int }

// over tells whether this is more than "quarter,day" allows.
func (u usage) over(quota string) bool {
	quarter, day, _ := strings.Cut(quota, ",")
	return u.Quarter > number(quarter) || u.Day > number(day)
}

// number reads what a switch has checked.
func number(digits string) int {
	n, _ := strconv.Atoi(digits)
	return n
}

// meter counts an API call, writes the provider's headers about its quota, and returns the refusal where that is
// spent. Windows turn with the UTC clock, as Strava's do; refused calls count too.
func (s *Sandbox) meter(
	h http.Header, r *http.Request, provider, call string,
) (refusal func(http.ResponseWriter) error, err error) {
	if provider == Garmin {
		return nil, nil // no quota is told that a server of our size would meet
	}
	at, err := s.positions(r.Context(), provider)
	if err != nil {
		return nil, err
	}
	var whose []byte
	if provider == Foursquare {
		whose = hashOf(foursquareTokenOf(r))
	}
	used, err := s.countCall(r.Context(), provider, whose)
	if err != nil {
		return nil, err
	}
	if provider == Foursquare {
		return foursquareMeter(h, used, number(at[Quota])), nil
	}
	// Where a switch says that the quota is spent the headers say it too.
	spent := strings.HasPrefix(at[call], "429") || strings.HasPrefix(at[API], "429")
	refusal = stravaMeter(h, used, at[Quota], at[ReadQuota], spent)
	spoilQuotaHeaders(h, at[QuotaHeaders])
	return refusal, nil
}

// stravaMeter tells "15 minutes,day" for all calls and for those that only read, which all that are simulated do.
func stravaMeter(h http.Header, used usage, all, reads string, spent bool) func(http.ResponseWriter) error {
	told := fmt.Sprintf("%d,%d", used.Quarter, used.Day)
	if spent {
		quarter, _, _ := strings.Cut(all, ",")
		told = fmt.Sprintf("%d,%d", max(used.Quarter, number(quarter)), max(used.Day, number(quarter)))
	}
	h.Set("X-RateLimit-Limit", all)
	h.Set("X-RateLimit-Usage", told)
	h.Set("X-ReadRateLimit-Limit", reads)
	h.Set("X-ReadRateLimit-Usage", told)
	var which string
	switch {
	case used.over(all):
		which = "overall rate limit"
	case used.over(reads):
		which = "read rate limit"
	default:
		return nil
	}
	return func(w http.ResponseWriter) error {
		return writeJSON(w, http.StatusTooManyRequests,
			stravaError("Rate Limit Exceeded", "Application", which, "exceeded"))
	}
}

// spoilQuotaHeaders replaces what the headers say, or drops them.
func spoilQuotaHeaders(h http.Header, how string) {
	for name, spoilt := range map[string]map[string]string{
		"X-RateLimit-Limit":     {Malformed: "many,more", Absurd: "0,0"},
		"X-RateLimit-Usage":     {Malformed: "1", Absurd: "999999999999,999999999999"},
		"X-ReadRateLimit-Limit": {Malformed: "-1,-1", Absurd: "1e9,1e9"},
		"X-ReadRateLimit-Usage": {Malformed: "\u221e", Absurd: "999999999,999999999"},
	} {
		if how != Honest {
			h.Del(name)
		}
		if value := spoilt[how]; value != "" {
			h.Set(name, value)
		}
	}
}

func foursquareMeter(h http.Header, used usage, limit int) func(http.ResponseWriter) error {
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(max(0, limit-used.Hour)))
	if used.Hour <= limit {
		return nil
	}
	return func(w http.ResponseWriter) error {
		return foursquareProblem(w, http.StatusForbidden, "rate_limit_exceeded", "Quota exceeded")
	}
}

func foursquareTokenOf(r *http.Request) string {
	return cmp.Or(r.URL.Query().Get("oauth_token"), bearerOf(r))
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

// ForgetUsage makes the provider's quotas whole again, as the next day would.
func (s store) ForgetUsage(ctx context.Context, provider string) error {
	_, err := s.pool.Exec(ctx, `DELETE FROM cairn_sandbox.quota_use WHERE provider = $1`, provider)
	if err != nil {
		return fmt.Errorf("sandbox: forget usage: %w", err)
	}
	return nil
}
