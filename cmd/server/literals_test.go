package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cairn/internal/config"
)

// namesProviders lists where the program names a provider. Other code gets providers from oauth.Registry.
var namesProviders = []string{
	"internal/oauth/*/*.go", "internal/sandbox/*.go", "internal/config/providers.go",
	"internal/node/*.go",          // the providers of that server
	"internal/testkit/express.go", // its table of people
}

func TestProvidersAreNamedInFewPlaces(t *testing.T) {
	t.Parallel()
	provider := anyProvider()
	found := map[string]bool{}
	eachLiteral(t, func(file, literal string) {
		if !provider.MatchString(literal) {
			return
		}
		i := slices.IndexFunc(namesProviders, func(place string) bool {
			match, _ := path.Match(place, file)
			return match
		})
		if i < 0 {
			t.Errorf("%s names a provider: %.60s", file, literal)
			return
		}
		found[namesProviders[i]] = true
	})
	for _, place := range namesProviders {
		if !found[place] {
			t.Errorf("%s names no provider: remove it from namesProviders", place)
		}
	}
}

// anyProvider matches the name of each provider.
func anyProvider() *regexp.Regexp {
	var keys []string
	for _, p := range config.Providers() {
		keys = append(keys, p.Key)
	}
	return regexp.MustCompile("(?i)" + strings.Join(keys, "|"))
}

// Pages name the providers that are set up, whichever these are.
func TestTemplatesNameNoProvider(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../web/templates/*/*.html")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d templates, error %v", len(pages), err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if name := anyProvider().Find(text); err != nil || name != nil {
			t.Errorf("%s names %s (error %v)", page, name, err)
		}
	}
}

// eachSource calls do for every Go file of the program, by its path from here. It skips tests, and what make leaves:
// bin has the version before (make deploy-test).
func eachSource(t *testing.T, do func(path string) error) {
	t.Helper()
	skipped := []string{"testdata", "test", "node_modules", "bin", "data"}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(skipped, entry.Name()):
			return filepath.SkipDir
		case filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		return do(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// eachFile calls do for every Go file of the program, by its path in the repository.
func eachFile(t *testing.T, do func(name string, file *ast.File)) {
	t.Helper()
	eachSource(t, func(path string) error {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("../..", path)
		do(filepath.ToSlash(name), file)
		return err
	})
}

// eachLiteral calls do for every string literal in the program's Go code. It skips tests and imports.
func eachLiteral(t *testing.T, do func(file, literal string)) {
	t.Helper()
	eachFile(t, func(name string, file *ast.File) {
		for _, literal := range literalsIn(file) {
			do(name, literal)
		}
	})
}

// literalsIn returns the string literals in a part of a program. It skips imports.
func literalsIn(part ast.Node) (literals []string) {
	ast.Inspect(part, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BasicLit:
			if n.Kind == token.STRING {
				literals = append(literals, n.Value)
			}
		}
		return true
	})
	return literals
}
