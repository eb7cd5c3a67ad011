package node

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// known is what we remember of a row.
type known struct {
	userID      int64 // 0: the account was deleted here
	unnoted     bool  // it was deleted before the row was known: an import has to note the row's id
	personHash  []byte
	linkHash    []byte
	linkEnded   bool
	connections map[string]knownConnection // by provider
}

type knownConnection struct {
	textHash   []byte
	generation int64 // 0: none of ours was made of it
	ended      bool
}

// isNew reports whether the row was never imported.
func (k known) isNew() bool { return k.connections == nil }

// isOf reports whether the row was imported as this person. In another database its id is somebody else's.
func (k known) isOf(p person) bool { return bytes.Equal(k.personHash, digest(p.foursquareID)) }

// upToDate reports whether a row has brought all that it can.
func (k known) upToDate(p person) bool {
	switch {
	case k.isNew():
		return false
	case k.userID == 0:
		return !k.unnoted
	case !k.isOf(p):
		return false
	case !k.linkEnded && !bytes.Equal(k.linkHash, linkHash(p.link)):
		return false
	}
	for provider, sealed := range p.sealed {
		c, noted := k.connections[provider]
		if sealed != "" && !c.ended && (!noted || !bytes.Equal(c.textHash, digest(sealed))) {
			return false
		}
	}
	return true
}

