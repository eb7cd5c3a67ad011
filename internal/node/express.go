package node

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
)

// What express-session and connect-pg-simple write. The cookie is "s:" + id + "." + HMAC-SHA-256 of the id in base64
// without padding, percent-encoded. With several secrets the first signs, and all are good. The row has the session as
// JSON, and when it ends twice: in the JSON as a time, and in a column without a time zone, which is that of the Node
// server's connection.

// express reads the table with the sessions of that server.
type express struct{ config.NodeSessions }

// sidShape is that of ids: what ends up in a cookie without being changed.
var sidShape = regexp.MustCompile(`^[A-Za-z0-9_.~+/=-]+$`)

const (
	minSID = 16
	maxSID = 128
)

// sid returns the id in a request's cookie, if one of the secrets has signed it; "" otherwise, and if there are several
// such cookies.
func (s express) sid(r *http.Request) string {
	cookies := r.CookiesNamed(s.Cookie)
	if len(cookies) != 1 || times(r, s.Cookie) != 1 || len(cookies[0].Value) > 3*(maxSID+64) {
		return ""
	}
	value, err := url.PathUnescape(cookies[0].Value)
	signed, prefixed := strings.CutPrefix(value, "s:")
	dot := strings.LastIndexByte(signed, '.')
	if err != nil || !prefixed || dot < minSID || dot > maxSID || !sidShape.MatchString(signed[:dot]) {
		return ""
	}
	sid, signature := signed[:dot], []byte(signed[dot+1:])
	good := false
	for _, secret := range s.Secrets { // all of them: how long this takes must not say which
		good = hmac.Equal(signature, sign(secret, sid)) || good
	}
	if !good {
		return ""
	}
	return sid
}

// times counts the cookies with a name, and those with values that net/http leaves out.
func times(r *http.Request, name string) (n int) {
	for _, line := range r.Header["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			if key, _, _ := strings.Cut(strings.TrimSpace(pair), "="); key == name {
				n++
			}
		}
	}
	return n
}

func sign(secret, sid string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(sid))
	return []byte(base64.RawStdEncoding.EncodeToString(mac.Sum(nil)))
}

// expressSession is a row of the table.
type expressSession struct {
	nodeID     int64 // 0: there is no such session, or nobody is signed in
	alive      bool
	persistent bool // it outlives the browser
	created    time.Time
	dated      bool // false: created is no more than now
}

// staleAt reports whether a session may have begun before a moment up to which all were ended; zero: none were.
func (e expressSession) staleAt(ended time.Time) bool {
	return !ended.IsZero() && !(e.dated && e.created.After(ended))
}

// zoneSpread is how far the column can be off: time zones reach from 12 hours behind UTC to 14 ahead of it.
const zoneSpread = 14 * time.Hour

// rowColumns are what parse takes. Neither NULL nor infinity is a time for it.
const rowColumns = `COALESCE(sess::text, ''),
	LEAST(GREATEST(expire::timestamp, 'epoch'), '9999-12-31') AT TIME ZONE 'UTC', now()`

// read returns the session with an id.
func (s express) read(ctx context.Context, pool *pgxpool.Pool, sid string) (expressSession, error) {
	var text string
	var expire, now time.Time
	err := pool.QueryRow(ctx, `
		SELECT `+rowColumns+`
		FROM `+pgx.Identifier(s.Table).Sanitize()+` WHERE sid = $1`, sid).Scan(&text, &expire, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return expressSession{}, nil
	}
	if err != nil {
		return expressSession{}, fmt.Errorf("node: read %s: %w", strings.Join(s.Table, "."), err)
	}
	return s.parse(text, expire, now), nil
}

// parse returns what a row says: its JSON, and the column of its end as if that were UTC.
func (s express) parse(text string, expire, now time.Time) expressSession {
	var sess map[string]any
	if json.Unmarshal([]byte(text), &sess) != nil {
		return expressSession{}
	}
	e := expressSession{nodeID: s.userOf(sess), created: now}
	ends, known := endOf(sess)
	if !known {
		e.alive = now.Add(-zoneSpread).Before(expire)
		return e
	}
	// A request that changes nothing moves the end in the column alone. That counts if it is later in all time zones.
	e.alive, e.persistent = now.Before(ends) || now.Add(zoneSpread).Before(expire), true
	// So this is when the session was last changed: no later than now, and no earlier than it began. The beginning
	// itself is not there.
	if age := maxAgeOf(sess); age > 0 && ends.Add(-age).Before(now) {
		e.created, e.dated = ends.Add(-age), true
	}
	return e
}

// usual are the places where servers keep who is signed in.
var usual = [][]string{{"userId"}, {"user", "id"}, {"user"}, {"passport", "user"}, {"passport", "user", "id"}}

// userOf returns the id of the user who is signed in, 0 if nobody is.
func (s express) userOf(sess map[string]any) int64 {
	paths := usual
	if s.UserPath != nil {
		paths = [][]string{s.UserPath}
	}
	for _, path := range paths {
		if id := userAt(sess, path); id > 0 {
			return id
		}
	}
	return 0
}

func userAt(value any, path []string) int64 {
	for _, name := range path {
		object, ok := value.(map[string]any)
		if !ok {
			return 0
		}
		value = object[name]
	}
	switch id := value.(type) {
	case float64:
		if id == float64(int64(id)) && id < 1<<53 {
			return int64(id)
		}
	case string:
		if n, err := strconv.ParseInt(id, 10, 64); err == nil && strconv.FormatInt(n, 10) == id {
			return n
		}
	}
	return 0
}

// endOf returns when the cookie of a session ends; not known for one that ends with the browser.
func endOf(sess map[string]any) (time.Time, bool) {
	cookie, _ := sess["cookie"].(map[string]any)
	text, _ := cookie["expires"].(string)
	ends, err := time.Parse(time.RFC3339, text)
	return ends, err == nil
}

func maxAgeOf(sess map[string]any) time.Duration {
	cookie, _ := sess["cookie"].(map[string]any)
	milliseconds, _ := cookie["originalMaxAge"].(float64)
	if milliseconds <= 0 || milliseconds > float64(10*365*24*time.Hour/time.Millisecond) {
		return 0
	}
	return time.Duration(milliseconds) * time.Millisecond
}
