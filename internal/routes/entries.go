package routes

import (
	"fmt"
	"html/template"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
	"cairn/internal/connection"
	"cairn/internal/jobs"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// entriesView is what a card shows of a provider's newest entries.
type entriesView struct {
	Heading     string
	AsOf        time.Time
	Fetching    bool
	Refreshable bool
	Entries     []entryView
	Empty       string // in place of entries
}

type entryView struct {
	Title   string
	Facts   []string // "Trail run", "10.2 km", "58 min"
	Place   string
	When    template.HTML
	Private bool
	Device  string
	Page    string
	Route   *routeView
}

type routeView struct{ ViewBox, Path string }

func viewOf(p *oauth.Provider, l activity.Latest, zone *time.Location) *entriesView {
	v := &entriesView{
		Heading: "Latest " + activity.Noun(p), AsOf: l.AsOf.In(zone), Fetching: l.Fetching,
		Refreshable: activity.CanAsk(p),
	}
	for _, e := range l.Entries {
		v.Entries = append(v.Entries, entryView{
			Title: e.Title, Facts: factsOf(e), Place: e.Place, When: whenOf(e), Private: e.Private, Device: e.Device,
			Page: e.Page, Route: routeOf(e.Route),
		})
	}
	switch {
	case len(v.Entries) > 0 || l.Fetching:
	case !v.Refreshable:
		v.Empty = p.Name + " sends new " + activity.Noun(p) + " as soon as your watch has synced."
	case l.AsOf.IsZero():
		v.Empty = "Nothing has been fetched yet."
	default:
		v.Empty = "There is nothing yet."
	}
	return v
}

func factsOf(e activity.Entry) (facts []string) {
	if e.Kind != "" && e.Kind != e.Title {
		facts = append(facts, e.Kind)
	}
	if e.Metres >= 1 {
		facts = append(facts, distance(e.Metres))
	}
	if e.Seconds > 0 {
		facts = append(facts, duration(e.Seconds))
	}
	return facts
}

func distance(metres float64) string {
	if metres < 1000 {
		return fmt.Sprintf("%.0f m", metres)
	}
	return strconv.FormatFloat(math.Round(metres/100)/10, 'f', 1, 64) + " km"
}

func duration(seconds int) string {
	switch minutes := seconds / 60; {
	case minutes == 0:
		return fmt.Sprintf("%d s", seconds)
	case minutes < 60:
		return fmt.Sprintf("%d min", minutes)
	default:
		return fmt.Sprintf("%d h %02d min", minutes/60, minutes%60)
	}
}

// whenOf is by the clock of the place where it was, and says which one that is.
func whenOf(e activity.Entry) template.HTML {
	local := e.Local()
	day := "Mon 2 Jan"
	if local.Year() != time.Now().Year() {
		day = "Mon 2 Jan 2006"
	}
	if e.DayOnly {
		return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`,
			local.Format(time.DateOnly), local.Format(day)))
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s, %s %s</time>`,
		local.Format(time.RFC3339), local.Format(day), local.Format("15:04"), zone(e.Offset)))
}

func routeOf(d *activity.Drawing) *routeView {
	if d == nil {
		return nil
	}
	return &routeView{fmt.Sprintf("0 0 %d %d", d.Width, d.Height), d.Path}
}

// refresh has the newest entries fetched, and leads to the page that shows them coming.
func (s *server) refresh(w http.ResponseWriter, r *http.Request) error {
	p, err := s.provider(chi.URLParam(r, "provider"))
	if err != nil {
		return err
	}
	if !activity.CanAsk(p) {
		return errNoPage
	}
	if err := s.allowCall(r, p); err != nil {
		return err
	}
	current, _ := session.Current(r.Context())
	overview, err := s.Connections.Overview(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	at, connected := overview.Connections[p.Key]
	if !connected {
		return &providerError{p, connection.ErrNotFound}
	}
	kept, err := s.Activity.Of(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	if kept[p.Key].Fresh {
		s.tellAt(r, atCard(p.Key), info, p.Name+" was asked a moment ago: what you see is the newest.")
		see(w, r, cardPath(p.Key))
		return nil
	}
	if err := s.Jobs.EnqueueSyncNow(r.Context(), p.Key, at.Subject, jobs.Fetch); err != nil {
		return err
	}
	see(w, r, cardPath(p.Key))
	return nil
}

var attributions = map[string]string{"strava": "Powered by Strava", "foursquare": "Places by Foursquare"}