// readKnown returns what we remember of rows, by their ids.
func readKnown(ctx context.Context, tx pgx.Tx, people []person) (map[int64]known, error) {
	ids := make([]int64, len(people))
	for i, p := range people {
		ids[i] = p.id
	}
	rows, _ := tx.Query(ctx, `
		SELECT u.node_id, COALESCE(u.user_id, 0), u.person_hash, u.link_hash, u.link_ended_at IS NOT NULL,
		       COALESCE(c.provider, ''), c.text_hash, COALESCE(c.generation, 0), c.ended_at IS NOT NULL
		FROM cairn.node_users u LEFT JOIN cairn.node_connections c USING (node_id)
		WHERE u.node_id = ANY($1)`, ids) // ForEachRow returns its error
	all := map[int64]known{}
	var id int64
	var provider string
	var k known
	var c knownConnection
	_, err := pgx.ForEachRow(rows, []any{
		&id, &k.userID, &k.personHash, &k.linkHash, &k.linkEnded, &provider, &c.textHash, &c.generation, &c.ended,
	}, func() error {
		one, there := all[id]
		if !there {
			one = k
			one.connections = map[string]knownConnection{}
			all[id] = one
		}
		if provider != "" {
			one.connections[provider] = c
		}
		k, c = known{}, knownConnection{} // what pgx has allocated is theirs
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("node: read what is known of rows: %w", err)
	}
	return all, addDeleted(ctx, tx, people, all)
}

// addDeleted adds rows that were never imported, of people who deleted their account here.
func addDeleted(ctx context.Context, tx pgx.Tx, people []person, all map[int64]known) error {
	rows := map[string]int64{} // by the hash of the person
	var hashes [][]byte
	for _, p := range people {
		if _, there := all[p.id]; !there {
			hash := digest(p.foursquareID)
			hashes, rows[string(hash)] = append(hashes, hash), p.id
		}
	}
	found, _ := tx.Query(ctx, `
		SELECT person_hash FROM cairn.node_deleted WHERE person_hash = ANY($1)`, hashes) // ForEachRow returns its error
	var hash []byte
	_, err := pgx.ForEachRow(found, []any{&hash}, func() error {
		all[rows[string(hash)]] = known{unnoted: true, connections: map[string]knownConnection{}}
		return nil
	})
	if err != nil {
		return fmt.Errorf("node: look for people who deleted their account: %w", err)
	}
	return nil
}

// noteDeleted notes the ids of such rows in place of the people, and ends their links and tokens there, as when an
// account is deleted that was imported.
func (b *batch) noteDeleted(ctx context.Context, deleted []person) error {
	if b.dry || len(deleted) == 0 {
		return nil
	}
	var rows []int64
	var people [][]byte
	for _, p := range deleted {
		rows, people = append(rows, p.id), append(people, digest(p.foursquareID))
	}
	_, err := b.tx.Exec(ctx, `
		WITH gone AS (
			DELETE FROM cairn.node_deleted WHERE person_hash = ANY($2)
		)
		INSERT INTO cairn.node_users (node_id, imported_at) SELECT row, NULL FROM unnest($1::bigint[]) AS row`,
		rows, people)
	if err == nil && b.own {
		_, err = b.tx.Exec(ctx, `
			SELECT cairn.node_forget(row, NULL), cairn.node_set(row, '{secret_token}', cairn.node_nobodys_token())
			FROM unnest($1::bigint[]) AS row`, rows)
	}
	if err != nil {
		return fmt.Errorf("node: remember rows of people who deleted their account: %w", err)
	}
	return nil
}

// insertKnown remembers rows and their users.
func (b *batch) insertKnown(ctx context.Context, fresh []person) error {
	if b.dry || len(fresh) == 0 {
		return nil
	}
	var rows, users []int64
	var people, links [][]byte
	for _, p := range fresh {
		rows, users = append(rows, p.id), append(users, b.users[p.id])
		people, links = append(people, digest(p.foursquareID)), append(links, linkHash(p.link))
	}
	_, err := b.tx.Exec(ctx, `
		INSERT INTO cairn.node_users (node_id, user_id, person_hash, link_hash)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[])`, rows, users, people, links)
	if err != nil {
		return fmt.Errorf("node: remember rows: %w", err)
	}
	return nil
}

// updateLinks remembers private links that have changed, except of people who have ended theirs here.
func (b *batch) updateLinks(ctx context.Context, changed []person, touched map[int64]bool) error {
	var rows []int64
	var links [][]byte
	for _, p := range changed {
		k := b.known[p.id]
		if k.userID != 0 && k.isOf(p) && !k.linkEnded && !bytes.Equal(k.linkHash, linkHash(p.link)) {
			rows, links = append(rows, p.id), append(links, linkHash(p.link))
			touched[p.id] = true
		}
	}
	if b.dry || len(rows) == 0 {
		return nil
	}
	_, err := b.tx.Exec(ctx, `
		UPDATE cairn.node_users u SET link_hash = n.hash
		FROM unnest($1::bigint[], $2::bytea[]) AS n (row, hash)
		WHERE u.node_id = n.row AND u.link_ended_at IS NULL AND u.user_id IS NOT NULL`, rows, links)
	if err != nil {
		return fmt.Errorf("node: remember links: %w", err)
	}
	return nil
}

// noteConnections remembers what was imported of a provider. What the person has ended here meanwhile stays ended.
func (b *batch) noteConnections(ctx context.Context, provider string, all []noted) error {
	if b.dry || len(all) == 0 {
		return nil
	}
	var rows, generations []int64
	var hashes [][]byte
	for _, n := range all {
		rows, generations, hashes = append(rows, n.row), append(generations, n.generation), append(hashes, n.textHash)
	}
	_, err := b.tx.Exec(ctx, `
		INSERT INTO cairn.node_connections AS c (node_id, provider, text_hash, generation)
		SELECT row, $1, hash, NULLIF(generation, 0)
		FROM unnest($2::bigint[], $3::bytea[], $4::bigint[]) AS n (row, hash, generation)
		ON CONFLICT (node_id, provider) DO UPDATE SET text_hash = EXCLUDED.text_hash, generation = EXCLUDED.generation
		WHERE c.ended_at IS NULL`, provider, rows, hashes, generations)
	if err != nil {
		return fmt.Errorf("node: remember connections to %s: %w", provider, err)
	}
	return nil
}
