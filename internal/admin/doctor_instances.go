package admin

import (
	"context"
	"fmt"
	"slices"

	"cairn/internal/instance"
)

// checkInstances lists the running servers, and finds those that lack the newest key, which holds up its rotation.
func checkInstances(ctx context.Context, e deployment) (found []Finding) {
	if !e.hasSchema() || len(e.database.Pending) > 0 {
		return nil
	}
	all, err := instance.List(ctx, e.pool)
	if err != nil {
		return []Finding{{Failure, "instances", err.Error()}}
	}
	keys, err := e.keyIDs()
	if err != nil {
		return nil // the check of keys says why
	}
	for _, i := range all {
		f := Finding{OK, "instances", fmt.Sprintf("%s at %s runs version %s", i.ID, i.Hostname, i.Version)}
		switch {
		case !i.Live:
			f.Verdict = Warning
			f.Text = fmt.Sprintf("%s at %s was last seen %s: it was killed, or can't reach the database",
				i.ID, i.Hostname, stamp(i.LastSeen))
		case len(keys) > 0 && !slices.Contains(i.Keys, keys[0]):
			f.Verdict = Warning
			f.Text += fmt.Sprintf(" and lacks the key %s, the newest here: "+
				"put it first in its ENCRYPTION_KEY", keys[0])
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		found = append(found, Finding{OK, "instances", "none is running"})
	}
	return found
}
