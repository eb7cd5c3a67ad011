// Package node is the change-over from the Node server that Cairn replaces: the people of that server are still here,
// and still signed in.
//
//	node.go           what the package needs
//	source.go         reading the Node server's users, whatever columns their table has; read.go is how long reads run
//	sealed.go         opening what that server sealed, and sealing as it does
//	tokens.go         the tokens of providers in it
//	import.go         importing people and connections, in batches that can be repeated
//	batch.go          one batch: what to do with each row, in one transaction; offers.go is about connections
//	known.go          what is remembered of each row
//	summary.go        what an import did
//	link.go           private links, and links that an operator makes; pages.go has the pages about them
//	adopt.go          sessions of the Node server that go on here
//	ended.go          sessions that an operator ends
//	express.go        what express-session and connect-pg-simple write
//	window.go         the way back to the Node server; marker.go tells whether its table of sessions is whole
//	mirror.go         sessions that it can take over, with their rows in mirrorrow.go
//	tokenmirror.go    refreshed tokens that it can use
//	frontend.go       what the old front end asks for; frontend_sync.go fetches what is new for it
//	consent.go        connecting from it; login.go is about signing in from it
//	command.go        the commands for operators
//	status.go         how far the change-over has come, with its counts in counts.go
//	export.go         what is in the archive that a person downloads
//	free.go           taking an account at a provider from somebody who only claimed it
//	doctor.go         what the doctor looks at; trouble.go is what the operator has to fix, in the log
//
// What becomes of a row of public.users:
//
//	a row                                   an account here, whose sign-in method is the Foursquare account
//	its Foursquare account is here already  that account is the row's, too
//	no Foursquare id, or one too long       refused
//	another database's row had its id       refused
//	the name is empty, NULL or too long     "Traveller", or the first 100 characters; control characters go
//	the picture's address is no https link  no picture
//	no token                                an account without a connection
//	a token that opens                      a connection; Strava's does not sign in until its owner confirms it
//	a token that doesn't open, or is none   a connection that needs its owner
//	a Strava account of another user        refused: that connection; nobody's connection changes
//	a Garmin token                          a connection that needs its owner: the row doesn't say whose account it is
//	a private link that isn't 64 hex digits no private link
//	its owner deleted the account here      nothing, ever, even if the row was not imported yet
//	its connection was ended here           nothing more of that provider
//
// This package writes to the schema public only with NODE_WINDOW=both. In the table of sessions it writes rows, one of
// which is the marker, which stays when the window is closed. In public.users it writes secret_token, when a private
// link ends here or a new one is made; the columns with sealed tokens, when tokens are refreshed here or their
// connection ends; and last_login_at.
//
// When the change-over is behind everyone, delete: this folder; its lines in cmd/server (assemble.go, main.go,
// serve.go, upkeep.go); internal/config/node.go; internal/auth/import.go and internal/connection/import.go; adopt.go
// and mirror.go of internal/session, and mirror.go of internal/connection; Env.Checks, Env.EndSessions and Env.LockOut
// of internal/admin; docs/change-over.md; its tests in internal/routes (node_*_test.go), test/soak, internal/testkit
// and test/express; and, with a migration, the tables cairn.node_* with their triggers. Identities that don't sign in
// (auth/unconfirmed.go) stay until there are none.
package node

import (
	"context"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"

	"cairn/internal/config"
	"cairn/internal/connection"
)

// The providers of the Node server.
const (
	foursquare = "foursquare"
	strava     = "strava"
	garmin     = "garmin"
)

// stravaPermissions are those that the Node server asked for.
var stravaPermissions = []string{"read", "activity:read_all"}

// Node is the change-over in a server. Make it with New.
type Node struct {
	Sessions *Sessions
	links    links
	tokens   *tokens
	deps     Deps
}

// New returns the change-over.
func New(d Deps) *Node {
	if d.Observe == nil {
		d.Observe = func(string, string) {}
	}
	var people *Importer
	if d.Config.Node.Import {
		people = &Importer{pool: d.Pool}
	}
	return &Node{
		tokens: &tokens{pool: d.Pool, trouble: &trouble{log: d.Log}},
		deps:   d,
		links:  links{d.Pool, d.Config.Node.LinksUntil, d.Config.Node.Both},
		Sessions: &Sessions{
			express: express{d.Config.Node.Sessions}, pool: d.Pool,
			trouble: &trouble{log: d.Log}, observe: d.Observe, people: people,
			key: d.Config.DeriveKey("tokens of adopted sessions"),
		},
	}
}

// Sweep deletes one batch of what is past its time, and reports whether more may be left. It also repairs the note of
// whether the way back is open (Start), keeps the marker, and ends again what has ended.
func (n *Node) Sweep(ctx context.Context) (more bool, err error) {
	if err := n.noteWindow(ctx); err != nil {
		return false, err
	}
	sweeps := []func(context.Context) (bool, error){n.Sessions.sweep, n.links.sweep}
	if n.deps.Config.Node.Both {
		if err := n.Sessions.keepMarker(ctx); err != nil {
			return false, err
		}
		sweeps = append(sweeps, n.Sessions.endAgain)
	}
	for _, sweep := range sweeps {
		left, err := sweep(ctx)
		if err != nil {
			return false, err
		}
		more = more || left
	}
	return more, nil
}

// Importer returns what imports while the server runs; nil if NODE_IMPORT is off.
func (n *Node) Importer(connections *connection.Store) (*Importer, error) {
	if !n.deps.Config.Node.Import {
		return nil, nil
	}
	d := n.deps
	d.Connections = connections
	return NewImporter(d, "")
}

// Deps are what the change-over needs.
type Deps struct {
	Pool        *pgxpool.Pool
	Connections *connection.Store // for an import
	Log         *slog.Logger
	Config      config.Config
	Observe     func(kind, result string) // is called for each session that is adopted, or not; may be nil
}
