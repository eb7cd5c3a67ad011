package node_test

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/crypto/scrypt"
	"golang.org/x/oauth2"

	"cairn/db"
	"cairn/db/dbtest"
	"cairn/internal/auth"
	"cairn/internal/config"
	"cairn/internal/connection"
	"cairn/internal/node"
	"cairn/internal/oauth"
	"cairn/internal/seal"
	"cairn/internal/testkit"
)

// usersTable is the Node server's.
const usersTable = `
	CREATE TABLE public.users (
		id serial PRIMARY KEY,
		foursquare_user_id varchar(255) UNIQUE NOT NULL,
		display_name text,
		avatar_url text,
		access_token_encrypted text,
		secret_token varchar(64) UNIQUE,
		strava_oauth_tokens_encrypted text,
		strava_athlete_id bigint,
		strava_connected_at timestamp,
		last_strava_sync_at timestamp,
		garmin_oauth_tokens_encrypted text,
		garmin_connected_at timestamp,
		last_garmin_sync_at timestamp,
		garmin_sync_activities boolean DEFAULT true,
		last_sync_at timestamp,
		last_login_at timestamp,
		created_at timestamp DEFAULT now(),
		updated_at timestamp DEFAULT now()
	)`

// nodeKey is ENCRYPTION_KEY of the Node server.
const nodeKey = "c4e1a08d5b7f92361e0dab84f7530c96e2187bd4a95f0c63d8417ae29b60f35c"

// rig is our side and the Node server's table.
type rig struct {
	t         *testing.T
	url       string
	pool      *pgxpool.Pool // our database
	from      *pgxpool.Pool // the one with public.users
	store     *connection.Store
	accounts  *auth.Accounts
	providers oauth.Registry
	importer  *node.Importer
}

func newRig(t *testing.T) rig {
	t.Helper()
	r := newRigWithoutTable(t)
	r.exec(usersTable)
	return r
}

