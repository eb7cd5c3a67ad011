package routes

import (
	"errors"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"cairn/internal/activity"
	"cairn/internal/auth"
	"cairn/internal/connection"
	"cairn/internal/oauth"
	"cairn/internal/session"
)

// latestView is what pages show of a provider's newest entries.
type latestView struct {
	AsOf        time.Time
	Fetching    bool
	Refreshable bool
	Entries     []activity.Entry // newest first
	Full        bool             // there may be older ones
	Empty       string           // what to say if there are none
}

func latestOf(p *oauth.Provider, l activity.Latest, zone *time.Location, lost bool) *latestView {
	v := &latestView{
		AsOf: l.AsOf.In(zone), Fetching: l.Fetching, Refreshable: activity.CanAsk(p),
		Entries: l.Entries, Full: l.Full(),
	}
	rules, _ := activity.RulesOf(p)
	switch {
	case l.Fetching || lost:
	case !v.Refreshable:
		v.Empty = rules.Arrival
	case l.AsOf.IsZero():
		v.Empty = "Nothing has been fetched from " + p.Name + " yet."
	default:
		v.Empty = "No " + rules.Noun + " at " + p.Name + " yet."
	}
	return v
}

// oldest is the day of the oldest entry.
func (l latestView) oldest() string {
	if len(l.Entries) == 0 {
		return ""
	}
	return l.Entries[len(l.Entries)-1].Local().Format(time.DateOnly)
}

// refresh enqueues a fetch of the newest entries, and redirects to the card, which shows its progress.
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
	kept, err := s.Activity.WithoutEntries(r.Context(), current.UserID)
	if err != nil {
		return err
	}
	if kept[p.Key].Fresh {
		s.flashAt(r, atCard(p.Key), info, p.Name+" is up to date: it was refreshed a moment ago.")
		redirect(w, r, cardPath(p.Key))
		return nil
	}
	if err := s.Activity.EnqueueSyncNow(r.Context(), p.Key, at.Subject, activity.Fetch); err != nil {
		return err
	}
	redirect(w, r, cardPath(p.Key))
	return nil
}

// refreshAll enqueues a fetch for each connection that can be refreshed, and redirects to the home page, which shows
// the progress. A connection that was refreshed a moment ago, or too often, is left out.
func (s *server) refreshAll(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	cards, err := s.cards(r, current.UserID, s.Activity.WithoutEntries)
	if err != nil {
		return err
	}
	asked := 0
	var refused error
	for _, c := range cards {
		if !c.canRefresh() || c.fresh {
			continue
		}
		p, err := s.provider(c.Key)
		if err != nil {
			return err
		}
		err = s.allowCall(r, p)
		if _, limited := errors.AsType[*auth.LimitError](err); limited {
			refused = err
			continue
		}
		if err == nil {
			err = s.Activity.EnqueueSyncNow(r.Context(), c.Key, c.Subject, activity.Fetch)
		}
		if err != nil {
			return err
		}
		asked++
	}
	switch {
	case asked == 0 && refused != nil:
		return refused
	case asked == 0:
		s.flash(r, info, "Everything is up to date: it was refreshed a moment ago.")
	}
	redirect(w, r, "/")
	return nil
}
