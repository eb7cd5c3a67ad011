package soak

import (
	"syscall"
	"testing"
)

// A deploy fails no request: three servers are replaced one by one, again and again, while people read, sign up, sign
// in and connect. With make deploy-test PREVIOUS=commit, that version and this one take turns and share the database.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	rounds := deployRounds(t, "DEPLOY_ROUNDS", 1)
	f := newFleet(t, 3, "SHUTDOWN_DELAY=1s")
	crowd := newCrowd(t, newSite(f.url, true))
	crowd.letIn()
	for round := range rounds {
		program := builds()[round%len(builds())]
		for i := range f.instances {
			old := f.instances[i].Process
			crowd.replaced.Add(1)
			if code := f.replaceBy(program, i, syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d, want 0:\n%s", code, old.Logged())
			}
		}
	}
	crowd.wantNothingNoticed("3 instances behind a balancer", rounds,
		"pages", "sign-ups", "sign-ins", "connects", duringReplacement)
}
