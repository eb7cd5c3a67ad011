package connection

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// exportPage is how many records are read at once for a person who downloads their data.
const exportPage = 200

// Exported is a connection in the archive that its owner downloads, without its tokens.
type Exported struct {
	Provider           string    `json:"provider"`
	AccountID          string    `json:"account_id"` // the provider's
	AccountName        string    `json:"account_name"`
	PictureURL         string    `json:"picture_url"`
	GrantedPermissions []string  `json:"granted_permissions"`
	State              State     `json:"state"`
	Cause              Cause     `json:"cause"`
	StateSince         time.Time `json:"state_since"`
	ConnectedAt        time.Time `json:"connected_at"`
	CheckedAt          time.Time `json:"checked_at"`
}

// ExportedEvent is one change of a connection's state, in the same archive.
type ExportedEvent struct {
	At        time.Time `json:"at"`
	Provider  string    `json:"provider"`
	State     State     `json:"state"`
	Cause     Cause     `json:"cause"`
	Status    int       `json:"status"` // the provider's HTTP status, 0 if it gave none
	RequestID string    `json:"request_id"`
}

// ExportedRevocation is a provider that has yet to confirm the end of our access, in the same archive.
type ExportedRevocation struct {
	Provider  string    `json:"provider"`
	AccountID string    `json:"account_id"`
	Since     time.Time `json:"since"`
}

// ExportedPicture is our copy of the picture of a connected account, in the same archive.
type ExportedPicture struct {
	Provider  string    `json:"provider"`
	MediaType string    `json:"media_type"`
	FetchedAt time.Time `json:"fetched_at"`
	Image     []byte    `json:"image"` // in Base64
}

// Export returns a page of a user's connections, and the key of the next one; 0: none.
func (s *Store) Export(ctx context.Context, userID, after int64) (connections []Exported, next int64, err error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT identity_id, provider, subject, account_name, picture_url, granted, state, cause, state_since,
		       connected_at, checked_at
		FROM cairn.connections WHERE user_id = $1 AND identity_id > $2 ORDER BY identity_id LIMIT $3`,
		userID, after, exportPage) // CollectRows returns its error
	connections, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e Exported, err error) {
		err = row.Scan(&next, &e.Provider, &e.AccountID, &e.AccountName, &e.PictureURL, &e.GrantedPermissions, &e.State,
			&e.Cause, &e.StateSince, &e.ConnectedAt, &e.CheckedAt)
		return e.inUTC(), err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("connection: export connections of user %d: %w", userID, err)
	}
	if len(connections) < exportPage {
		next = 0
	}
	return connections, next, nil
}

func (e Exported) inUTC() Exported {
	e.StateSince, e.ConnectedAt, e.CheckedAt = e.StateSince.UTC(), e.ConnectedAt.UTC(), e.CheckedAt.UTC()
	return e
}

// EventKey is where a page of the history begins.
type EventKey struct {
	provider string
	id       int64
}

// ExportHistory returns a page of the history of a user's connections, and the key of the next one; the zero key: none.
// It is in the order of the index, by provider, the newest first: another order would read all of it for each page.
func (s *Store) ExportHistory(
	ctx context.Context, userID int64, after EventKey,
) (events []ExportedEvent, next EventKey, err error) {
	rows, _ := s.pool.Query(ctx, `
		(SELECT id, at, provider, state, cause, status, reference FROM cairn.connection_events
		 WHERE user_id = $1 AND provider = $2 AND id < $3 ORDER BY id DESC LIMIT $4)
		UNION ALL
		(SELECT id, at, provider, state, cause, status, reference FROM cairn.connection_events
		 WHERE user_id = $1 AND provider > $2 ORDER BY provider, id DESC LIMIT $4)
		ORDER BY provider, id DESC LIMIT $4`,
		userID, after.provider, after.id, exportPage) // CollectRows returns its error
	events, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ExportedEvent, err error) {
		err = row.Scan(&next.id, &e.At, &e.Provider, &e.State, &e.Cause, &e.Status, &e.RequestID)
		next.provider, e.At = e.Provider, e.At.UTC()
		return e, err
	})
	if err != nil {
		return nil, EventKey{}, fmt.Errorf("connection: export the history of user %d: %w", userID, err)
	}
	if len(events) < exportPage {
		next = EventKey{}
	}
	return events, next, nil
}

// ExportPictures returns one of a user's pictures, because they are large, and the key of the next one; 0: none.
func (s *Store) ExportPictures(
	ctx context.Context, userID, after int64,
) (pictures []ExportedPicture, next int64, err error) {
	providers, keep := s.keepPictures()
	rows, _ := s.pool.Query(ctx, `
		SELECT identity_id, c.provider, a.media_type, a.fetched_at, a.image
		FROM cairn.connections c JOIN cairn.avatars a USING (identity_id) `+joinPictureRule+`
		WHERE c.user_id = $3 AND identity_id > $4 AND a.fetched_at > now() - rule.keep
		ORDER BY identity_id LIMIT 1`, providers, keep, userID, after) // CollectRows returns its error
	pictures, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ExportedPicture, err error) {
		err = row.Scan(&next, &e.Provider, &e.MediaType, &e.FetchedAt, &e.Image)
		e.FetchedAt = e.FetchedAt.UTC()
		return e, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("connection: export pictures of user %d: %w", userID, err)
	}
	return pictures, next, nil
}

// ExportRevocations returns a page of a user's revocations that are under way, and the key of the next one; 0: none.
func (s *Store) ExportRevocations(
	ctx context.Context, userID, after int64,
) (revocations []ExportedRevocation, next int64, err error) {
	rows, _ := s.pool.Query(ctx, `
		SELECT id, provider, subject, created_at FROM cairn.withdrawals
		WHERE user_id = $1 AND id > $2 ORDER BY id LIMIT $3`,
		userID, after, exportPage) // CollectRows returns its error
	revocations, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (e ExportedRevocation, err error) {
		err = row.Scan(&next, &e.Provider, &e.AccountID, &e.Since)
		e.Since = e.Since.UTC()
		return e, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("connection: export revocations of user %d: %w", userID, err)
	}
	if len(revocations) < exportPage {
		next = 0
	}
	return revocations, next, nil
}
