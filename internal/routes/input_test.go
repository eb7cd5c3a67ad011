package routes_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

const formType = "application/x-www-form-urlencoded"

// send posts a body as it is.
func (b browser) send(method, path string, body io.Reader, kind string) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	return b.answer(r)
}

// What is ambiguous is refused before anything happens, on a page that shows that the person is still
// signed in.
func TestInputThatCannotBeRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	for name, tt := range map[string]struct {
		method, path, body, kind string
		status                   int
		heading                  string
	}{
		"NUL in a name": {
			"POST", "/account/name", "name=A%00da", formType,
			400, "form could not be read",
		},
		"no UTF-8 in a name": {
			"POST", "/account/name", "name=A%ffda", formType,
			400, "form could not be read",
		},
		"NUL in an unknown field": {
			"POST", "/account/name", "name=Eve&x=%00", formType,
			400, "form could not be read",
		},
		"no UTF-8 in a field's name": {
			"POST", "/account/name", "name=Eve&%ff=x", formType,
			400, "form could not be read",
		},
		"a surrogate": {
			"POST", "/account/name", "name=%ed%a0%80", formType,
			400, "form could not be read",
		},
		"a name twice": {
			"POST", "/account/name", "name=Eve&name=Mallory", formType,
			400, "form could not be read",
		},
		"odd escapes": {"POST", "/account/name", "name=Eve&x=%zz", formType, 400, "form could not be read"},
		"a body in parts": {
			"POST", "/account/name",
			"--x\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nEve\r\n--x--",
			"multipart/form-data; boundary=x",
			415, "not sent as a form",
		},
		"JSON": {
			"POST", "/account/name", `{"name":"Eve"}`, "application/json",
			415, "not sent as a form",
		},
		"no type":            {"POST", "/account/name", "name=Eve", "", 415, "not sent as a form"},
		"a button with JSON": {"POST", "/logout", `{}`, "application/json", 415, "not sent as a form"},
		"too much": {
			"POST", "/account/name", "name=" + strings.Repeat("x", 70_000), formType,
			413, "too large",
		},
		"a query twice":          {"GET", "/login?next=/&next=/account", "", "", 400, "address could not be read"},
		"NUL in a query":         {"GET", "/?x=%00", "", "", 400, "address could not be read"},
		"no UTF-8 in a query":    {"GET", "/account?%ff", "", "", 400, "address could not be read"},
		"odd escapes in a query": {"GET", "/?x=%zz", "", "", 400, "address could not be read"},
		"a query twice with a form": {
			"POST", "/account/name?x=1&x=2", "name=Eve", formType,
			400, "address could not be read",
		},
		"NUL in a path":      {"POST", "/connect/strava%00", "", formType, 400, "address could not be read"},
		"no UTF-8 in a path": {"POST", "/account/methods/%ff/remove", "", formType, 400, "address could not be read"},
	} {
		a := b.send(tt.method, tt.path, strings.NewReader(tt.body), tt.kind)
		if a.status != tt.status || !strings.Contains(a.Find("h1").Text(), tt.heading) {
			t.Errorf("%s: got %d %q, want %d %q", name, a.status, a.Find("h1").Text(), tt.status, tt.heading)
		}
		if a.Find("header a[href='/account']").Length() == 0 {
			t.Errorf("%s: the page looks signed out", name)
		}
	}
	if a := b.get("/api/auth/me?x=%00"); a.status != 400 || !strings.Contains(a.body, `{"error":`) {
		t.Errorf("the API answers %d %s", a.status, a.body)
	}
	b.get("/account").want(200, "", "")
	if n := count(t, s, `SELECT count(*) FROM cairn.users WHERE display_name = 'Ada'`); n != 1 {
		t.Error("something was changed")
	}
	b.send("POST", "/account/name", strings.NewReader("name=Eve"), "Application/X-WWW-Form-Urlencoded; charset=utf-8").
		to("/account")
	b.send("POST", "/logout", strings.NewReader(""), "").to("/?notice=signed-out") // a button needs no fields
}

// No e-mail address and no password has NUL in it or is not UTF-8, so these are wrong ones.
func TestSignInWithInvalidText(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, newSite(t))
	for _, body := range []string{
		"email=ada%00@example.org&password=x",
		"email=ada%ff@example.org&password=x",
		"email=ada@example.org&password=%00",
		"email=%ed%b0%80&password=%fe",
	} {
		a := b.send("POST", "/login", strings.NewReader(body+"&next=/account"), formType).
			want(422, "#form-error", "Wrong e-mail or password")
		if next := a.Find("form[action='/login'] input[name=next]").AttrOr("value", ""); next != "/account" {
			t.Errorf("%s: next became %q", body, next)
		}
	}
	b.send("POST", "/signup", strings.NewReader("name=Ada&email=ada%00@example.org&password=x"), formType).
		want(400, "h1", "form could not be read")
}

