package auth

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Newcomer is a person who gets an account by an import, with a provider's account as the sign-in method.
type Newcomer struct {
	Name      string // shortened or replaced where it is no acceptable name
	AvatarURL string
	Subject   string // at the provider
}

// Owned is a provider's account and the user it belongs to.
type Owned struct {
	UserID, IdentityID int64
	SignsIn            bool
	Made               bool // in this call
}

// Import makes an account for each newcomer whose account at the provider belongs to nobody yet, and returns what
// belongs to whom by subject. The caller has locked the accounts (LockIdentities); this locks their users.
func Import(ctx context.Context, tx pgx.Tx, provider string, people []Newcomer) (map[string]Owned, error) {
	for {
		owned, err := importOnce(ctx, tx, provider, people)
		if err != nil {
			return nil, err
		}
		// Until it was locked, an account that was found could be deleted, or lose this sign-in method. Nobody else can
		// give those to somebody now, so the next round makes their accounts.
		gone := slices.ContainsFunc(people, func(p Newcomer) bool { _, there := owned[p.Subject]; return !there })
		if !gone {
			return owned, nil
		}
	}
}

// importOnce returns what belongs to whom once that is locked.
func importOnce(ctx context.Context, tx pgx.Tx, provider string, people []Newcomer) (map[string]Owned, error) {
	subjects, err := insertPeople(ctx, tx, provider, people)
	if err != nil {
		return nil, err
	}
	found, err := OwnedBy(ctx, tx, provider, subjects)
	if err != nil {
		return nil, err
	}
	users := make([]int64, 0, len(found))
	for _, o := range found {
		users = append(users, o.UserID)
	}
	if err := LockUsers(ctx, tx, users); err != nil {
		return nil, err
	}
	return OwnedBy(ctx, tx, provider, subjects)
}

func insertPeople(ctx context.Context, tx pgx.Tx, provider string, people []Newcomer) (subjects []string, err error) {
	subjects, names, avatars := make([]string, len(people)), make([]string, len(people)), make([]string, len(people))
	for i, p := range people {
		subjects[i], names[i], avatars[i] = p.Subject, nameFrom(p.Name), p.AvatarURL
	}
	_, err = tx.Exec(ctx, `
		WITH missing AS MATERIALIZED (
			SELECT nextval(pg_get_serial_sequence('cairn.users', 'id')) AS user_id, subject, name, avatar
			FROM unnest($2::text[], $3::text[], $4::text[]) AS given (subject, name, avatar)
			WHERE NOT EXISTS (SELECT FROM cairn.identities i WHERE i.provider = $1 AND i.subject = given.subject)
		), people AS (
			INSERT INTO cairn.users (id, display_name, avatar_url) OVERRIDING SYSTEM VALUE
			SELECT user_id, name, NULLIF(avatar, '') FROM missing
		)
		INSERT INTO cairn.identities (user_id, provider, subject) SELECT user_id, $1, subject FROM missing`,
		provider, subjects, names, avatars)
	if err != nil {
		return nil, fmt.Errorf("auth: import people: %w", err)
	}
	return subjects, nil
}

// Claim says, without a proof, that a provider's account is a user's.
type Claim struct {
	UserID  int64
	Subject string
}

// ImportClaims makes an unconfirmed identity of each claim on an account that belongs to nobody yet. It returns what
// belongs to whom by subject. The caller has locked the accounts (LockIdentities), and the users of the claims.
func ImportClaims(ctx context.Context, tx pgx.Tx, provider string, claims []Claim) (map[string]Owned, error) {
	subjects, users := make([]string, len(claims)), make([]int64, len(claims))
	for i, c := range claims {
		subjects[i], users[i] = c.Subject, c.UserID
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO cairn.identities (user_id, provider, subject, signs_in)
		SELECT user_id, $1, subject, false FROM unnest($2::bigint[], $3::text[]) AS claims (user_id, subject)
		ON CONFLICT (provider, subject) DO NOTHING`, provider, users, subjects)
	if err != nil {
		return nil, fmt.Errorf("auth: import claims on %s: %w", provider, err)
	}
	return OwnedBy(ctx, tx, provider, subjects)
}

// OwnedBy returns what belongs to whom, by subject. It locks nothing.
func OwnedBy(ctx context.Context, tx pgx.Tx, provider string, subjects []string) (map[string]Owned, error) {
	// One look-up for each subject: for all at once, PostgreSQL may choose to read all identities of the provider.
	rows, _ := tx.Query(ctx, `
		SELECT subject, user_id, id, signs_in, xmin = pg_current_xact_id()::xid
		FROM unnest($2::text[]) AS given (subject) CROSS JOIN LATERAL (
			SELECT user_id, id, signs_in, xmin FROM cairn.identities i
			WHERE i.provider = $1 AND i.subject = given.subject OFFSET 0) found`,
		provider, subjects) // ForEachRow returns its error
	owned := map[string]Owned{}
	var subject string
	var o Owned
	_, err := pgx.ForEachRow(rows, []any{&subject, &o.UserID, &o.IdentityID, &o.SignsIn, &o.Made}, func() error {
		owned[subject] = o
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("auth: find owners at %s: %w", provider, err)
	}
	return owned, nil
}

// LockUsers lets no other transaction change the sign-in methods of these users. It locks in the order of their ids.
func LockUsers(ctx context.Context, tx pgx.Tx, userIDs []int64) error {
	_, err := tx.Exec(ctx, `SELECT FROM cairn.users WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE`, userIDs)
	if err != nil {
		return fmt.Errorf("auth: lock users: %w", err)
	}
	return nil
}
