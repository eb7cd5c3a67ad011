package routes_test

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"cairn/db/dbtest"
)

// While the database is unavailable, the log has one line about it and not one for each request.
// Failures of providers have their own lines.
func TestOutageIsOneLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("strava", "ada").to("/")
	if err := s.sandbox.SetSwitch(t.Context(), "strava", "api", "500"); err != nil {
		t.Fatal(err)
	}
	b.post("/connections/strava/check").want(502, "", "")
	shutDatabase(t, s)
	for range 10 {
		b.get("/account").want(503, "", "")
		b.get("/api/auth/me").want(503, "", "")
		b.get("/readyz").want(503, "", "")
		b.post("/login", "email", "moss@example.org", "password", password).want(503, "", "")
	}
	log := s.log.String()
	for pattern, n := range map[string]int{
		`level=ERROR msg="requests failed: the database can't be used" times=1 last_id=\w+ error=`: 1,
		`level=ERROR`:                     1,
		`level=WARN msg="request failed"`: 1,
		`level=WARN msg="not ready"`:      1,
		`msg=request .*status=503`:        40,
	} {
		if found := regexp.MustCompile(pattern).FindAllString(log, -1); len(found) != n {
			t.Errorf("%s: %d lines, want %d: %q", pattern, len(found), n, found)
		}
	}
}

// The id of a trace is taken from a trusted proxy only.
func TestTraceOfTrustedProxy(t *testing.T) {
	t.Parallel()
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	good := "00-" + trace + "-" + parent + "-01"
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	pool := dbtest.New(t)
	logged := func(proxies []netip.Prefix, header ...string) string {
		s := newSiteWith(t, options{pool: pool, proxies: proxies})
		newBrowser(t, s).get("/nothing", header...)
		return s.log.String()
	}
	line := regexp.MustCompile(`msg=request id=\w{12} trace_id=` + trace + ` `)
	if log := logged(local, "Traceparent", good); !line.MatchString(log) {
		t.Errorf("the trace is not logged:\n%s", log)
	}
	later := "01-" + trace + "-" + parent + "-01-more"
	if log := logged(local, "Traceparent", later); !strings.Contains(log, "trace_id="+trace) {
		t.Error("a later version of the header is refused")
	}
	others := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	if log := logged(others, "Traceparent", good); strings.Contains(log, "trace") {
		t.Errorf("a stranger's trace is logged:\n%s", log)
	}
	for _, bad := range []string{
		"",
		"x",
		trace,
		good + "-more",
		"ff-" + trace + "-" + parent + "-01",
		"00-" + strings.ToUpper(trace) + "-" + parent + "-01",
		"00-" + strings.Repeat("0", 32) + "-" + parent + "-01",
		"00-" + trace + "-" + strings.Repeat("0", 16) + "-01",
		good + " level=ERROR",
	} {
		if log := logged(local, "Traceparent", bad); strings.Contains(log, "trace_id") {
			t.Errorf("%q is logged:\n%s", bad, log)
		}
	}
}