// A callback that names something twice is not the provider's: the provider is not called, and the
// attempt is not consumed, so that its own answer still works.
func TestCallbackThatNamesSomethingTwice(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	s := newSiteWith(t, options{heard: func(sandbox http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "token") {
				asked.Add(1)
			}
			sandbox.ServeHTTP(w, r)
		})
	}})
	b := signedUp(t, s, "ada@example.org")
	for _, provider := range []string{"strava", "foursquare", "garmin"} {
		back := b.decide(b.consent("/connect/"+provider), "ada", "allow")
		before := asked.Load()
		sent := mustParse(t, back).Query()
		for _, twice := range []string{
			"code=x",
			"state=x",
			"error=access_denied&error=access_denied",
			"scope=read&scope=read",
			"code=",
			"x=1&x=1",
			"code=" + sent.Get("code"),
			"state=" + sent.Get("state"),
		} {
			b.get(back+"&"+twice).want(400, "h1", "address could not be read")
		}
		if n := asked.Load(); n != before {
			t.Errorf("%s was asked %d times", provider, n-before)
		}
		if n := count(t, s, `SELECT count(*) FROM cairn.oauth_attempts`); n != 1 {
			t.Errorf("%s: %d attempts are left, want 1", provider, n)
		}
		b.get(back).to("/")
		if n := asked.Load(); n != before+1 {
			t.Errorf("%s was asked %d times for a good callback", provider, n-before)
		}
	}
}

// Bodies may be chunked, as proxies and Go's client send them if they don't know the length.
func TestBodiesInPieces(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	inPieces := func(body string) io.Reader { return io.MultiReader(strings.NewReader(body)) }
	b.send("POST", "/account/name", inPieces("name=Eve"), formType).to("/account")
	b.get("/account").want(200, "#name[value=Eve]", "")
	b.send("POST", "/account/name", inPieces("name=Eve&x="+strings.Repeat("x", 70_000)), formType).
		want(413, "h1", "too large")
	b.send("POST", "/account/name", inPieces("name=%00"), formType).want(400, "h1", "form could not be read")
	b.send("POST", "/account/name", inPieces(`{"name":"Eve"}`), "application/json").
		want(415, "h1", "not sent as a form")
	// Nothing is connected.
	b.send("POST", "/connections/strava/check", inPieces(""), "").want(404, "h1", "nothing here")
	b.send("POST", "/logout", inPieces(""), "").to("/?notice=signed-out")
}

// Where a proxy in front may have read another length, the connection is closed after the answer,
// and what is left on it does not count as a request.
func TestNothingIsSmuggled(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	const smuggled = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for name, tt := range map[string]struct {
		head, body string
		status     int
	}{
		"length and chunks": {
			"POST /login HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
			"0\r\n\r\n" + smuggled, 400,
		},
		"lines without returns": {
			"POST /login HTTP/1.1\ncontent-length: 4\nX: y\ntransfer-encoding: chunked\n",
			"0\r\n\r\n" + smuggled, 400,
		},
		"a long line between": {
			"POST /login HTTP/1.1\r\nContent-Length: 4\r\nX: " + strings.Repeat("y", 9000) + "\r\n" +
				"Transfer-Encoding: chunked\r\n",
			"0\r\n\r\n" + smuggled, 400,
		},
		"chunks and length": {
			"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n",
			"0\r\n\r\n" + smuggled, 400,
		},
		"chunks":           {"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + smuggled, 422},
		"chunks of a page": {"GET /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n" + smuggled, 200},
		"two lengths":      {"POST /login HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 4\r\n", smuggled, 400},
		"chunks twice": {
			"POST /login HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
			"0\r\n\r\n" + smuggled, 501,
		},
		"other chunks": {
			"POST /login HTTP/1.1\r\nTransfer-Encoding: xchunked\r\nContent-Length: 4\r\n",
			"0\r\n\r\n" + smuggled, 501,
		},
		"a space before the colon": {
			"POST /login HTTP/1.1\r\nTransfer-Encoding : chunked\r\nContent-Length: 4\r\n",
			"0\r\n\r\n" + smuggled, 400,
		},
		"HTTP/1.0 that stays": {
			"POST /login HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
			"0\r\n\r\n" + smuggled, 422,
		},
		"a page in HTTP/1.0": {
			"GET /login HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n",
			"0\r\n\r\n" + smuggled, 200,
		},
		"a webhook in chunks": {
			"POST " + stravaPath + " HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n",
			"2\r\n{}\r\n0\r\n\r\n" + smuggled, 400,
		},
		"a webhook in chunks alone": {
			"POST " + stravaPath + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n",
			"2\r\n{}\r\n0\r\n\r\n" + smuggled, 200,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", mustParse(t, s.url).Host)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			_, _ = fmt.Fprint(conn, tt.head, "Host: ", mustParse(t, s.url).Host, "\r\n\r\n", tt.body)
			r := bufio.NewReader(conn)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			if resp.StatusCode != tt.status || !resp.Close {
				t.Errorf("got %d, close %t; want %d and the end", resp.StatusCode, resp.Close, tt.status)
			}
			if _, err := r.ReadByte(); err == nil {
				t.Error("a smuggled request was answered")
			}
		})
	}
}

