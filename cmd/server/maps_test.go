package main

import (
	"go/parser"
	"go/token"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A package with more than two files has a map of them in its comment: indented lines, each with names of files.
func TestPackageCommentsNameTheFiles(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "cairn/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for dir := range strings.Lines(string(out)) {
		dir = strings.TrimSpace(dir)
		files, named := filesAndMap(t, dir)
		for _, name := range named {
			if !slices.ContainsFunc(files, func(file string) bool { return covers(name, file) }) {
				t.Errorf("the comment of %s names %s, which does not exist", dir, name)
			}
		}
		files = slices.DeleteFunc(files, func(file string) bool { return strings.HasSuffix(file, "_test.go") })
		for _, file := range files {
			if len(files) > 2 && !slices.ContainsFunc(named, func(name string) bool { return covers(name, file) }) {
				t.Errorf("the comment of %s does not name %s", dir, file)
			}
		}
	}
}

// nameInMap leaves out a file of another package, which has its folder in front.
var nameInMap = regexp.MustCompile(`[\s,]([a-z0-9_*]+\.go)\b`)

// filesAndMap returns the Go files of a package, for all systems, and the names in the map of its comment.
func filesAndMap(t *testing.T, dir string) (files, named []string) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range paths {
		files = append(files, filepath.Base(p))
		file, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(file.Doc.Text()) {
			if !strings.HasPrefix(line, "\t") {
				continue
			}
			for _, match := range nameInMap.FindAllStringSubmatch(line, -1) {
				named = append(named, match[1])
			}
		}
	}
	return files, named
}

// covers reports whether a name in a map is that of a file. A star in it stands for several files.
func covers(name, file string) bool {
	match, _ := path.Match(name, file)
	return match
}
