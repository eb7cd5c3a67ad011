// Package sealed looks after columns of the database with sealed values (package seal): which keys sealed them, and
// sealing them again with the newest key. Features say which columns they have.
package sealed

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/seal"
)

// Column is a column with sealed values. A large table has an index on the expression that key returns.
type Column struct {
	Table string // "cairn.connections"
	Value string // the name of the column, whose values may be NULL
	ID    string // the name of a bigint column that identifies the row
	Data  string // the associated data, as SQL
}

// key is the id of the key that sealed a value, in hex. It follows the first byte of the value.
func (c Column) key() string { return `encode(substring(` + c.Value + ` FROM 2 FOR 4), 'hex')` }

// Columns are all columns with sealed values, and the keys that open them.
type Columns struct {
	Pool   *pgxpool.Pool
	Sealer *seal.Sealer // may be nil for Keys
	All    []Column
}

// Keys counts the values by the id of the key that sealed them, in hex.
func (s Columns) Keys(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	for _, c := range s.All {
		rows, _ := s.Pool.Query(ctx, `SELECT `+c.key()+`, count(*)::int FROM `+c.Table+`
			WHERE `+c.Value+` IS NOT NULL GROUP BY 1`) // ForEachRow returns its error
		var id string
		var n int
		if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { counts[id] += n; return nil }); err != nil {
			return nil, fmt.Errorf("sealed: count keys of %s: %w", c.Table, err)
		}
	}
	return counts, nil
}

// Check checks that the configured keys are enough to open every value. It is cheap however many there are, because it
// jumps through an index from one key to the next. Errors: seal.ErrKey, with the ids of the missing keys.
func (s Columns) Check(ctx context.Context) error {
	for _, c := range s.All {
		rows, _ := s.Pool.Query(ctx, `
			WITH RECURSIVE used (key) AS (
				SELECT min(`+c.key()+`) FROM `+c.Table+`
				UNION ALL
				SELECT (SELECT min(`+c.key()+`) FROM `+c.Table+` WHERE `+c.key()+` > used.key)
				FROM used WHERE used.key IS NOT NULL
			)
			SELECT key FROM used WHERE key <> ALL($1) ORDER BY key`, s.Sealer.KeyIDs()) // CollectRows returns its error
		missing, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("sealed: check keys of %s: %w", c.Table, err)
		}
		if len(missing) > 0 {
			return fmt.Errorf("%w: %s needs the key %s", seal.ErrKey, c.Table, strings.Join(missing, ", "))
		}
	}
	return nil
}

const rekeyBatch = 100

// value is a value that has to be sealed again.
type value struct {
	ID     int64
	Data   string
	Sealed []byte
}

// Rekey seals all values with the newest key that are not sealed with it yet, and returns how many. It can be stopped
// and run again at any time, also beside servers that write values: it leaves one alone that has changed since it was
// read. A value that does not open is left as it is, and does not stop the others. Errors: seal.ErrOpen, with the
// associated data of all such values.
func (s Columns) Rekey(ctx context.Context) (done int, err error) {
	var damaged error
	for _, c := range s.All {
		n, err := s.rekey(ctx, c, &damaged)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, damaged
}

// rekey goes through one column in batches, in the order of its rows, so that a batch does not read what was done
// before.
func (s Columns) rekey(ctx context.Context, c Column, damaged *error) (done int, err error) {
	for last := int64(0); ; {
		rows, _ := s.Pool.Query(ctx, `
			SELECT `+c.ID+`, `+c.Data+`, `+c.Value+` FROM `+c.Table+`
			WHERE `+c.key()+` <> $1 AND `+c.ID+` > $2 ORDER BY `+c.ID+` LIMIT $3`,
			s.Sealer.KeyIDs()[0], last, rekeyBatch) // CollectRows returns its error
		batch, err := pgx.CollectRows(rows, pgx.RowToStructByPos[value])
		if err != nil {
			return done, fmt.Errorf("sealed: read %s: %w", c.Table, err)
		}
		for _, v := range batch {
			last = v.ID
			n, err := s.sealAgain(ctx, c, v)
			switch {
			case errors.Is(err, seal.ErrOpen):
				*damaged = errors.Join(*damaged, err)
			case err != nil:
				return done, err
			}
			done += n
		}
		if len(batch) < rekeyBatch {
			return done, nil
		}
	}
}

// sealAgain returns 1 if it has sealed a value again, 0 if that has changed since it was read.
func (s Columns) sealAgain(ctx context.Context, c Column, v value) (n int, err error) {
	plain, err := s.Sealer.Open(v.Sealed, v.Data)
	if err != nil {
		return 0, fmt.Errorf("sealed: open %s: %w", v.Data, err)
	}
	tag, err := s.Pool.Exec(ctx,
		`UPDATE `+c.Table+` SET `+c.Value+` = $3 WHERE `+c.ID+` = $1 AND `+c.Value+` = $2`,
		v.ID, v.Sealed, s.Sealer.Seal(plain, v.Data))
	if err != nil {
		return 0, fmt.Errorf("sealed: write %s: %w", v.Data, err)
	}
	return int(tag.RowsAffected()), nil
}