// An item that PostgreSQL would refuse costs only itself, and not what else is in the post.
func TestWebhooksWithInvalidText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := signedUp(t, s, "ada@example.org")
	b.connect("garmin", "ada").to("/")
	b.connect("foursquare", "ada").to("/")
	b.connect("strava", "ada").to("/")
	const ada = "d3315b1072e84c1f9a7c1f0e5b6a9c01"
	item := func(user, id, fields string) string {
		return `{"userId":"` + user + `","summaryId":"` + id + `","startTimeInSeconds":1760770192` + fields + `}`
	}
	for name, odd := range map[string]string{
		"NUL in its id":    item(ada, `x\u0000`, ""),
		"NUL in its user":  item(ada+`\u0000`, "x", ""),
		"no UTF-8":         item(ada, "x", ",\"activityName\":\"\xff\""),
		"half a character": item(ada, `\ud800`, ""),
		"twice a name":     item(ada, "x", `,"summaryId":"y"`),
		"two users":        item("nobody", "x", `,"USERID":"`+ada+`"`),
		"a long id":        item(ada, strings.Repeat("x", 1000), ""),
	} {
		forgetSyncs(t, s)
		body := `{"activities":[` + odd + `,` + item(ada, "good", `,"activityName":"`+name+`"`) + `],` +
			`"deregistrations":[{"userId":"\u0000"},{"userId":"` + ada + `"}]}`
		if status := postWebhook(t, s, garminPath, body, "garmin-client-id", "garmin-id"); status != 200 {
			t.Errorf("%s: answered %d", name, status)
		}
		good := count(t, s, `
			SELECT count(*) FROM cairn.latest
			WHERE jsonb_array_length(entries) = 1 AND entries->0->>'id' = 'good' AND entries->0->>'title' = $1`, name)
		if good != 1 {
			t.Errorf("%s: what else was in the post is not there, or the odd item is", name)
		}
		if n := syncs(t, s); n != 1 {
			t.Errorf("%s: %d syncs, want 1", name, n)
		}
	}
	push := func(query string, fields url.Values, status, want int) {
		t.Helper()
		forgetSyncs(t, s)
		got := postWebhook(t, s, "/webhooks/foursquare/"+webhookKey+query, fields.Encode(), "Content-Type", formType)
		if got != status || syncs(t, s) != want {
			t.Errorf("%v: answered %d with %d syncs, want %d with %d", fields, got, syncs(t, s), status, want)
		}
	}
	push("", url.Values{"checkin": {`{"user":{"id":"1234567\u0000"}}`}}, 200, 0)
	push("", url.Values{"checkin": {`{"user":{"id":1234567}}`}}, 200, 1) // a number is an id too
	push("", url.Values{"checkin": {`{"user":{"id":"1234567","ID":"7"}}`}}, 400, 0)
	push("", url.Values{"checkin": {`{"user":{"id":"1234567"}}`, `{}`}}, 400, 0)
	push("", url.Values{"checkin": {"\x00"}}, 400, 0)
	push("?x=1&x=2", url.Values{"checkin": {`{"user":{"id":"1234567"}}`}}, 400, 0)
	for body, status := range map[string]int{
		strings.ReplaceAll(deauthorized("5000000101"), "5000000101", `"5000000101"`): 200,
		deauthorized("7"):            200,
		deauthorized(`"\u0000"`):     200,
		deauthorized(`5000000101.0`): 200,
		`{"object_type":"athlete","object_type":"activity","owner_id":5000000101}`: 400,
		"{\"object_type\":\"\xff\",\"owner_id\":5000000101}":                       400,
	} {
		forgetSyncs(t, s)
		want := strings.Count(body, `"5000000101"`) / 2
		if got := postWebhook(t, s, stravaPath, body); got != status || syncs(t, s) != want {
			t.Errorf("%s: answered %d with %d syncs, want %d with %d", body, got, syncs(t, s), status, want)
		}
	}
	twice := "?hub.mode=subscribe&hub.verify_token=verify-me&hub.challenge=x&hub.challenge=y"
	a := newBrowser(t, s).get(stravaPath + twice)
	if a.status != 400 {
		t.Errorf("a challenge that names something twice is answered %d", a.status)
	}
}
