package admin

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/seal"
)

func checkDatabase(_ context.Context, e deployment) []Finding {
	switch {
	case errors.Is(e.databaseErr, errNoDatabase):
		return []Finding{{Warning, "database", e.databaseErr.Error()}}
	case e.databaseErr != nil:
		return []Finding{{Failure, "database", e.databaseErr.Error()}}
	case e.database.ReadOnly != "":
		return []Finding{{Failure, "database", fmt.Sprintf("%s can't be written to: %s",
			e.database.Address, e.database.ReadOnly)}}
	}
	return []Finding{{OK, "database", fmt.Sprintf("PostgreSQL %s at %s answers in %v and can be written to",
		e.database.Server, e.database.Address, e.database.Took.Round(100*time.Microsecond))}}
}

func checkSchema(_ context.Context, e deployment) []Finding {
	d := e.database
	switch {
	case e.databaseErr != nil:
		return nil
	case d.Version == 0 && !d.MayMigrate:
		return []Finding{{Failure, "schema", "there is none yet, and the user of DATABASE_URL may not make it: " +
			"run server migrate as its owner (deploy/database.sql)"}}
	case len(d.Pending) > 0 && !d.MayMigrate:
		return []Finding{{Failure, "schema", fmt.Sprintf("version %d; pending: %s. "+
			"The user of DATABASE_URL may not run them: run server migrate as the schema's owner",
			d.Version, strings.Join(d.Pending, ", "))}}
	case d.Version == 0:
		return []Finding{{Warning, "schema", "there is none yet: the first start makes it, or server migrate"}}
	case len(d.Pending) > 0:
		return []Finding{{Warning, "schema", fmt.Sprintf(
			"version %d; pending: %s. The next start runs them, or server migrate",
			d.Version, strings.Join(d.Pending, ", "))}}
	case d.Version > d.Known:
		return []Finding{{Warning, "schema", fmt.Sprintf(
			"version %d is newer than this program, which knows %d: fine for going back one release",
			d.Version, d.Known)}}
	}
	return []Finding{{OK, "schema", fmt.Sprintf("version %d, the newest this program knows", d.Version)}}
}

// hasSchema reports whether the tables exist. The first version of the schema has most tables that the doctor reads.
// Checks that read later ones compare the version.
func (e deployment) hasSchema() bool { return e.databaseErr == nil && e.database.Version > 0 }

// checkKeys compares the keys that sealed what is stored with those that are configured.
func checkKeys(ctx context.Context, e deployment) []Finding {
	configured, err := e.keyIDs()
	if err != nil {
		return []Finding{{Failure, "keys", err.Error()}}
	}
	switch {
	case !e.hasSchema():
		return nil
	case e.database.Version < 4: // the first with withdrawals, whose tokens are sealed, too
		return []Finding{{
			Warning, "keys",
			"can't be compared with what is stored until the pending migrations have run",
		}}
	}
	secrets := Secrets(e.pool, nil)
	if e.database.Version < 29 { // the first with authenticator apps
		secrets.All = connection.SealedColumns()
	}
	used, err := secrets.Keys(ctx)
	if err != nil {
		return []Finding{{Failure, "keys", err.Error()}}
	}
	var found []Finding
	for _, id := range slices.Sorted(maps.Keys(used)) {
		found = append(found, keyFinding(id, used[id], configured))
	}
	for i, id := range configured {
		if i > 0 && used[id] == 0 {
			found = append(found, Finding{OK, "keys", fmt.Sprintf(
				"%s seals nothing any more: remove it once every server has %s in front", id, configured[0])})
		}
	}
	if len(found) == 0 {
		found = append(found, Finding{OK, "keys", "nothing is sealed yet"})
	}
	return found
}

