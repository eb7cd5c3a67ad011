package routes

import (
	_ "embed"
	"html/template"
	"net/http"
	"strings"
	"time"

	"cairn/internal/auth"
	"cairn/internal/session"
)

const (
	preferencesPath = "/account/preferences"
	zonePath        = "/account/zone"
)

// preferencesView is the form "Units and time".
type preferencesView struct {
	TimeZone string // "": not known
	Imperial bool
	Now      string        // in that zone
	Zones    template.HTML // to choose from
	Errors   map[string]string
	Notice   *notice
}

//go:embed zones.txt
var zonesText string

// zoneOptions lists the time zones by region. They are the same for everyone, so they are rendered once.
func zoneOptions() template.HTML {
	var options strings.Builder
	region := ""
	for name := range strings.Lines(zonesText) {
		name = strings.TrimSpace(name)
		if name == "" || strings.HasPrefix(name, "#") {
			continue
		}
		in, city, found := strings.Cut(name, "/")
		if !found {
			in, city = "Other", name
		}
		if in != region {
			if region != "" {
				options.WriteString("</optgroup>\n")
			}
			region = in
			options.WriteString(`<optgroup label="` + in + `">`)
		}
		options.WriteString(`<option value="` + name + `">` + strings.ReplaceAll(city, "_", " ") + `</option>`)
	}
	return template.HTML(options.String() + "</optgroup>")
}

func (s *server) preferences(r *http.Request) preferencesView {
	current, _ := session.Current(r.Context())
	return preferencesView{
		TimeZone: current.TimeZone, Imperial: unitsOf(r) == auth.Imperial,
		Now: time.Now().In(s.zone(current.TimeZone)).Format("15:04"), Zones: s.zoneOptions,
	}
}

// prefer stores the units and the time zone that a person chose.
func (s *server) prefer(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	chosen := auth.Preferences{TimeZone: r.PostForm.Get("zone"), Units: r.PostForm.Get("units")}
	err := s.Accounts.Prefer(r.Context(), current.UserID, chosen)
	if status, problems, ok := s.formProblem(w, err); ok {
		return s.showAccount(w, r, status, nil, func(v *accountView) {
			v.Title, v.Preferences.Errors = formTitle("Your account", problems), problems
		})
	}
	if err != nil {
		return err
	}
	s.flashAt(r, atPreferences, good, "Units and time are saved.")
	redirect(w, r, "/account#"+atPreferences)
	return nil
}

// guessZone stores the zone that the script finds in the browser, unless the person's zone is known.
func (s *server) guessZone(w http.ResponseWriter, r *http.Request) error {
	current, _ := session.Current(r.Context())
	err := s.Accounts.GuessTimeZone(r.Context(), current.UserID, r.PostForm.Get("zone"))
	if status, _, ok := s.formProblem(w, err); ok {
		w.WriteHeader(status)
		return nil
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unitsOf returns the units that a person chose, or else those that are usual with the language of their browser.
func unitsOf(r *http.Request) string {
	if current, _ := session.Current(r.Context()); current.Units != "" {
		return current.Units
	}
	first, _, _ := strings.Cut(r.Header.Get("Accept-Language"), ",")
	language, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(first)), ";")
	switch base, _, _ := strings.Cut(language, "-"); {
	case language == "en-us", language == "en-lr", base == "my":
		return auth.Imperial
	}
	return auth.Metric
}
