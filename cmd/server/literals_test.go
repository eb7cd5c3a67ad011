package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/internal/config"
)

// namesProviders are the places where the program names a provider. All else learns of providers from oauth.Registry.
var namesProviders = []string{
	"internal/oauth/foursquare/", "internal/oauth/garmin/", "internal/oauth/strava/", "internal/sandbox/",
	"internal/config/providers.go",
	// The Node server, whose tables it looks at, knew one provider only.
	"internal/admin/doctor_oldtokens.go",
}

func TestProvidersAreNamedInTheirPlaces(t *testing.T) {
	t.Parallel()
	var keys []string
	for _, p := range config.Providers() {
		keys = append(keys, p.Key)
	}
	provider := regexp.MustCompile("(?i)" + strings.Join(keys, "|"))
	found := map[string]bool{}
	eachLiteral(t, func(file, literal string) {
		if !provider.MatchString(literal) {
			return
		}
		i := slices.IndexFunc(namesProviders, func(place string) bool { return strings.HasPrefix(file, place) })
		if i < 0 {
			t.Errorf("%s names a provider: %.60s", file, literal)
			return
		}
		found[namesProviders[i]] = true
	})
	for _, place := range namesProviders {
		if !found[place] && place != "internal/config/providers.go" {
			t.Errorf("%s names no provider: it need not stand here", place)
		}
	}
}

// eachLiteral calls do for every string in the Go code of the program, tests left out, but not for imports and tags.
func eachLiteral(t *testing.T, do func(file, literal string)) {
	t.Helper()
	root := filepath.Join("..", "..")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "testdata" || entry.Name() == "test" || entry.Name() == "node_modules"):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ImportSpec:
				return false
			case *ast.BasicLit:
				if n.Kind == token.STRING {
					do(filepath.ToSlash(name), n.Value)
				}
			}
			return true
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
