package auth

import (
	"context"
	"fmt"
	"regexp"
	"time"
)

// Preferences are the time zone and the units in which a person reads times and distances.
type Preferences struct {
	TimeZone string // a name of the IANA database; "": not known
	Units    string // Metric or Imperial; "": by the language of the browser
}

// What Preferences.Units may be.
const (
	Metric   = "metric"
	Imperial = "imperial"
)

// Prefer stores what a person chose. Errors: *FieldError.
func (a *Accounts) Prefer(ctx context.Context, userID int64, p Preferences) error {
	if !knownZone(p.TimeZone) {
		return &FieldError{Field: "zone", Message: "Please choose a time zone from the list."}
	}
	if p.Units != Metric && p.Units != Imperial {
		return &FieldError{Field: "units", Message: "Please choose kilometres or miles."}
	}
	_, err := a.pool.Exec(ctx, `
		UPDATE cairn.users SET time_zone = $2, units = $3 WHERE id = $1`, userID, p.TimeZone, p.Units)
	if err != nil {
		return fmt.Errorf("auth: store preferences of user %d: %w", userID, err)
	}
	return nil
}

// GuessTimeZone stores the zone that a browser reports, unless one is known already. Errors: *FieldError.
func (a *Accounts) GuessTimeZone(ctx context.Context, userID int64, zone string) error {
	if !knownZone(zone) {
		return &FieldError{Field: "zone", Message: "This time zone is not known."}
	}
	_, err := a.pool.Exec(ctx, `
		UPDATE cairn.users SET time_zone = $2 WHERE id = $1 AND time_zone IS NULL`, userID, zone)
	if err != nil {
		return fmt.Errorf("auth: store the time zone of user %d: %w", userID, err)
	}
	return nil
}

// zoneName is the schema's pattern.
var zoneName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_+/-]{0,63}$`)

// knownZone reports whether a zone is in the IANA database. "Local", which Go accepts, is not.
func knownZone(name string) bool {
	if !zoneName.MatchString(name) || name == "Local" {
		return false
	}
	_, err := time.LoadLocation(name)
	return err == nil
}
