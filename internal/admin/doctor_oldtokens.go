package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// oauth1End is when Garmin ends OAuth 1, which the Node server used.
var oauth1End = time.Date(2026, time.December, 31, 0, 0, 0, 0, time.UTC)

// checkOldTokens looks for Garmin tokens in the tables of the Node server that used this database before. That server
// encrypted them in its own way, so which of them are OAuth 1 can't be seen.
func checkOldTokens(ctx context.Context, e examined) []finding {
	if e.databaseErr != nil {
		return nil
	}
	rows, err := e.pool.Query(ctx, `
		SELECT DISTINCT ON (c.table_name) c.table_name::text, c.column_name::text
		FROM information_schema.columns c
		JOIN information_schema.tables t USING (table_schema, table_name)
		WHERE table_schema = 'public' AND t.table_type = 'BASE TABLE'
		  AND c.column_name LIKE '%token%' AND c.table_name || ' ' || c.column_name LIKE '%garmin%'
		ORDER BY c.table_name, c.ordinal_position`)
	if err != nil {
		return []finding{{wrong, "old Garmin tokens", "can't be searched for: " + err.Error()}}
	}
	type column struct{ Table, Name string }
	columns, err := pgx.CollectRows(rows, pgx.RowToStructByPos[column])
	if err != nil {
		return []finding{{wrong, "old Garmin tokens", "can't be searched for: " + err.Error()}}
	}
	var found []finding
	for _, c := range columns {
		var n int
		name, table := pgx.Identifier{c.Name}.Sanitize(), pgx.Identifier{"public", c.Table}.Sanitize()
		err := e.pool.QueryRow(ctx, `SELECT count(`+name+`)::int FROM `+table).Scan(&n)
		switch {
		case err != nil:
			found = append(found, finding{warning, "old Garmin tokens", fmt.Sprintf(
				"public.%s can't be counted: %v", c.Table, err)})
		case n > 0:
			found = append(found, finding{warning, "old Garmin tokens", fmt.Sprintf(
				"%d in public.%s (%s). Those of OAuth 1 stop working on %s (%s): "+
					"have their owners connect Garmin here",
				n, c.Table, c.Name, oauth1End.Format(time.DateOnly), daysTo(oauth1End, e.today))})
		}
	}
	if found == nil {
		found = append(found, finding{well, "old Garmin tokens", "none in this database"})
	}
	return found
}
