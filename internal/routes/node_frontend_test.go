package routes_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/sandbox"
	"cairn/internal/testkit"
)

// frontAt is where the old front end is.
const frontAt = "https://trail.example.org"

// fronted is a site with the old front end, whose private links work.
func fronted(t testing.TB, change ...func(*options)) site {
	t.Helper()
	o := options{node: config.Node{
		LinksUntil: time.Now().Add(24 * time.Hour), FrontendURL: mustParse(t, frontAt),
	}}
	for _, c := range change {
		c(&o)
	}
	return newSiteWith(t, o)
}

// withToken sends a request as the front end does.
func (b browser) withToken(method, path, token string) answer {
	b.t.Helper()
	return b.do(method, path, nil, "X-Auth-Token", token, "Origin", frontAt)
}

var (
	someTime  = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`)
	someJob   = regexp.MustCompile(`"jobId":\d{13}\b`)
	someWords = regexp.MustCompile(`"message":"[A-Z][\pL ’]+\."`)
)

// json checks an answer, in which TIME stands for a time, JOB for a job's id, and WORDS for a sentence.
func (a answer) json(status int, want string) answer {
	a.t.Helper()
	body := someTime.ReplaceAllString(strings.TrimSpace(a.body), `TIME`)
	body = someWords.ReplaceAllString(someJob.ReplaceAllString(body, `"jobId":JOB`), `"message":WORDS`)
	if a.status != status || body != want {
		a.t.Errorf("got %d %s\nwant %d %s", a.status, body, status, want)
	}
	if got := a.header.Get("Content-Type"); got != "application/json; charset=utf-8" {
		a.t.Errorf("Content-Type is %q", got)
	}
	if got := a.header.Get("Cache-Control"); got != "no-store" {
		a.t.Errorf("Cache-Control is %q", got)
	}
	return a
}

// field is a field of a JSON answer.
func (a answer) field(name string) any {
	a.t.Helper()
	var fields map[string]any
	if err := json.Unmarshal([]byte(a.body), &fields); err != nil {
		a.t.Fatalf("%s: %v", a.body, err)
	}
	return fields[name]
}

const notConnected = `{"connected":false}`

func TestFrontendIsAnsweredAsByTheNodeServer(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	ask := func(path string) answer { return b.withToken(http.MethodGet, path, token) }
	drop := func(path string) answer { return b.withToken(http.MethodDelete, path, token) }

	exec(t, s, `UPDATE cairn.users SET display_name = 'Ada', avatar_url = NULL`)
	ask("/api/auth/me").json(200, `{"id":7,"displayName":"Ada","avatarUrl":null,"lastSyncAt":null}`)
	exec(t, s, `UPDATE cairn.users SET avatar_url = 'https://pictures.example/a.jpg'`)
	exec(t, s, `INSERT INTO cairn.latest (identity_id, tried_at, as_of)
		SELECT identity_id, now(), now() FROM cairn.connections
		ON CONFLICT (identity_id) DO UPDATE SET as_of = EXCLUDED.as_of`)
	ask("/api/auth/me").json(200,
		`{"id":7,"displayName":"Ada","avatarUrl":"https://pictures.example/a.jpg","lastSyncAt":TIME}`)

	for _, provider := range []string{"strava", "garmin"} {
		ask("/api/"+provider+"/status").json(200, notConnected)
		drop("/api/"+provider+"/disconnect").json(200, `{"success":true}`)
	}
	b.withToken(http.MethodPost, "/api/strava/sync", token).json(400, `{"error":"Strava not connected"}`)
	ask(fmt.Sprintf("/api/strava/sync/status/%d", time.Now().UnixMilli())).json(404, `{"error":"Not found"}`)

	b.fromFrontend(token, "strava", "ada").to(frontAt + "/data-sources?strava=connected")
	b.fromFrontend(token, "garmin", "ada").to(frontAt + "/data-sources?garmin=connected")
	athlete := ask("/api/strava/status").field("athleteId")
	ask("/api/strava/status").json(200,
		fmt.Sprintf(`{"athleteId":"%v","connected":true,"connectedAt":TIME,"lastSyncAt":null}`, athlete))
	if n := count(t, s, `SELECT count(*) FROM cairn.connections WHERE subject = $1`, athlete); n != 1 {
		t.Errorf("%v is nobody's id at Strava", athlete)
	}
	const atGarmin = `{"connected":true,"connectedAt":TIME,"lastSyncAt":null,"syncActivities":`
	ask("/api/garmin/status").json(200, atGarmin+`true}`)
	exec(t, s, `UPDATE cairn.connections SET granted = '{HEALTH_EXPORT}' WHERE provider = 'garmin'`)
	ask("/api/garmin/status").json(200, atGarmin+`false}`)
	exec(t, s, `UPDATE cairn.connections SET state = 'needs_reconnect', cause = 'revoked' WHERE provider = 'garmin'`)
	ask("/api/garmin/status").json(200, notConnected)

	for _, provider := range []string{"strava", "garmin"} {
		drop("/api/"+provider+"/disconnect").json(200, `{"success":true}`)
		ask("/api/"+provider+"/status").json(200, notConnected)
	}
	if n := count(t, s, `SELECT count(*) FROM cairn.connections`); n != 1 {
		t.Errorf("%d connections are left, want Foursquare's", n)
	}
	for _, want := range []string{"msg=connected", "msg=disconnected"} {
		if strings.Count(s.log.String(), want) != 2 {
			t.Errorf("the log lacks %q", want)
		}
	}
	if strings.Contains(s.log.String(), token) {
		t.Error("the log has the token")
	}
}

func TestFrontendFollowsAFetch(t *testing.T) {
	t.Parallel()
	s := fronted(t, func(o *options) { o.works = true })
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	b.fromFrontend(token, "strava", "ada").to(frontAt + "/data-sources?strava=connected")
	testkit.Eventually(t, "the first entries have come", func() bool {
		return count(t, s, `SELECT count(*) FROM cairn.latest JOIN cairn.connections USING (identity_id)
			WHERE provider = 'strava' AND as_of IS NOT NULL`) == 1
	})
	awaitSyncs(t, s)
	follow := func(want string) answer {
		t.Helper()
		job := b.withToken(http.MethodPost, "/api/strava/sync", token).json(200, `{"jobId":JOB,"status":"queued"}`)
		path := fmt.Sprintf("/api/strava/sync/status/%.0f", job.field("jobId"))
		if now := b.withToken(http.MethodGet, path, token); now.field("status") == "running" {
			now.json(200, `{"completedAt":null,"currentBatch":0,"dataSource":"strava","errorMessage":null,"jobId":JOB,`+
				`"startedAt":TIME,"status":"running","totalExpected":null,"totalImported":0}`)
		} else {
			t.Errorf("a new job is %v", now.field("status"))
		}
		var now answer
		testkit.Eventually(t, "the job is over", func() bool {
			now = b.withToken(http.MethodGet, path, token)
			return now.field("status") != "running"
		})
		if now.field("status") != want {
			t.Errorf("the job is %v, want %s", now.field("status"), want)
		}
		return now
	}
	done := follow("completed")
	n := int(done.field("totalImported").(float64))
	done.json(200, fmt.Sprintf(`{"completedAt":TIME,"currentBatch":0,"dataSource":"strava","errorMessage":null,`+
		`"jobId":JOB,"startedAt":TIME,"status":"completed","totalExpected":%d,"totalImported":%d}`, n, n))
	if n == 0 {
		t.Error("nothing was imported")
	}
	// The entries before are a moment old, and no success of this job.
	if err := s.sandbox.SetSwitch(t.Context(), sandbox.Strava, sandbox.API, "500"); err != nil {
		t.Fatal(err)
	}
	failed := follow("failed")
	if text, _ := failed.field("errorMessage").(string); text == "" || failed.field("completedAt") != nil {
		t.Errorf("got %s", failed.body)
	}
	for _, job := range []string{"undefined", "-1", "1", "9999999999999999", "99999999999999999999"} {
		b.withToken(http.MethodGet, "/api/strava/sync/status/"+job, token).json(404, `{"error":"Not found"}`)
	}
}

func TestFrontendNeedsAToken(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	operators := "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	exec(t, s, `INSERT INTO cairn.node_links SELECT $1, id, now() + interval '1 minute' FROM cairn.users`,
		sum(operators))
	const missing, wrong = `{"error":"Authentication required"`, `{"error":"Invalid token"`
	for _, route := range []string{
		"GET /api/auth/me", "GET /api/strava/auth/start", "GET /api/strava/status", "DELETE /api/strava/disconnect",
		"GET /api/garmin/connect", "GET /api/garmin/status", "DELETE /api/garmin/disconnect", "POST /api/strava/sync",
		"GET /api/strava/sync/status/1",
	} {
		method, path, _ := strings.Cut(route, " ")
		end := `,"message":WORDS}`
		if path == "/api/auth/me" {
			end = `}`
		}
		for query, want := range map[string]string{
			"": missing, "?token=": missing, "?token=" + private(8): wrong,
			"?token=" + token + "&token=" + token: wrong, "?token=abc": wrong,
			"?token=" + operators: wrong, "?token=" + token + "%00": wrong,
		} {
			b.do(method, path+query, nil).json(401, want+end)
		}
		b.withToken(method, path, "abc").json(401, wrong+end)
		// What the query says counts.
		b.withToken(method, path+"?token=abc", token).json(401, wrong+end)
		r, err := http.NewRequestWithContext(t.Context(), method, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header["X-Auth-Token"] = []string{token, token}
		b.answer(r).json(401, wrong+end)
	}
	b.withToken(http.MethodGet, "/api/auth/me?token="+token, "abc").want(200, "", "")
	b.get("/api/auth/me?token="+token).want(200, "", "")
}

// A valid token is never refused: the front end forgets it then.
func TestFrontendRefusesOnlyUnknownTokens(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	for i := range auth.DefaultLimits().LinkNetwork.Max {
		b.withToken(http.MethodGet, "/api/auth/me", private(1000+i)).json(401, `{"error":"Invalid token"}`)
	}
	refused := b.withToken(http.MethodGet, "/api/auth/me", private(8)).json(429, `{"error":"Too many attempts."}`)
	if refused.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	b.withToken(http.MethodGet, "/api/auth/me", token).want(200, "", "")
	shutDatabase(t, s)
	a := b.withToken(http.MethodGet, "/api/auth/me", token).json(503, `{"error":"Cairn can’t reach its database."}`)
	if a.header.Get("Retry-After") == "" || a.header.Get("Access-Control-Allow-Origin") != frontAt {
		t.Errorf("headers %v", a.header)
	}
}

func TestFrontendTokensEnd(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	const me, wrong = "/api/auth/me", `{"error":"Invalid token"}`
	b := newBrowser(t, s)
	owner := withFoursquare(t, s)
	userID := count(t, s, `SELECT id::int FROM cairn.users`)
	late := fronted(t, func(o *options) {
		o.pool, o.node.LinksUntil = s.pool, time.Now().Add(-time.Minute)
	})
	for i, end := range []func(){
		func() { owner.post("/account/link/end").to("/account#sessions") },
		func() { owner.post("/account/sessions/end-others").to("/account#sessions") },
		func() { owner.post("/account/delete").want(303, "", "") },
	} {
		token := giveLink(t, s, i, userID)
		b.withToken(http.MethodGet, me, token).want(200, "", "")
		b.at(late).withToken(http.MethodGet, me, token).json(401, wrong)
		end()
		b.withToken(http.MethodGet, me, token).json(401, wrong)
	}
}

func TestFrontendUnknownAddresses(t *testing.T) {
	t.Parallel()
	s := fronted(t)
	_, token := fromNode(t, s, 7, "ada")
	b := newBrowser(t, s)
	for _, route := range []string{
		"GET /api/", "GET /api/checkins", "GET /api/auth/me/", "GET /api/strava/sync", "POST /api/auth/me",
		"PUT /api/strava/status", "DELETE /api/strava/status", "PATCH /api/nothing", "GET /api/strava/sync/status/",
		"POST /api/strava/auth/callback", "GET /api/strava//status",
	} {
		method, path, _ := strings.Cut(route, " ")
		for _, query := range []string{"", "?token=" + token} {
			a := b.do(method, path+query, nil).json(404, `{"error":"Not found"}`)
			if a.header.Get("Access-Control-Allow-Origin") != frontAt {
				t.Errorf("%s: the front end can't read the answer", route)
			}
		}
	}
	b.get("/nothing").want(404, "h1", "nothing here")
	b.get("/apis/nothing").want(404, "h1", "nothing here")
	b.get("/logout").want(405, "h1", "")
	b.get("/api/strava/auth/callback").to("/login?notice=expired-strava")
}

func TestWithoutAFrontend(t *testing.T) {
	t.Parallel()
	s := linked(t)
	_, token := fromNode(t, s, 7, "ada")
	b := signedUp(t, s, "bob@example.org")
	for _, route := range []string{
		"GET /api/strava/auth/start", "GET /api/strava/status", "DELETE /api/strava/disconnect",
		"GET /api/garmin/connect", "GET /api/garmin/status", "DELETE /api/garmin/disconnect", "POST /api/strava/sync",
		"GET /api/strava/sync/status/1", "GET /api/nothing", "GET /connect/continue",
		"GET /connect/continue?token=ABCDEFGHIJKLMNOPQRSTUVWXYZ",
	} {
		method, path, _ := strings.Cut(route, " ")
		a := b.do(method, path, nil, "X-Auth-Token", token)
		// The path of connecting a provider is that of a form.
		if a.status != 404 && !(a.status == 405 && strings.HasPrefix(path, "/connect/")) ||
			a.Find("h1").Length() != 1 || a.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", route, a.status, a.header)
		}
	}
	a := b.do(http.MethodPost, "/api/strava/sync?token="+token, nil, "Origin", frontAt)
	a.want(403, "h1", "Request blocked")
	b.get("/api/auth/login").to("/login")
	if name := b.get("/api/auth/me", "X-Auth-Token", token).want(200, "", "").field("displayName"); name != "Ada" {
		t.Errorf("me is %v", name)
	}
	newBrowser(t, s).get("/api/auth/me?token="+token).json(401, `{"error":"Authentication required"}`)
	b.get("/health").want(200, "", "")
	b.get("/api/auth/callback").to("/")
	b.get("/api/strava/auth/callback").to("/")
	b.get("/api/garmin/callback").to("/")
}