func newRigWithoutTable(t *testing.T) rig {
	t.Helper()
	r := rig{t: t, url: dbtest.NewPatientURL(t)}
	r.pool = open(t, r.url)
	r.from = r.pool
	r.accounts = auth.New(r.pool, "test", auth.Options{})
	key, err := hex.DecodeString(testkit.Key1)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := seal.New(key)
	if err != nil {
		t.Fatal(err)
	}
	apps := map[string]oauth.App{}
	for _, p := range config.Providers() {
		apps[p.Key] = oauth.App{ClientID: "client", ClientSecret: "secret"}
	}
	c, err := config.Load(func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	r.providers, err = c.Registered(apps, &url.URL{Scheme: "http", Host: "cairn.test"})
	if err != nil {
		t.Fatal(err)
	}
	r.store = connection.New(connection.Deps{
		Pool: r.pool, Sealer: sealer, Client: oauth.NewClient(r.pool, oauth.Options{}), Providers: r.providers,
	})
	r.importer = r.importerWith(node.Deps{Config: config.Config{Node: config.Node{EncryptionKey: nodeKey}}})
	return r
}

// importerWith returns an importer with the keys in d.
func (r rig) importerWith(d node.Deps) *node.Importer {
	r.t.Helper()
	d.Pool, d.Connections = r.pool, r.store
	importer, err := node.NewImporter(d, "")
	if err != nil {
		r.t.Fatal(err)
	}
	return importer
}

func open(t *testing.T, address string) *pgxpool.Pool {
	t.Helper()
	pool, err := db.Open(t.Context(), address, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// outcome is what a run did.
type outcome struct {
	node.Summary
	refused map[int64]string
}

// run imports, as the server node import does if All is set.
func (r rig) run(options node.Run) outcome {
	r.t.Helper()
	done, err := r.try(options)
	if err != nil {
		r.t.Fatal(err)
	}
	return done
}

func (r rig) try(options node.Run) (done outcome, err error) {
	done.refused = map[int64]string{}
	options.Source = "test"
	if r.from != r.pool {
		options.From = r.from
	}
	options.Refused = func(row int64, why string) { done.refused[row] = why }
	done.Summary, err = r.importer.Import(r.t.Context(), options)
	return done, err
}

func (r rig) importAll() outcome { r.t.Helper(); return r.run(node.Run{All: true}) }

// row is a row of public.users. A field that is nil is NULL.
type row struct {
	id         int64
	foursquare any
	name       any
	avatar     any
	link       any
	token      any // sealed
	strava     any // sealed
	athlete    any
	garmin     any // sealed
}

// person returns a row with everything: Foursquare, Strava and Garmin.
func person(id int64) row {
	return row{
		id: id, foursquare: fmt.Sprint(100_000 + id), name: fmt.Sprint("Ada ", id),
		avatar: "https://pictures.test/ada.png", link: fmt.Sprintf("%064x", id),
		token:  sealed(fmt.Sprint("FOURSQUARE-", id)),
		strava: stravaTokens(fmt.Sprint("access-", id), later), athlete: 200_000 + id,
		garmin: sealed(`{"accessToken":"garmin-1","refreshToken":"garmin-2"}`),
	}
}

// later is an expiry of Strava's tokens: 2100-01-01.
const later = 4102444800

func stravaTokens(access string, expires int64) string {
	return sealed(fmt.Sprintf(`{"accessToken":%q,"refreshToken":"refresh-of-%s","expiresAt":%d}`,
		access, access, expires))
}

// insert inserts rows as the Node server does.
func (r rig) insert(rows ...row) {
	r.t.Helper()
	for _, p := range rows {
		r.nodeExec(`
			INSERT INTO public.users (id, foursquare_user_id, display_name, avatar_url, secret_token,
				access_token_encrypted, strava_oauth_tokens_encrypted, strava_athlete_id, garmin_oauth_tokens_encrypted)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
			p.id, p.foursquare, p.name, p.avatar, p.link, p.token, p.strava, p.athlete, p.garmin)
	}
}

// nodeExec runs a statement in the Node server's database.
func (r rig) nodeExec(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.from.Exec(r.t.Context(), statement, args...); err != nil {
		r.t.Fatal(err)
	}
}

func (r rig) exec(statement string, args ...any) {
	r.t.Helper()
	if _, err := r.pool.Exec(r.t.Context(), statement, args...); err != nil {
		r.t.Fatal(err)
	}
}

// sealed is what the Node server stores of a text, sealed with nodeKey.
func sealed(plain string) string { return sealedWith(nodeKey, plain) }

// sealedWith seals as the Node server did whose ENCRYPTION_KEY, or else DATABASE_URL, was this.
func sealedWith(secret, plain string) string {
	key, err := hex.DecodeString(secret)
	if err != nil || len(key) != 32 {
		if key, err = scrypt.Key([]byte(secret), []byte("salt"), 16384, 8, 1, 32); err != nil {
			panic(err)
		}
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCMWithNonceSize(block, 16)
	if err != nil {
		panic(err)
	}
	iv := make([]byte, 16)
	_, _ = rand.Read(iv)
	both := gcm.Seal(nil, iv, []byte(plain), nil)
	text, tag := both[:len(both)-16], both[len(both)-16:]
	return hex.EncodeToString(iv) + ":" + hex.EncodeToString(tag) + ":" + hex.EncodeToString(text)
}

// user returns the user that a row became, 0 if none.
func (r rig) user(id int64) (userID int64) {
	r.t.Helper()
	return ask[int64](r, `SELECT COALESCE((SELECT user_id FROM cairn.node_users WHERE node_id = $1), 0)`, id)
}

func ask[T any](r rig, query string, args ...any) (value T) {
	r.t.Helper()
	if err := r.pool.QueryRow(r.t.Context(), query, args...).Scan(&value); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return value
}

// connections returns a user's connections as "strava active imported", in order.
func (r rig) connections(userID int64) string {
	r.t.Helper()
	return ask[string](r, `
		SELECT COALESCE(string_agg(concat_ws(' ', provider, state, cause), ', ' ORDER BY provider), '')
		FROM cairn.connections WHERE user_id = $1`, userID)
}

// token returns the access token of a connection, the error's text if there is none.
func (r rig) token(provider string, userID int64) string {
	r.t.Helper()
	token, err := r.store.Token(r.t.Context(), r.providers.Get(provider), userID)
	if err != nil {
		return err.Error()
	}
	return token
}

// signIn signs in with an account at a provider.
func (r rig) signIn(provider, subject string) (userID int64, err error) {
	err = pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		visitor := auth.Visitor{Provider: provider, Subject: subject, Name: "Somebody"}
		owner, err := r.accounts.FindOrCreate(r.t.Context(), tx, visitor)
		userID = owner.UserID
		return err
	})
	return userID, err
}

// connect connects an account at a provider to a user, as somebody does who has just signed in.
func (r rig) connect(userID int64, provider, subject, access string) error {
	return pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		identity, err := r.accounts.Link(r.t.Context(), tx, userID, provider, subject, auth.Recent)
		if err != nil {
			return err
		}
		return r.store.Connect(r.t.Context(), tx, grant(r.providers.Get(provider), subject, access), userID, identity)
	})
}

func (r rig) disconnect(userID int64, provider string) error {
	p := r.providers.Get(provider)
	return pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		return r.accounts.RemoveUnconfirmed(r.t.Context(), tx, userID, provider, func() error {
			_, err := r.store.Disconnect(r.t.Context(), tx, p, userID, 0)
			return err
		})
	})
}

// remove removes the sign-in method of a provider.
func (r rig) remove(userID int64, provider string) error {
	p := r.providers.Get(provider)
	return pgx.BeginFunc(r.t.Context(), r.pool, func(tx pgx.Tx) error {
		var id int64
		err := tx.QueryRow(r.t.Context(), `SELECT id FROM cairn.identities WHERE user_id = $1 AND provider = $2`,
			userID, provider).Scan(&id)
		if err != nil {
			return err
		}
		_, err = r.accounts.RemoveIdentity(r.t.Context(), tx, userID, id, func(string, int64) error {
			_, err := r.store.Disconnect(r.t.Context(), tx, p, userID, id)
			return err
		})
		return err
	})
}

func (r rig) deleteAccount(userID int64) error {
	return r.accounts.Delete(r.t.Context(), userID, func(tx pgx.Tx) error {
		for _, p := range r.providers {
			_, err := r.store.Disconnect(r.t.Context(), tx, p, userID, 0)
			if err != nil && !isNotFound(err) {
				return err
			}
		}
		return nil
	})
}

// tables returns the rows of all our tables, as text, except those of some tables.
func (r rig) tables(without ...string) map[string]string {
	r.t.Helper()
	all := map[string]string{}
	names := ask[[]string](r, `
		SELECT array_agg(table_name::text) FROM information_schema.tables
		WHERE table_schema = 'cairn' AND table_name <> ALL($1)`, append(without, "goose_db_version"))
	for _, name := range names {
		all[name] = ask[string](r, fmt.Sprintf(
			`SELECT COALESCE(string_agg(t::text, E'\n' ORDER BY t::text), '') FROM cairn.%s t`, name))
	}
	return all
}

// same reports tables that have changed since before.
func (r rig) same(what string, before map[string]string, without ...string) {
	r.t.Helper()
	for name, rows := range r.tables(without...) {
		if rows != before[name] {
			r.t.Errorf("%s has changed cairn.%s:\n%s\nto\n%s", what, name, before[name], rows)
		}
	}
}

// has reports texts that are missing in a text.
func has(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is missing in:\n%s", w, text)
		}
	}
}

func grant(p *oauth.Provider, subject, access string) oauth.Grant {
	return oauth.Grant{
		Provider: p, Account: oauth.Account{Subject: subject, Granted: []string{"read"}},
		Token: &oauth2.Token{
			AccessToken: access, RefreshToken: "refresh-of-" + access, Expiry: time.Now().Add(time.Hour),
		},
	}
}

func isNotFound(err error) bool { return errors.Is(err, connection.ErrNotFound) }

func (r rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}
