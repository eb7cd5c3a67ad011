package soak

import (
	"syscall"
	"testing"

	"cairn/db/dbtest"
	"cairn/internal/testkit"
	"cairn/internal/testkit/process"
)

// One server on one machine is replaced without refusing a connection, because its socket outlives it. No balancer
// stands in front. Half of the visitors open a new connection for each request, and half keep theirs.
func TestPassedSocketOutlivesServers(t *testing.T) {
	t.Parallel()
	rounds := deployRounds(t, "DEPLOY_ROUNDS", 1)
	socket, site := process.Listening(t)
	// Visitors who keep a connection have to be back within this time to hear that it is going to be closed.
	delay := "3s"
	if measured() {
		delay = "500ms"
	}
	env := []string{
		"DATA_DIR=" + testkit.DataDir(t), "PORT=1",
		"DATABASE_URL=" + dbtest.NewPatientURL(t), "SHUTDOWN_DELAY=" + delay,
		"STRAVA_CLIENT_ID=id", "STRAVA_CLIENT_SECRET=s3cr3t", // no sandbox, so that a sign-up needs no message
	}
	server := process.Start(t, process.Passing(serverCommand(t, nil, env...), socket))
	if server.URL != site {
		t.Fatalf("it listens at %s, want %s", server.URL, site)
	}
	kept, fresh := newCrowd(t, newSite(site, true)), newCrowd(t, newSite(site, false))
	for range 4 {
		kept.stay(kept.reads)
		fresh.stay(fresh.reads)
	}
	for round := range 2 * rounds {
		kept.replaced.Add(1)
		fresh.replaced.Add(1)
		old := server
		overlap := round >= rounds // the new server accepts on the same socket before the old one is asked to stop
		if overlap {
			server = process.Start(t, process.Passing(serverCommand(t, nil, env...), socket))
		}
		if code := old.End(syscall.SIGTERM); code != 0 {
			t.Errorf("exit code %d, want 0:\n%s", code, old.Logged())
		}
		if !overlap {
			server = process.Start(t, process.Passing(serverCommand(t, nil, env...), socket))
		}
	}
	kept.wantNothingNoticed("1 socket, kept connections", rounds, "pages")
	fresh.wantNothingNoticed("1 socket, new connections", rounds, "pages")
}
