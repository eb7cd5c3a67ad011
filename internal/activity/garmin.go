package activity

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/oauth"
	"cairn/internal/text"
)

const (
	pullLife = 24 * time.Hour // for so long Garmin keeps what an address is for
	maxPulls = 50             // of one connection; more make the oldest go
	// backfill is how far back Garmin lets us ask, and what it calls the permission for it (docs/providers.md, 3.5).
	backfill           = 30 * 24 * time.Hour
	backfillPermission = "HISTORICAL_DATA_EXPORT"
)

// GarminNotice is one item of what Garmin sends: an activity, or an address to fetch activities from
// (docs/providers.md, 3.6 and 3.7).
type GarminNotice struct {
	UserID      text.ID
	CallbackURL string
	garminActivity
}

type garminActivity struct {
	SummaryID                text.ID
	ActivityType             string
	ActivityName             string
	StartTimeInSeconds       int64
	StartTimeOffsetInSeconds float64
	DurationInSeconds        json.Number
	DistanceInMeters         float64
	ElevationGain            amount `json:"totalElevationGainInMeters"`
	HeartRate                amount `json:"averageHeartRateInBeatsPerMinute"`
	DeviceName               string
	ParentSummaryID          json.RawMessage // of a part of an activity
}

func (a garminActivity) entry() (Entry, bool) {
	at := time.Unix(a.StartTimeInSeconds, 0)
	kind := sportInWords(a.ActivityType)
	whole := len(a.ParentSummaryID) == 0 || bytes.Equal(a.ParentSummaryID, []byte("null"))
	return Entry{
		ID: string(a.SummaryID), Title: cmp.Or(presentable(a.ActivityName), kind, "Activity"),
		Sport: sportOf(a.ActivityType), Kind: kind,
		At: at, Offset: offset(a.StartTimeOffsetInSeconds), Metres: positive(a.DistanceInMeters),
		Seconds: seconds(a.DurationInSeconds), Climb: float64(a.ElevationGain), Pulse: float64(a.HeartRate),
		Device: garminDevice(a.DeviceName, true),
	}, whole && a.SummaryID != "" && len(a.SummaryID) <= maxText && plausible(at)
}

// Push keeps what Garmin sent about people who have connected it, and drops everything else. A
// repeat changes nothing. It returns the subjects for whom there is something to fetch.
func (s *Store) Push(ctx context.Context, p *oauth.Provider, notices []GarminNotice) (toFetch []string, err error) {
	ids, err := s.connected(ctx, p, notices)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	fresh, pulls := map[int64][]Entry{}, map[int64][]string{}
	for _, n := range notices {
		id, known := ids[string(n.UserID)]
		switch entry, ok := n.entry(); {
		case !known:
		case p.Owns(n.CallbackURL):
			pulls[id] = append(pulls[id], n.CallbackURL)
			toFetch = append(toFetch, string(n.UserID))
		case ok:
			fresh[id] = append(fresh[id], entry)
		}
	}
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := s.keepPulls(ctx, tx, pulls); err != nil {
			return err
		}
		return add(ctx, tx, fresh)
	})
	slices.Sort(toFetch)
	return slices.Compact(toFetch), err
}

// connected returns the identities of those that somebody has connected, by subject.
func (s *Store) connected(ctx context.Context, p *oauth.Provider, notices []GarminNotice) (map[string]int64, error) {
	subjects := make([]string, len(notices))
	for i, n := range notices {
		subjects[i] = string(n.UserID)
	}
	rows, err := s.pool.Query(ctx, `
		SELECT i.subject, c.identity_id FROM cairn.identities i
		JOIN cairn.connections c ON c.identity_id = i.id
		WHERE i.provider = $1 AND i.subject = ANY($2)`, p.Key, subjects)
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

// add merges entries with the stored ones. It locks rows in one order, so that two batches do not
// wait for each other.
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

func pullPlace(identityID int64) string {
	return fmt.Sprintf("cairn.pulls/sealed_address/%d", identityID)
}

func (s *Store) keepPulls(ctx context.Context, tx pgx.Tx, pulls map[int64][]string) error {
	if len(pulls) == 0 {
		return nil
	}
	var ids []int64
	var sealed [][]byte
	for _, id := range slices.Sorted(maps.Keys(pulls)) {
		for _, address := range pulls[id] {
			ids, sealed = append(ids, id), append(sealed, s.sealer.Seal([]byte(address), pullPlace(id)))
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
		return fmt.Errorf("activity: keep addresses: %w", err)
	}
	return nil
}

// fetchGarmin fetches what Garmin gave addresses for. After connecting it also asks for older
// activities, which Garmin then sends.
func (s *Store) fetchGarmin(ctx context.Context, p *oauth.Provider, t target) error {
	if t.first && slices.Contains(t.granted, backfillPermission) {
		if err := s.askBackfill(ctx, p, t); err != nil {
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
		if err := s.follow(ctx, p, t, u); err != nil {
			return err
		}
	}
	return nil
}

type pull struct {
	ID     int64
	Sealed []byte
}

// follow fetches from one address, which is then done with. So is one that is not good any more, or whose key is gone.
func (s *Store) follow(ctx context.Context, p *oauth.Provider, t target, u pull) error {
	var answer items[garminActivity]
	address, lost := s.sealer.Open(u.Sealed, pullPlace(t.identityID))
	if lost == nil {
		lost = s.connections.Follow(ctx, p, t.userID, string(address), &answer)
		if mayPass(lost) {
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
		return add(ctx, tx, map[int64][]Entry{t.identityID: answer})
	})
}

// mayPass tells whether a failure is not about what was asked for.
func mayPass(err error) bool {
	return err != nil && !errors.Is(err, oauth.ErrUnfit) &&
		!errors.Is(err, oauth.ErrNotPermitted) && !errors.Is(err, oauth.ErrForeign)
}

// askBackfill asks for what was before. It is asked for once; a repeat is refused, and that is fine.
func (s *Store) askBackfill(ctx context.Context, p *oauth.Provider, t target) error {
	query := url.Values{
		"summaryStartTimeInSeconds": {strconv.FormatInt(t.began.Add(-backfill).Unix(), 10)},
		"summaryEndTimeInSeconds":   {strconv.FormatInt(t.began.Unix(), 10)},
	}
	if err := s.connections.Get(ctx, p, t.userID, "/wellness-api/rest/backfill/activities", query, nil); mayPass(err) {
		return err
	}
	return nil
}
