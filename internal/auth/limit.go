package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"time"
)

// limit is how many of an action may happen within a window that starts with the first of them.
type limit struct {
	action string
	hits   int
	window time.Duration
}

// The limits. Per account and address together it is low; per account alone it is high enough that a stranger elsewhere
// does not easily lock the owner out, and a provider still lets the owner in.
var (
	signInPair    = limit{"sign-in, account and address", 10, 15 * time.Minute}
	signInAccount = limit{"sign-in, account", 100, time.Hour}
	signInAddress = limit{"sign-in, address", 100, 15 * time.Minute}
	signUpAddress = limit{"sign-up, address", 20, time.Hour}
	attempts      = limit{"attempt, address", 100, 15 * time.Minute}
	passwordCheck = limit{"password check, user", 10, 15 * time.Minute}
)

// hit counts one action and returns a *LimitError when it is one too many. Counting and deciding are one statement, so
// parallel tries on many instances cannot slip through between them.
func (a *Accounts) hit(ctx context.Context, l limit, who string) error {
	var hits int
	var seconds float64
	err := a.pool.QueryRow(ctx, `
		INSERT INTO cairn.rate_limits AS r (bucket, hits, resets_at)
		VALUES ($1, 1, now() + $2::interval)
		ON CONFLICT (bucket) DO UPDATE SET
			hits = CASE WHEN r.resets_at <= now() THEN 1 ELSE LEAST(r.hits, 1000000) + 1 END,
			resets_at = CASE WHEN r.resets_at <= now() THEN EXCLUDED.resets_at ELSE r.resets_at END
		RETURNING hits, EXTRACT(epoch FROM resets_at - now())::float8`,
		a.bucket(l, who), l.window).Scan(&hits, &seconds)
	if err != nil {
		return fmt.Errorf("auth: count %s: %w", l.action, err)
	}
	if hits > l.hits {
		return &LimitError{RetryAfter: time.Duration(seconds * float64(time.Second))}
	}
	return nil
}

// forgive forgets the count of an action after it succeeded.
func (a *Accounts) forgive(ctx context.Context, l limit, who string) error {
	if _, err := a.pool.Exec(ctx, `DELETE FROM cairn.rate_limits WHERE bucket = $1`, a.bucket(l, who)); err != nil {
		return fmt.Errorf("auth: forget count of %s: %w", l.action, err)
	}
	return nil
}

// AllowAttempt counts the start of a sign-in at a provider from an address, which costs a row before anybody is known.
func (a *Accounts) AllowAttempt(ctx context.Context, address string) error {
	return a.hit(ctx, attempts, network(address))
}

// Sweep deletes one batch of counters that are over and reports whether more may be left.
func (a *Accounts) Sweep(ctx context.Context) (more bool, err error) {
	tag, err := a.pool.Exec(ctx, `
		DELETE FROM cairn.rate_limits WHERE bucket IN (
			SELECT bucket FROM cairn.rate_limits WHERE resets_at < now() ORDER BY resets_at LIMIT 500 FOR UPDATE SKIP LOCKED)`)
	if err != nil {
		return false, fmt.Errorf("auth: sweep: %w", err)
	}
	return tag.RowsAffected() == 500, nil
}

// bucket names a counter. It is keyed, because there are too few addresses for a plain hash to hide one.
func (a *Accounts) bucket(l limit, who string) string {
	mac := hmac.New(sha256.New, a.secret)
	mac.Write([]byte(l.action + "\x00" + who))
	return l.action + " " + hex.EncodeToString(mac.Sum(nil)[:16])
}

// network is what one household or host has: an IPv4 address or an IPv6 /64.
func network(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Is4() {
		return address
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return address
	}
	return prefix.String()
}
