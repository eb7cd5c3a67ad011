package routes

import (
	"net/http"
	"strings"

	"cairn/internal/activity"
	"cairn/internal/connection"
	"cairn/internal/oauth"
)

// privacyView is the page that says what is kept.
type privacyView struct {
	view
	Kept   string            // how long each provider's entries are kept; "": none has entries
	Manual []*oauth.Provider // at which only the person can remove our access
}

// privacy says what is kept, in the words of docs/security.md.
func (s *server) privacy(w http.ResponseWriter, r *http.Request) error {
	v := privacyView{view: s.view(r, "Privacy"), Kept: keptInWords(s.Providers)}
	for _, p := range s.Providers {
		if !connection.Revocable(p) {
			v.Manual = append(v.Manual, p)
		}
	}
	return s.render(w, http.StatusOK, "privacy", v)
}

// keptInWords says how long entries are kept. Providers with the same rule share a clause.
func keptInWords(providers oauth.Registry) string {
	var clauses []string
	whose := map[string][]string{}
	for _, p := range providers {
		rules, ok := activity.RulesOf(p)
		if !ok {
			continue
		}
		clause := "while the connection lasts"
		if rules.Keep > 0 {
			clause = "for " + daysInWords(rules.Keep) + " after they were last fetched"
		}
		if whose[clause] == nil {
			clauses = append(clauses, clause)
		}
		whose[clause] = append(whose[clause], p.Name+"’s")
	}
	for i, clause := range clauses {
		clauses[i] = enumerated(whose[clause], "and") + " " + clause
	}
	return strings.Join(clauses, "; ")
}
