package connection

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/oauth2"
)

// Mirror keeps tokens where another server finds them, so that it can take over.
type Mirror interface {
	// Newer returns the tokens that the other server has got for a user since base; nil: none. A nil base stands for
	// what we last read or wrote there.
	Newer(ctx context.Context, provider string, userID int64, base *Theirs) (*Theirs, error)
	// Write writes refreshed tokens, with their generation here, unless the other server has got others since base.
	// A nil base stands for what we last read or wrote there.
	Write(ctx context.Context, tx pgx.Tx, to Refreshed, base *Theirs) error
	// Unwritten is called when Newer or Write fails. The connection goes on without.
	Unwritten(err error)
}

// Theirs are tokens of another server, and which version of what it has stored they are.
type Theirs struct {
	Token   *oauth2.Token
	Version []byte
}

// Refreshed are tokens that a user's connection to a provider has got.
type Refreshed struct {
	Provider           string
	UserID, Generation int64
	Token              *oauth2.Token
}

// looks is how often another server's tokens are looked at, after ours were refused: if it was refreshing them, it
// stores what it got in a moment.
const looks = 3

// awaitNewer is newer for a caller whose tokens were refused.
func (s *Store) awaitNewer(ctx context.Context, row stored, base *Theirs) *Theirs {
	for look := 1; ; look++ {
		theirs := s.newer(ctx, row, base)
		if theirs != nil || s.mirror == nil || look == looks {
			return theirs
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(s.limits.Poll):
		}
	}
}

// newer returns the tokens that another server has got since base, as in Mirror; nil: none.
func (s *Store) newer(ctx context.Context, row stored, base *Theirs) *Theirs {
	if s.mirror == nil {
		return nil
	}
	theirs, err := s.mirror.Newer(ctx, row.provider, row.userID, base)
	if err != nil {
		s.mirror.Unwritten(err)
		return nil
	}
	return theirs
}

// writeMirror writes refreshed tokens for another server. What fails there must not cost them here.
func (s *Store) writeMirror(ctx context.Context, tx pgx.Tx, to Refreshed, base *Theirs) {
	if s.mirror == nil {
		return
	}
	err := pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return s.mirror.Write(ctx, tx, to, base) })
	if err != nil {
		s.mirror.Unwritten(err)
	}
}
