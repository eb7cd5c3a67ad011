package node

import (
	"context"
	"slices"

	"golang.org/x/oauth2"

	"cairn/internal/auth"
	"cairn/internal/connection"
)

// origin is a provider whose tokens the Node server kept.
type origin struct {
	provider string
	granted  []string            // what that server asked for
	subject  func(person) string // whose account it is; "": the row doesn't say
	open     func(keys, string) (*oauth2.Token, error)
}

// origins are all of them. Foursquare's accounts were proven by signing in with them. The Node server tied those of
// Strava to a user by an id that anyone could guess, and kept none of Garmin's.
var origins = []origin{
	{foursquare, nil, person.foursquare, keys.foursquareToken},
	{strava, stravaPermissions, person.athlete, keys.stravaToken},
	{garmin, nil, func(person) string { return "" }, nil},
}

// noted is what to remember of an offer.
type noted struct {
	row        int64
	textHash   []byte
	generation int64 // of our connection, if the import made or renewed it; 0: it is the user's own, and stays
	unchanged  bool
}

// importOffers takes each offer, unless the account belongs to another user. It returns what to remember of them.
func (b *batch) importOffers(ctx context.Context, from origin, offers []offer) (all []noted, err error) {
	var fresh []offer
	for _, o := range offers {
		switch {
		case o.noted:
			n, err := b.renew(ctx, from, o)
			if err != nil {
				return nil, err
			}
			all = append(all, n)
		case slices.Contains(b.taken[b.users[o.id]], from.provider): // connected here before the import
			all = append(all, noted{row: o.id, textHash: digest(o.sealed), unchanged: true})
		case from.provider == strava && b.shared[o.athleteID]:
			b.refuse(o.person, sharedAthlete)
		default:
			fresh = append(fresh, o)
		}
	}
	owned, err := b.claim(ctx, from, fresh)
	if err != nil {
		return nil, err
	}
	var wanted []wanted
	for _, o := range fresh {
		switch holder, there := owned[o.subject]; {
		case there && holder.UserID == b.users[o.id], !there && b.dry:
			wanted = append(wanted, b.want(from, o, holder.IdentityID))
		case from.provider == foursquare: // removed here
			all = append(all, noted{row: o.id, textHash: digest(o.sealed), unchanged: true})
		default:
			b.refuse(o.person, athleteOfOthers)
		}
	}
	made, err := b.importWanted(ctx, from, wanted)
	return append(all, made...), err
}

// claim returns whose the accounts of the offers are. Those of nobody become the users' whose rows name them, without
// signing in. Foursquare's are the users' already.
func (b *batch) claim(ctx context.Context, from origin, offers []offer) (map[string]auth.Owned, error) {
	var subjects []string
	var claims []auth.Claim
	for _, o := range offers {
		subjects = append(subjects, o.subject)
		claims = append(claims, auth.Claim{UserID: b.users[o.id], Subject: o.subject})
	}
	if b.dry || from.provider == foursquare {
		return auth.OwnedBy(ctx, b.tx, from.provider, subjects)
	}
	return auth.ImportClaims(ctx, b.tx, from.provider, claims)
}

// wanted is a connection that is to be made of an offer.
type wanted struct {
	connection.ImportedConnection
	offer offer
}

func (b *batch) want(from origin, o offer, identityID int64) wanted {
	w := wanted{connection.ImportedConnection{
		IdentityID: identityID, UserID: b.users[o.id], Subject: o.subject, Token: o.token, Cause: connection.Imported,
	}, o}
	switch {
	case o.why == accountUnknown:
		w.Cause = connection.AccountUnknown
	case o.why != "":
		w.Cause = connection.Unreadable
	}
	if from.provider == foursquare { // the row has the name and the picture from there
		w.Name, w.PictureURL = o.displayName(), o.picture()
	}
	return w
}

func (b *batch) importWanted(ctx context.Context, from origin, all []wanted) (remember []noted, err error) {
	connections := make([]connection.ImportedConnection, len(all))
	for i, w := range all {
		connections[i] = w.ImportedConnection
	}
	made := map[int64]int64{}
	if !b.dry && len(all) > 0 {
		made, err = b.connections.Import(ctx, b.tx, from.provider, from.granted, connections)
	}
	for _, w := range all {
		n := noted{row: w.offer.id, textHash: digest(w.offer.sealed), generation: made[w.IdentityID]}
		switch {
		case n.generation == 0 && !b.dry:
			n.unchanged = true // the user has connected meanwhile
		case w.Token != nil:
			b.done.Connected[from.provider]++
		default:
			b.done.Reconnect[from.provider+": "+w.offer.why]++
		}
		remember = append(remember, n)
	}
	return remember, err
}

// renew replaces the tokens of a connection, unless ours was refreshed, replaced or ended since it was imported. Text
// that does not open replaces nothing, and neither do tokens of another account.
func (b *batch) renew(ctx context.Context, from origin, o offer) (noted, error) {
	n := noted{row: o.id, textHash: digest(o.sealed), generation: o.generation, unchanged: true}
	if o.token == nil || o.generation == 0 {
		return n, nil
	}
	held := connection.Held{
		UserID: b.users[o.id], Provider: from.provider, Subject: o.subject, Generation: o.generation,
	}
	if b.dry {
		same, err := connection.Unchanged(ctx, b.tx, held)
		if n.unchanged = !same; same {
			b.done.Renewed++
		}
		return n, err
	}
	generation, err := b.connections.ImportTokens(ctx, b.tx, held, o.token)
	if err == nil && generation != 0 {
		b.done.Renewed++
		n.generation, n.unchanged = generation, false
	}
	return n, err
}
