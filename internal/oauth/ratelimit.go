package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// longestWait is how long one answer can keep us from calling a provider.
	longestWait = 24 * time.Hour
	// usualWait is for a provider that asks us to slow down without saying for how long.
	usualWait = 5 * time.Minute
)

// RateLimit is what an answer says about further calls. A field is nil if the answer does not say it.
type RateLimit struct {
	QuarterLimit, DayLimit *int // of our application, in a quarter hour and in a UTC day
	QuarterLeft, DayLeft   *int
	Wait                   *time.Duration // no calls are wanted for so long
}

// rateLimit reads an answer; failure is nil for a success.
func (c *Caller) rateLimit(header http.Header, failure *Error) (limit RateLimit) {
	if c.RateLimit != nil {
		limit = c.RateLimit(header)
	}
	if failure == nil {
		return limit
	}
	limited := errors.Is(failure, ErrRateLimited)
	if limited || failure.Status == http.StatusServiceUnavailable {
		limit.Wait = waitIn(header)
	}
	switch {
	case !limited || limit.Wait != nil:
	case c.RateLimit != nil: // the quarter is spent, whatever else was said
		limit.QuarterLeft = new(0)
	default:
		limit.Wait = new(usualWait)
	}
	return limit
}

// waitIn reads Retry-After, in seconds or as a date. It compares a date with the provider's own clock if the answer has
// its time. It ignores a time that is past or makes no sense.
func waitIn(header http.Header) *time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		wait = time.Duration(max(0, min(seconds, int64(longestWait.Seconds())))) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		now, err := http.ParseTime(header.Get("Date"))
		if err != nil {
			now = time.Now()
		}
		wait = min(at.Sub(now), longestWait)
	}
	if wait <= 0 {
		return nil
	}
	return &wait
}
