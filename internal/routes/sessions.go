package routes

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/mileusna/useragent"

	"cairn/internal/session"
)

// device is one session in the list of a person's own.
type device struct {
	ID         int64
	Browser    string // "Firefox on Linux"
	Address    string
	SignedIn   string // "with Strava"
	Since      time.Time
	LastSeen   time.Time
	Current    bool
	Persistent bool // outlives the browser
	Mobile     bool
}

// maxDevices is how many sessions a person's list shows. There may be any number, and a page of
// thousands would take too much memory.
const maxDevices = 100

// devices lists a person's sessions, this one first, and says how many more there are.
func (s *server) devices(
	r *http.Request, current session.Session, cards []card,
) (devices []device, more int, err error) {
	sessions, all, err := s.Sessions.Newest(r.Context(), current.UserID, current.ID, maxDevices)
	if err != nil {
		return nil, 0, err
	}
	zone := s.zoneOf(r)
	devices = make([]device, len(sessions))
	for i, d := range sessions {
		devices[i] = device{
			ID: d.ID, Browser: browserInWords(d.UserAgent), Address: d.Address,
			SignedIn: s.signedInWith(d.Method, cards),
			Since:    d.Created.In(zone), LastSeen: d.LastSeen.In(zone), Current: d.ID == current.ID,
			Persistent: d.Persistent, Mobile: useragent.Parse(d.UserAgent).Mobile,
		}
		if devices[i].Current {
			devices[i].LastSeen = time.Now().In(zone) // it is asking; its row is updated later
		}
	}
	return devices, all - len(devices), nil
}

// browserInWords names a browser and its system by the header. Anyone can send any header, so this only
// helps people remember.
func browserInWords(header string) string {
	ua := useragent.Parse(header)
	name, system := ua.Name, ua.OS
	if (ua.Mobile || ua.Tablet) && ua.Device != "K" { // what Chrome calls every Android device
		system = cmp.Or(plainWord(ua.Device), system)
	}
	switch name, system = plainWord(name), plainWord(system); {
	case name == "":
		return "Unknown browser"
	case system == "":
		return name
	}
	return name + " on " + system
}

// plainWord returns a name if it looks like one, and "" if not: for a header that it does not know, the library returns
// the header's beginning.
func plainWord(name string) string {
	strange := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" .-", r)
	}
	if len(name) > 30 || strings.ContainsFunc(name, strange) {
		return ""
	}
	return name
}

// endSession ends one of the person's own sessions. It answers 404 for someone else's.
func (s *server) endSession(w http.ResponseWriter, r *http.Request) error {
	d, err := s.ownDevice(r)
	if err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	if d.ID == current.ID {
		return s.signOut(w, r)
	}
	err = s.Sessions.End(r.Context(), current.UserID, d.ID)
	if errors.Is(err, session.ErrNoSession) {
		return errNoPage
	}
	if err != nil {
		return err
	}
	s.Log.InfoContext(r.Context(), "session ended", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atSessions, good, "Signed out "+browserInWords(d.UserAgent)+".")
	redirect(w, r, "/account#sessions")
	return nil
}

func (s *server) endOtherSessions(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	browser, err := s.access.EndOtherSessions(r.Context())
	if err != nil {
		return err
	}
	s.rememberBrowser(w, browser)
	s.Log.InfoContext(r.Context(), "other sessions ended", "id", requestID(r.Context()), "user", current.UserID)
	s.flashAt(r, atSessions, good, "You’re signed out on your other devices.")
	redirect(w, r, "/account#sessions")
	return nil
}

// endingInWords says why a person is signed out; "" when they know. The date is in the time zone of the session's
// user.
func (s *server) endingInWords(e session.Ending) string {
	at := e.At.In(s.zone(e.TimeZone)).Format("2 January 2006")
	switch e.Reason {
	case session.Expired:
		return "You hadn’t been here for a while, so please sign in again."
	case session.Limit:
		return "You’d been signed in for " + daysInWords(s.Sessions.MaxLifetime) + ", so please sign in again."
	case session.EndedElsewhere:
		return "You were signed out from another of your devices on " + at + "."
	case session.PasswordChanged:
		return "You were signed out on " + at + ", because your password was changed."
	case session.MethodRemoved:
		return "You were signed out on " + at + ", because a sign-in method was removed from your account."
	case session.ByOperator:
		return "The operator of this site signed you out on " + at + "."
	}
	return ""
}

func daysInWords(d time.Duration) string {
	switch days := d.Hours() / 24; {
	case days == 365:
		return "a year"
	case days == 7:
		return "a week"
	case days < 2:
		return "a day"
	default:
		return fmt.Sprintf("%.0f days", days)
	}
}
