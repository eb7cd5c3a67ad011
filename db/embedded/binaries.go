//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// oldestMajor has DROP DATABASE … WITH (FORCE), which the tests need.
const oldestMajor = 13

// searchList is PATH, then the places where Debian, Homebrew and Red Hat keep server binaries.
func searchList() []string {
	return append(filepath.SplitList(os.Getenv("PATH")),
		"/usr/lib/postgresql/*/bin",
		"/opt/homebrew/opt/postgresql*/bin",
		"/usr/local/opt/postgresql*/bin",
		"/usr/pgsql-*/bin",
	)
}

// findBinaries returns the first directory of search (nil: searchList) with an initdb and postgres that user may run
// and that fit: the major version that made data, or for a new cluster (data "") any that is recent enough.
func findBinaries(search []string, user account, data string) (string, error) {
	if search == nil {
		search = searchList()
	}
	want := 0
	if data != "" {
		text, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
		if err != nil {
			return "", fmt.Errorf("read the version of the data directory: %w", err)
		}
		want, _ = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	var found []string
	for _, dir := range candidates(search, user) {
		major, err := majorVersion(dir, user)
		if err != nil {
			continue
		}
		if major == want || want == 0 && major >= oldestMajor {
			return dir, nil
		}
		found = append(found, fmt.Sprintf("%d (%s)", major, dir))
	}
	switch {
	case len(found) == 0:
		return "", errors.New("PostgreSQL is not installed on this machine: " +
			"install it (`apt-get install postgresql` or `brew install postgresql`), " +
			"or run everything in containers (`docker compose up`), " +
			"or name a database in the environment variable DATABASE_URL")
	case want != 0:
		return "", fmt.Errorf("%s was made by PostgreSQL %d, and this machine has %s: "+
			"install PostgreSQL %d, or delete the directory to begin anew",
			data, want, strings.Join(found, ", "), want)
	}
	return "", fmt.Errorf("PostgreSQL %d or newer is needed, and this machine has %s",
		oldestMajor, strings.Join(found, ", "))
}

// candidates lists directories with both programs, the newest first within a pattern.
func candidates(search []string, user account) []string {
	var dirs []string
	for _, pattern := range search {
		matches, _ := filepath.Glob(filepath.Join(pattern, "postgres"))
		slices.Sort(matches)
		slices.Reverse(matches)
		for _, match := range matches {
			dir := filepath.Dir(match)
			_, err := os.Stat(filepath.Join(dir, "initdb"))
			program, linkErr := filepath.EvalSymlinks(match)
			if err == nil && linkErr == nil && user.canEnter(filepath.Dir(program)) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// majorVersion asks the binary, which says something like "postgres (PostgreSQL) 15.12 (Debian 15.12-0+deb12u2)".
func majorVersion(dir string, user account) (int, error) {
	out, err := user.command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("ask %s for its version: %w", dir, err)
	}
	match := regexp.MustCompile(`\(PostgreSQL\) (\d+)`).FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("%s has a version of no known form", dir)
	}
	return strconv.Atoi(string(match[1]))
}
