package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
)

// The doctor asks the server at PUBLIC_URL which one it is.
func TestDoctorAsksPublicURL(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthz" {
			t.Errorf("the doctor asks for %s", r.URL)
		}
		_, _ = w.Write([]byte(`{"status":"ok"}`))
	}))
	defer other.Close()
	elsewhere := httptest.NewServer(
		http.RedirectHandler("https://www.cairn.example.org/healthz", http.StatusMovedPermanently))
	defer elsewhere.Close()
	distrusted := httptest.NewTLSServer(http.NotFoundHandler())
	defer distrusted.Close()
	env := func(more ...string) []string {
		return append([]string{"DATA_DIR=" + testkit.DataDir(t), "DATABASE_URL=" + dbtest.NewPatientURL(t),
			"STRAVA_CLIENT_ID=7", "STRAVA_CLIENT_SECRET=hunter2"}, more...)
	}
	port := testkit.FreePort(t)
	ours := env("PORT="+port, "PUBLIC_URL=http://localhost:"+port)
	start(t, ours...)
	theirs := env("PORT=0")
	stranger := start(t, theirs...)
	for _, tt := range []struct {
		name, publicURL, want string
	}{
		{
			"ours", "http://localhost:" + port,
			`ok | public url | localhost:` + port + ` leads here, to server [0-9a-z]{8}`,
		},
		{
			"another Cairn", stranger.url,
			`warn | public url | a Cairn answers at .* that is none of this database's servers`,
		},
		{
			"something else", other.URL,
			`warn | public url | something at .* answers that is not this version of Cairn \(status 200\)`,
		},
		{"a redirect", elsewhere.URL, `warn | public url | .* redirects browsers to www\.cairn\.example\.org`},
		{
			"an unknown name", "https://cairn.invalid",
			`(warn | public url | the name cairn\.invalid is unknown|` +
				`ok | public url | cairn\.invalid can't be reached)`,
		},
		{"an untrusted certificate", distrusted.URL, `warn | public url | the certificate of .* is not trusted`},
		{
			"no server", "http://127.0.0.1:1",
			`ok | public url | 127\.0\.0\.1:1 can't be reached from this machine, which may be intended`,
		},
	} {
		_, says := seeDoctor(t, append(ours, "PUBLIC_URL="+tt.publicURL)...)
		testkit.WantFindings(t, says, tt.want)
	}
}

// A proxy that TRUSTED_PROXIES does not name is reported: once in the log, and by the doctor.
func TestUntrustedProxyIsReported(t *testing.T) {
	testkit.Long(t)
	t.Parallel()
	for name, tt := range map[string]struct {
		trusted string
		want    string
		lines   int
	}{
		"not named": {"TRUSTED_PROXIES=10.0.0.0/8", `warn | proxies | (127\.0\.0\.1|::1) sent X-Forwarded-For ` +
			`to server [0-9a-z]{8}, and TRUSTED_PROXIES does not name it`, 1},
		"named": {"TRUSTED_PROXIES=127.0.0.1,::1", `ok | proxies | the client is named by 127\.0\.0\.1/32, ::1/128`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := []string{"PORT=0", "DATABASE_URL=" + dbtest.NewPatientURL(t), tt.trusted}
			server := start(t, env...)
			for range 3 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.url+"/login", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-Forwarded-For", "203.0.113.7")
				resp, err := testkit.NewBrowser(t).Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
			}
			var says string
			testkit.Eventually(t, "the doctor says so", func() bool {
				_, says = seeDoctor(t, env...)
				return strings.Contains(says, "sent X-Forwarded-For") == (tt.lines > 0)
			})
			testkit.WantFindings(t, says, tt.want)
			if n := strings.Count(server.logged(), "X-Forwarded-For came from"); n != tt.lines {
				t.Errorf("the log says so %d times, want %d:\n%s", n, tt.lines, server.logged())
			}
		})
	}
}
