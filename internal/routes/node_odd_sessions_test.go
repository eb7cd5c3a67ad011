package routes_test

import (
	"net/http"
	"strings"
	"testing"

	"cairn/internal/testkit"
)

// Rows that no server of the kind writes, but that a table can hold: what they say counts, and none is a failure.
func TestOddRowsOfExpress(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	s.atExpress(t, 7) // makes the table
	exec(t, s.site, `ALTER TABLE public.session ALTER expire DROP NOT NULL, ALTER sess DROP NOT NULL`)
	const end = `, sess = jsonb_set(sess::jsonb, '{cookie,expires}', `
	for _, tt := range []struct {
		set  string
		want bool
	}{
		{`expire = NULL`, true},
		{`expire = 'infinity'`, true},
		{`expire = '-infinity'`, true},
		{`expire = 'infinity'` + end + `'null')`, true},
		{`expire = '-infinity'` + end + `'null')`, false},
		{`expire = NULL` + end + `'null')`, false},
		{`expire = NULL` + end + `'"2020-01-01T00:00:00.000Z"')`, false},
		{`expire = now() - interval '2 days'` + end + `'4102444800000')`, false},
		{`sess = NULL`, false},
		{`sess = '[]'`, false},
		{`sess = '7'`, false},
		{`sess = ('{"a":' || repeat('[', 5000) || repeat(']', 5000) || ', "userId": 7}')::json,
			expire = 'infinity'`, true},
		{`sess = '{"userId":-7}', expire = 'infinity'`, false},
		{`sess = '{"userId":"007"}', expire = 'infinity'`, false},
		{`sess = '{"userId":[7]}', expire = 'infinity'`, false},
		{`sess = '{"userId":7.5}', expire = 'infinity'`, false},
		{`sess = '{"userId":9007199254740993}', expire = 'infinity'`, false},
		{`sess = '{"userId":"9223372036854775807"}', expire = 'infinity'`, false},
	} {
		unlimited(t, s.site)
		b := s.atExpress(t, 7)
		exec(t, s.site, `DELETE FROM cairn.node_sessions`)
		exec(t, s.site, `DELETE FROM cairn.sessions`)
		exec(t, s.site, `UPDATE public.session SET `+tt.set)
		a := b.get("/")
		if got := a.sessionCookie() != ""; got != tt.want || a.status != http.StatusOK {
			t.Errorf("%s: adopted %t (%d), want %t", tt.set, got, a.status, tt.want)
		}
		exec(t, s.site, `DELETE FROM public.session`)
	}
	if strings.Contains(s.log.String(), "can't be used") {
		t.Error("an odd row is told as a misconfiguration")
	}
}

// A session there is used day after day, but connect-pg-simple notes that only in the column.
func TestRollingSessionThatIsOlderThanItsAge(t *testing.T) {
	t.Parallel()
	for _, zone := range []string{"UTC", "America/New_York", "Asia/Kathmandu"} {
		s := besideExpress(t, testkit.Express{Rolling: true, MaxAge: "172800000", TimeZone: zone}, adopting())
		imported(t, s.site, 7)
		b := s.atExpress(t, 7)
		exec(t, s.site, `UPDATE public.session SET expire = expire - interval '50 hours', sess = jsonb_set(sess::jsonb,
			'{cookie,expires}', to_jsonb(to_char((now() - interval '2 hours') AT TIME ZONE 'UTC',
			'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')))`)
		dead := b.stolen()
		if dead.signedIn() {
			t.Errorf("%s: a session past both its ends is adopted", zone)
		}
		exec(t, s.site, `UPDATE public.session SET expire = expire + interval '30 hours'`)
		b.there(s, "/me", http.StatusOK) // moves the end, in the column alone
		if !b.signedIn() {
			t.Errorf("%s: a session that is in use there is not adopted", zone)
		}
	}
}

// Two cookies of that name are none, even if the second is no cookie to net/http.
func TestTwoCookiesOfExpress(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	value := cookieNamed(t, s.atExpress(t, 7), "connect.sid").Value
	for _, another := range []string{"; connect.sid=\"a\\b", ";connect.sid=", "; connect.sid", ";  connect.sid=\x80"} {
		b := newBrowser(t, s.site)
		if b.get("/", "Cookie", "connect.sid="+value+another).sessionCookie() != "" {
			t.Errorf("adopted beside %q", another)
		}
	}
	if newBrowser(t, s.site).get("/", "Cookie", "a=b; connect.sid="+value+"; c=d").sessionCookie() == "" {
		t.Error("a single one is not adopted")
	}
}

// A session that changed hands there, under the same id, is not its first person's here.
func TestSessionThatChangedHandsThere(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	imported(t, s.site, 8)
	b := s.atExpress(t, 7)
	again := b.stolen()
	b.get("/").want(http.StatusOK, "header", "Your account")
	exec(t, s.site, `UPDATE public.session SET sess = jsonb_set(sess::jsonb, '{userId}', '8')`)
	if again.get("/").sessionCookie() != "" {
		t.Error("one person's session goes to another")
	}
}

// Signing out holds, too, where the browser has signed in there meanwhile.
func TestSignOutWithAnotherSessionThere(t *testing.T) {
	t.Parallel()
	s := besideExpress(t, testkit.Express{}, adopting())
	imported(t, s.site, 7)
	b := s.atExpress(t, 7)
	b.get("/").want(http.StatusOK, "header", "Your account")
	b.there(s, "/signin?user=7", http.StatusOK) // a new session there, beside ours
	b.get("/").want(http.StatusOK, "header", "Your account")
	b.post("/logout")
	if b.signedIn() {
		t.Error("signed in again by the session there")
	}
}
