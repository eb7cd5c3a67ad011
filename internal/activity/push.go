package activity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

const (
	pullLife = 24 * time.Hour // how long an address that a provider sent is kept
	maxPulls = 50             // addresses of one connection; beyond that, the oldest are deleted
)

// Sent is what a provider sent about one of its accounts: an entry, or the address of entries.
type Sent struct {
	Subject string
	Address string
	Entry   Entry // unless there is an address
	Valid   bool  // the entry makes sense
}

// Push stores what a provider sent about connected accounts, and drops everything else. An entry that comes again
// replaces the first one. Push returns the subjects for whom there is something to fetch.
func (s *Store) Push(ctx context.Context, p *oauth.Provider, sent []Sent) (toFetch []string, err error) {
	ids, err := s.connected(ctx, p, sent)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	fresh, pulls := map[int64][]Entry{}, map[int64][]string{}
	for _, one := range sent {
		id, known := ids[one.Subject]
		switch {
		case !known:
		case one.Address != "":
			pulls[id] = append(pulls[id], one.Address)
			toFetch = append(toFetch, one.Subject)
		case one.Valid:
			fresh[id] = append(fresh[id], one.Entry)
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.storePulls(ctx, tx, pulls); err != nil {
			return err
		}
		return add(ctx, tx, fresh)
	})
	slices.Sort(toFetch)
	return slices.Compact(toFetch), err
}

// connected returns the identities of the connected accounts that something was sent about, by subject.
func (s *Store) connected(ctx context.Context, p *oauth.Provider, sent []Sent) (map[string]int64, error) {
	subjects := make([]string, len(sent))
	for i, one := range sent {
		subjects[i] = one.Subject
	}
	rows, err := s.pool.Query(ctx, `
		SELECT c.subject, c.identity_id FROM unnest($2::text[]) AS s (subject)
		JOIN cairn.connections c ON c.provider = $1 AND c.subject = s.subject
		WHERE `+connection.OwnerEnabled, p.Key, subjects)
	if err != nil {
		return nil, fmt.Errorf("activity: find connections to %s: %w", p.Key, err)
	}
	ids := map[string]int64{}
	var subject string
	var id int64
	_, err = pgx.ForEachRow(rows, []any{&subject, &id}, func() error { ids[subject] = id; return nil })
	if err != nil {
		return nil, fmt.Errorf("activity: find connections to %s: %w", p.Key, err)
	}
	return ids, nil
}

// add merges entries with the stored ones. It locks rows in one order, so that two batches don't deadlock.
func add(ctx context.Context, tx pgx.Tx, fresh map[int64][]Entry) error {
	if len(fresh) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(fresh))
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.latest (identity_id)
		SELECT identity_id FROM cairn.connections WHERE identity_id = ANY($1) ORDER BY identity_id FOR KEY SHARE
		ON CONFLICT DO NOTHING`, ids)
	if err != nil {
		return fmt.Errorf("activity: make room for entries: %w", err)
	}
	rows, err := tx.Query(ctx, `
		SELECT identity_id, entries FROM cairn.latest WHERE identity_id = ANY($1)
		ORDER BY identity_id FOR UPDATE`, ids)
	if err != nil {
		return fmt.Errorf("activity: read entries: %w", err)
	}
	var id int64
	var kept []Entry
	var changed []int64
	var merged []string
	_, err = pgx.ForEachRow(rows, []any{&id, &kept}, func() error {
		text, err := json.Marshal(merge(kept, fresh[id]))
		changed, merged, kept = append(changed, id), append(merged, string(text)), nil
		return err
	})
	if err != nil {
		return fmt.Errorf("activity: read entries: %w", err)
	}
	_, err = tx.Exec(ctx, `
		UPDATE cairn.latest l SET entries = m.entries::jsonb, as_of = now(), failed_at = NULL
		FROM unnest($1::bigint[], $2::text[]) AS m (identity_id, entries)
		WHERE m.identity_id = l.identity_id`, changed, merged)
	if err != nil {
		return fmt.Errorf("activity: store entries: %w", err)
	}
	return nil
}

// pullData binds a sealed address to its table, column and connection.
func pullData(identityID int64) string {
	return fmt.Sprintf("cairn.pulls/sealed_address/%d", identityID)
}

func (s *Store) storePulls(ctx context.Context, tx pgx.Tx, pulls map[int64][]string) error {
	if len(pulls) == 0 {
		return nil
	}
	var ids []int64
	var sealed [][]byte
	for _, id := range slices.Sorted(maps.Keys(pulls)) {
		for _, address := range pulls[id] {
			ids, sealed = append(ids, id), append(sealed, s.sealer.Seal([]byte(address), pullData(id)))
		}
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.pulls (identity_id, sealed_address)
		SELECT c.identity_id, n.sealed FROM unnest($1::bigint[], $2::bytea[]) AS n (identity_id, sealed)
		JOIN cairn.connections c USING (identity_id) ORDER BY c.identity_id FOR KEY SHARE OF c`, ids, sealed)
	if err == nil {
		_, err = tx.Exec(ctx, `
			DELETE FROM cairn.pulls WHERE id IN (
				SELECT id FROM (
					SELECT id, row_number() OVER (PARTITION BY identity_id ORDER BY id DESC) AS place
					FROM cairn.pulls WHERE identity_id = ANY($1)
				) p WHERE place > $2)`, ids, maxPulls)
	}
	if err != nil {
		return fmt.Errorf("activity: store addresses: %w", err)
	}
	return nil
}

// fetchSent gets the entries at the addresses that a provider sent. The first time, it also has the provider send
// entries from before the connection.
func (s *Store) fetchSent(ctx context.Context, source PushSource, api connection.API, t target) error {
	if t.first {
		if err := source.Backfill(ctx, api, t.granted, t.began); err != nil {
			return err
		}
	}
	rows, err := s.pool.Query(ctx, `
		SELECT id, sealed_address FROM cairn.pulls WHERE identity_id = $1 ORDER BY id`, t.identityID)
	if err != nil {
		return fmt.Errorf("activity: read addresses: %w", err)
	}
	pulls, err := pgx.CollectRows(rows, pgx.RowToStructByPos[pull])
	if err != nil {
		return fmt.Errorf("activity: read addresses: %w", err)
	}
	for _, u := range pulls {
		if err := s.follow(ctx, source, api, t, u); err != nil {
			return err
		}
	}
	return nil
}

type pull struct {
	ID     int64
	Sealed []byte
}

// follow gets the entries at one address and deletes the address, also if it is no longer good or its key is gone.
func (s *Store) follow(ctx context.Context, source PushSource, api connection.API, t target, u pull) error {
	var entries []Entry
	address, lost := s.sealer.Open(u.Sealed, pullData(t.identityID))
	if lost == nil {
		entries, lost = source.Follow(ctx, api, string(address))
		if lost != nil && !errors.Is(lost, oauth.ErrNotServed) && !errors.Is(lost, oauth.ErrNotPermitted) {
			return lost
		}
	}
	return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `DELETE FROM cairn.pulls WHERE id = $1`, u.ID)
		if err != nil {
			return fmt.Errorf("activity: forget an address: %w", err)
		}
		if lost != nil {
			return nil
		}
		return add(ctx, tx, map[int64][]Entry{t.identityID: entries})
	})
}
