package admin

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/instance"
)

// NoneOlder fails while servers run that know an older schema than needs, and says what such a version does.
func NoneOlder(ctx context.Context, pool *pgxpool.Pool, needs int64, does string) error {
	servers, err := instance.List(ctx, pool)
	if err != nil {
		return err
	}
	for _, s := range servers {
		if s.Live && s.Schema < needs {
			return fmt.Errorf("the server %s at %s is of a version that %s: update it first. "+
				"A server that was killed counts as running for two more minutes", s.ID, s.Hostname, does)
		}
	}
	return nil
}

// AboutInstances explains Instances.
const AboutInstances = `
Each server announces itself every 20 seconds until it stops. STATE is live, or
silent if a server was not seen for two minutes: it was killed, or can't reach the
database. After an hour it is deleted from the list. KEYS are the ids of its
encryption keys, the newest first.

--json prints one JSON object a line: id, hostname, version, schema_version,
key_ids, started, last_seen, live.
`

// InstanceRow is a line of the listing.
type InstanceRow struct {
	ID       string    `json:"id"`
	Hostname string    `json:"hostname"`
	Version  string    `json:"version"`
	Schema   int64     `json:"schema_version"` // the newest it knows
	KeyIDs   []string  `json:"key_ids"`
	Started  time.Time `json:"started"`
	LastSeen time.Time `json:"last_seen"`
	Live     bool      `json:"live"`
}

func (i InstanceRow) state() string {
	if i.Live {
		return "live"
	}
	return "silent"
}

// Instances lists the running servers.
func Instances(ctx context.Context, e Env, out io.Writer) error {
	asJSON, err := ParseListing(e.Args)
	if err != nil {
		return err
	}
	return e.Database(ctx, func(_ config.Config, pool *pgxpool.Pool) error {
		all, err := instance.List(ctx, pool)
		if err != nil {
			return err
		}
		var rows []InstanceRow
		for _, i := range all {
			rows = append(rows, InstanceRow{
				i.ID, i.Hostname, i.Version, i.Schema, i.Keys, i.Started.UTC(), i.LastSeen.UTC(), i.Live,
			})
		}
		const heading = "ID\tHOST\tSTATE\tSTARTED\tLAST SEEN\tVERSION\tSCHEMA\tKEYS"
		return listAll(out, asJSON, heading, rows, func(i InstanceRow) string {
			return fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s", i.ID, i.Hostname, i.state(),
				stamp(i.Started), stamp(i.LastSeen), i.Version, i.Schema, strings.Join(i.KeyIDs, ","))
		})
	})
}
