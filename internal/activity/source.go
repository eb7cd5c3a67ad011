package activity

import (
	"context"
	"slices"
	"time"

	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// Rules say how the entries of a provider are handled.
type Rules struct {
	Noun string // what the entries are: "activities"
	// Arrival says in a sentence when the entries of a PushSource come; "": it is no PushSource.
	Arrival string
	Every   time.Duration // between two calls that no person asked for
	Keep    time.Duration // how long entries may be kept; 0: as long as the connection
	Needs   []string      // permissions, one of which is needed; empty: none is
}

// Source is an oauth.Adapter of a provider that has entries. It is a PullSource or a PushSource.
type Source interface {
	Rules() Rules
}

// PullSource is a Source that is asked for entries.
type PullSource interface {
	Source
	// Newest gets the newest n entries of a connection. Errors: those of connection.API.
	Newest(ctx context.Context, api connection.API, n int) ([]Entry, error)
}

// PushSource is a Source that sends entries by itself, or addresses of entries. It can't be asked.
type PushSource interface {
	Source
	// Backfill has the provider send entries from before the connection, if the person permits that. It is called
	// once; a refusal is no error. Errors: those of connection.API that may pass.
	Backfill(ctx context.Context, api connection.API, granted []string, now time.Time) error
	// Follow gets the entries at an address that the provider sent. Errors: those of connection.API; oauth.ErrNotServed
	// when nothing can be got there.
	Follow(ctx context.Context, api connection.API, address string) ([]Entry, error)
}

// RulesOf returns the rules for a provider's entries; ok is false if it has none.
func RulesOf(p *oauth.Provider) (rules Rules, ok bool) {
	source, ok := p.Adapter.(Source)
	if !ok {
		return Rules{}, false
	}
	return source.Rules(), true
}

// CanAsk reports whether a provider can be asked for entries.
func CanAsk(p *oauth.Provider) bool {
	_, ok := p.Adapter.(PullSource)
	return ok
}

// Permitted reports whether a provider has entries, and what a person has granted lets us have them.
func Permitted(p *oauth.Provider, granted []string) bool {
	rules, ok := RulesOf(p)
	return ok && (len(rules.Needs) == 0 || slices.ContainsFunc(rules.Needs, func(key string) bool {
		return slices.Contains(granted, key)
	}))
}
