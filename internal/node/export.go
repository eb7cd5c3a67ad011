package node

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/export"
)

// exported is a user of the Node server in the archive that a person downloads.
type exported struct {
	NodeID      int64      `json:"node_id"` // negative: a private link that was made here
	ImportedAt  *time.Time `json:"imported_at"`
	LinkUsedAt  *time.Time `json:"private_link_used_at"`
	LinkEndedAt *time.Time `json:"private_link_ended_at"`
}

// exports are what the change-over adds to that archive.
func exports(pool *pgxpool.Pool) []export.Part {
	return []export.Part{
		export.List("old_site.json", "you on the site before this one", usersOf(pool)),
	}
}

// usersOf reads the rows of a user, which are few, so there is no next page.
func usersOf(pool *pgxpool.Pool) func(context.Context, int64, int64) ([]exported, int64, error) {
	return func(ctx context.Context, userID, _ int64) (users []exported, next int64, err error) {
		rows, _ := pool.Query(ctx, `
			SELECT node_id, imported_at, link_used_at, link_ended_at FROM cairn.node_users
			WHERE user_id = $1 ORDER BY node_id`, userID) // CollectRows returns its error
		users, err = pgx.CollectRows(rows, pgx.RowToStructByPos[exported])
		if err != nil {
			return nil, 0, fmt.Errorf("node: export user %d: %w", userID, err)
		}
		for _, u := range users {
			for _, at := range []*time.Time{u.ImportedAt, u.LinkUsedAt, u.LinkEndedAt} {
				if at != nil {
					*at = at.UTC()
				}
			}
		}
		return users, 0, nil
	}
}
