package main

import (
	"net"
	"net/http"
	"net/url"
	"testing"

	"cairn/internal/config"
	"cairn/internal/testkit"
)

// A server starts and shows its pages while no provider answers.
func TestStartNeedsNoProvider(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts connections, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	env := []string{"DATA_DIR=" + testkit.DataDir(t), "PORT=" + testkit.FreePort(t)}
	for _, p := range config.Providers() {
		env = append(env, p.Prefix+"_CLIENT_ID=id", p.Prefix+"_CLIENT_SECRET=s3cr3t")
		for _, address := range []string{"AUTHORIZE", "TOKEN", "API", "REVOKE"} {
			env = append(env, p.Prefix+"_"+address+"_URL=http://"+silent.Addr().String())
		}
	}
	server := start(t, env...)
	b := testkit.NewBrowser(t)
	for _, path := range []string{"/", "/readyz", "/login"} {
		if status, _ := b.Send(http.MethodGet, server.url+path, nil); status != http.StatusOK {
			t.Errorf("%s answered %d", path, status)
		}
	}
	status, page := b.Send(http.MethodPost, server.url+"/signup", url.Values{
		"name": {"Ada"}, "email": {"ada@example.org"}, "password": {"strava2026garmin"},
	})
	if status != http.StatusUnprocessableEntity || page.Find("#password-error").Length() != 1 {
		t.Errorf("a password with names of providers was answered %d", status)
	}
	if code := server.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