func keyFinding(id string, secrets int, configured []string) Finding {
	sealed := Plural(secrets, "secret")
	switch slices.Index(configured, id) {
	case -1:
		return Finding{Failure, "keys", fmt.Sprintf("%s sealed %s and is not configured: "+
			"add the key with this id to the end of ENCRYPTION_KEY", id, sealed)}
	case 0:
		return Finding{OK, "keys", fmt.Sprintf("%s, the newest, sealed %s", id, sealed)}
	}
	return Finding{Warning, "keys", fmt.Sprintf("%s, an older one, sealed %s: run server rekey", id, sealed)}
}

// keyIDs returns the ids of the configured keys, the newest first. It reads the key that development generates, but
// generates none.
func (e deployment) keyIDs() ([]string, error) {
	c := e.config
	switch {
	case c.EncryptionKeys != nil:
	case config.IsSet(e.getenv, "ENCRYPTION_KEY") || c.Production:
		return nil, errors.New("can't be checked without a good ENCRYPTION_KEY")
	case !c.HasSecretsFile():
		return nil, nil // the first start makes one
	default:
		var err error
		if c, err = c.WithSecrets(); err != nil {
			return nil, err
		}
	}
	sealer, err := seal.New(c.EncryptionKeys...)
	if err != nil {
		return nil, err
	}
	return sealer.KeyIDs(), nil
}

// allowedSkew is more than NTP leaves, and too little to do harm.
const allowedSkew = 5 * time.Second

// checkClock compares this machine's clock with the database's, by which sessions and tokens expire.
func checkClock(_ context.Context, e deployment) []Finding {
	if e.databaseErr != nil {
		return nil
	}
	ahead := e.database.Ahead.Round(100 * time.Millisecond)
	if ahead.Abs() > allowedSkew {
		word := "ahead of"
		if ahead < 0 {
			word = "behind"
		}
		return []Finding{{Warning, "clock", fmt.Sprintf("this machine is %v %s the database: "+
			"synchronise both (NTP). That signs no one out, "+
			"but logs show wrong times, and certificates may be refused", ahead.Abs(), word)}}
	}
	return []Finding{{OK, "clock", fmt.Sprintf("this machine and the database differ by %v", ahead.Abs())}}
}

// stateWords say what the state of connections means, as part of a sentence.
var stateWords = map[connection.State]string{
	connection.Active:         "work",
	connection.Degraded:       "wait for the provider to answer",
	connection.Suspended:      "are refused because of our application, or wait because the day's quota is used up",
	connection.NeedsReconnect: "wait for their owner to connect again",
}

func checkConnections(ctx context.Context, e deployment) []Finding {
	if !e.hasSchema() {
		return nil
	}
	tallies, err := connection.Count(ctx, e.pool)
	if err != nil {
		return []Finding{{Failure, "connections", err.Error()}}
	}
	if len(tallies) == 0 {
		return []Finding{{OK, "connections", "none yet"}}
	}
	var found []Finding
	for _, t := range tallies {
		f := Finding{OK, "connections", fmt.Sprintf("%s: %d %s", t.Provider, t.N, stateWords[t.State])}
		if t.State == connection.Suspended {
			f.Verdict = Warning
		}
		found = append(found, f)
	}
	return found
}

// checkBudgets says how much of the providers' quotas is used.
func checkBudgets(ctx context.Context, e deployment) (found []Finding) {
	if e.databaseErr != nil || e.database.Version < 5 {
		return nil
	}
	budgets, err := oauth.Budgets(ctx, e.pool)
	if err != nil {
		return []Finding{{Failure, "quota", err.Error()}}
	}
	for _, b := range budgets {
		what := "quota " + b.Provider
		if b.QuarterMax > 0 {
			f := Finding{OK, what, fmt.Sprintf("%d of %d calls used in this quarter hour, %d of %d today (UTC)",
				b.QuarterUsed, b.QuarterMax, b.DayUsed, b.DayMax)}
			if b.DayUsed >= b.DayMax {
				f.Verdict = Warning
			}
			found = append(found, f)
		}
		if !b.PausedUntil.IsZero() {
			until := b.PausedUntil.UTC().Format(time.DateTime)
			found = append(found, Finding{Warning, what, "it asked for no calls before " + until + " UTC"})
		}
	}
	return found
}
