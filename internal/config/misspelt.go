package config

import (
	"slices"
	"strings"

	"github.com/agnivade/levenshtein"
)

// ourPrefixes returns prefixes that variables of other programs are unlikely to have.
func ourPrefixes() []string {
	prefixes := []string{"TRUSTED_", "ENCRYPTION_", "SHUTDOWN_", "NOTICE_", "METRICS_"}
	for _, p := range Providers() {
		prefixes = append(prefixes, p.Prefix+"_")
	}
	return prefixes
}

// Misspelt reports whether a variable that we do not read was probably meant for us. meant is the variable with the
// most similar name; "": none is similar.
func Misspelt(name string) (meant string, suspect bool) {
	best := 3 // one letter more than may differ
	for _, v := range variables(Providers()) {
		for _, ours := range v.names() {
			if name == ours || v.secret && name == ours+fileSuffix {
				return "", false
			}
			if n := levenshtein.ComputeDistance(strings.ToUpper(name), ours); n < best && n <= len(ours)/4 {
				best, meant = n, ours
			}
		}
	}
	upper := strings.ToUpper(name)
	ours := slices.ContainsFunc(ourPrefixes(), func(prefix string) bool { return strings.HasPrefix(upper, prefix) })
	return meant, meant != "" || ours
}
