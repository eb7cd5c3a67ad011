package process

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/sandbox"
)

// Simulate serves a sandbox from the test, so that it outlives servers. env are the variables that make servers at site
// use it. wrap may put a handler in front of the sandbox.
func Simulate(
	t *testing.T, pool *pgxpool.Pool, site string, wrap func(http.Handler) http.Handler,
) (simulated *sandbox.Sandbox, env []string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	base := "http://" + server.Listener.Addr().String() + "/sandbox"
	apps := map[string]sandbox.App{}
	for _, p := range config.Providers() {
		apps[p.Key] = sandbox.App{ClientID: "fleet", ClientSecret: "fleet-" + p.Key, RedirectURI: site + p.Callback}
		at := sandbox.EndpointsOf(base, p.Key)
		env = append(env,
			p.Prefix+"_CLIENT_ID=fleet",
			p.Prefix+"_CLIENT_SECRET=fleet-"+p.Key,
			p.Prefix+"_AUTHORIZE_URL="+at.Authorize,
			p.Prefix+"_TOKEN_URL="+at.Token,
			p.Prefix+"_API_URL="+at.API,
			p.Prefix+"_REVOKE_URL="+at.Revoke)
	}
	simulated, err := sandbox.New(t.Context(), sandbox.Options{
		Pool: pool, BaseURL: base, Apps: apps, Site: site, Limits: patientSandbox()})
	if err != nil {
		t.Fatal(err)
	}
	// A crowd needs more than the quota of a small application.
	for _, quota := range []struct{ provider, name, value string }{
		{sandbox.Strava, sandbox.Quota, "1000000,1000000"}, {sandbox.Strava, sandbox.ReadQuota, "1000000,1000000"},
		{sandbox.Foursquare, sandbox.Quota, "1000000"},
	} {
		if err := simulated.SetSwitch(t.Context(), quota.provider, quota.name, quota.value); err != nil {
			t.Fatal(err)
		}
	}
	server.Config.Handler = wrap(simulated.Handler())
	server.Start()
	t.Cleanup(server.Close)
	return simulated, env
}
