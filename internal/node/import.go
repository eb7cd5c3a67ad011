package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/db"
	"cairn/internal/connection"
)

// Importer imports people and connections. Make it with NewImporter.
type Importer struct {
	pool        *pgxpool.Pool
	connections *connection.Store
	keys        keys
}

// NewImporter returns an importer. from is the address of the Node server's database if that is not ours.
func NewImporter(d Deps, from string) (*Importer, error) {
	keys, err := keysOf(d, from)
	if err != nil {
		return nil, err
	}
	return &Importer{pool: d.Pool, connections: d.Connections, keys: keys}, nil
}

// keysOf are the keys that the Node server may have had.
func keysOf(d Deps, from string) (keys, error) {
	return newKeys(append(keyTexts(d.Config), from, d.Config.DatabaseURL)...)
}

// Run says how an import runs.
type Run struct {
	From   *pgxpool.Pool // the Node server's database; nil: ours
	Source string        // a name for it (sourceName)
	All    bool          // read all rows, and not only those that were written since the last run
	Dry    bool          // count, and write nothing
	// Refused is called for each row that is refused, Progress after each batch; both may be nil.
	Refused  func(row int64, why string)
	Progress func(done, all int)
}

// importLock is the advisory lock of the process that imports: "node" in ASCII.
const importLock = 0x6e6f6465

// batchTime is how long one batch may take.
const batchTime = 2 * time.Minute

// Import imports what is not here yet. It can be repeated, and stopped anywhere: the next run completes it. Errors:
// db.ErrLocked while another process imports; errNoUsers.
func (i *Importer) Import(ctx context.Context, r Run) (Summary, error) {
	total := newSummary()
	if r.From == nil {
		r.From = i.pool
	}
	if r.Dry {
		return total, i.importAll(ctx, r, &total, func() error { return nil })
	}
	lock := db.Lock{Key: importLock, Name: "cairn node import"}
	err := lock.Hold(ctx, i.pool, func(ctx context.Context, held func() error) error {
		return i.importAll(ctx, r, &total, held)
	})
	return total, err
}

func (i *Importer) importAll(ctx context.Context, r Run, total *Summary, held func() error) error {
	from, err := openSource(ctx, r.From)
	if err != nil {
		return err
	}
	since, err := i.lastSeen(ctx, r)
	if err != nil {
		return err
	}
	now, since, err := from.snapshot(ctx, since)
	if err != nil {
		return err
	}
	all, err := from.count(ctx, since)
	if err != nil {
		return err
	}
	if all == 0 {
		return i.finish(ctx, r, now)
	}
	shared, err := from.sharedAthletes(ctx)
	if err != nil {
		return err
	}
	for last := int64(0); ; {
		people, err := from.read(ctx, since, last, batchSize)
		if err != nil {
			return err
		}
		if len(people) == 0 {
			break
		}
		if err := held(); err != nil {
			return err
		}
		done, err := i.importBatch(ctx, r, people, shared)
		if err != nil {
			return fmt.Errorf("rows %d to %d: %w", people[0].id, people[len(people)-1].id, err)
		}
		total.add(done)
		last = people[len(people)-1].id
		if r.Progress != nil {
			r.Progress(total.Rows, max(all, total.Rows))
		}
		if len(people) < batchSize {
			break // the search for more would read the whole table once more
		}
	}
	return i.finish(ctx, r, now)
}

func (i *Importer) importBatch(
	ctx context.Context, r Run, people []person, shared map[int64]bool,
) (done Summary, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	options := pgx.TxOptions{}
	if r.Dry {
		options.AccessMode = pgx.ReadOnly
	}
	var refused map[int64]string
	err = pgx.BeginTxFunc(ctx, i.pool, options, func(tx pgx.Tx) error {
		b := batch{Importer: i, tx: tx, dry: r.Dry, own: r.From == i.pool, people: people, shared: shared,
			done: newSummary()}
		err := b.run(ctx)
		done, refused = b.done, b.refused
		return err
	})
	if err == nil && r.Refused != nil {
		for _, p := range people {
			if why, ok := refused[p.id]; ok {
				r.Refused(p.id, why)
			}
		}
	}
	return done, err
}

// ImportPerson makes the account of one row, for somebody who comes before the next import. Connections come with that.
func (i *Importer) ImportPerson(ctx context.Context, row int64) error {
	from, err := openSource(ctx, i.pool)
	if err != nil {
		return err
	}
	people, err := from.read(ctx, 0, row-1, 1)
	if err != nil || len(people) == 0 || people[0].id != row {
		return err
	}
	people[0].sealed = nil
	_, err = i.importBatch(ctx, Run{From: i.pool}, people[:1], nil)
	return err
}

// lastSeen returns the oldest transaction of the source that the last run may not have seen, 0 for all.
func (i *Importer) lastSeen(ctx context.Context, r Run) (seen int64, err error) {
	if r.All {
		return 0, nil
	}
	err = i.pool.QueryRow(ctx, `
		SELECT COALESCE(seen, 0) FROM cairn.node_imports WHERE source = $1`, r.Source).Scan(&seen)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("node: read how far imports have come: %w", err)
	}
	return seen, nil
}

func (i *Importer) finish(ctx context.Context, r Run, seen int64) error {
	if r.Dry {
		return nil
	}
	_, err := i.pool.Exec(ctx, `
		INSERT INTO cairn.node_imports (source, seen, finished_at) VALUES ($1, $2, now())
		ON CONFLICT (source) DO UPDATE SET seen = EXCLUDED.seen, finished_at = EXCLUDED.finished_at`, r.Source, seen)
	if err != nil {
		return fmt.Errorf("node: note how far imports have come: %w", err)
	}
	return nil
}

// Repeated returns a function that a running server calls again and again. Each call imports what the calls before have
// not, and the first that succeeds reads all rows. Servers share the work: one imports, and the others leave it at
// that.
func (i *Importer) Repeated(log *slog.Logger) func(context.Context) {
	all := true
	return func(ctx context.Context) {
		done, err := i.Import(ctx, Run{Source: sourceName(""), All: all, Refused: func(row int64, why string) {
			log.WarnContext(ctx, "a row of the Node server's users is refused", "row", row, "why", why)
		}})
		switch {
		case err == nil:
			all = false
			if !done.Empty() {
				log.InfoContext(ctx, "imported from the Node server", "rows", done.Rows, "made", done.Made,
					"renewed", done.Renewed, "refused", done.Refused, "reconnect", done.Reconnect)
			}
		case ctx.Err() == nil && !errors.Is(err, db.ErrLocked):
			log.ErrorContext(ctx, "the import from the Node server failed", "error", err)
		}
	}
}
