//go:build unix

package embedded

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFindBinaries(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	for _, version := range []string{"9.6", "12", "14", "16"} {
		fakePostgres(t, filepath.Join(base, version, "bin"), version)
	}
	if err := os.MkdirAll(filepath.Join(base, "17", "bin"), 0o755); err != nil { // a client without server
		t.Fatal(err)
	}
	all := filepath.Join(base, "*", "bin")
	tests := map[string]struct {
		search []string
		data   string // version of existing data
		want   string // version of the binaries
		fails  string
	}{
		"newest":                   {search: []string{all}, want: "16"},
		"PATH before other places": {search: []string{filepath.Join(base, "14", "bin"), all}, want: "14"},
		"too old in PATH":          {search: []string{filepath.Join(base, "12", "bin"), all}, want: "16"},
		"data decides":             {search: []string{all}, data: "14", want: "14"},
		"old data too":             {search: []string{all}, data: "12", want: "12"},
		"none for the data":        {search: []string{all}, data: "15", fails: "made by PostgreSQL 15"},
		"too old":                  {search: []string{filepath.Join(base, "9.6", "bin")}, fails: "13 or newer"},
		"none":                     {search: []string{filepath.Join(base, "17", "bin"), ""}, fails: "not installed"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := ""
			if test.data != "" {
				data = t.TempDir()
				if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(test.data+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := findBinaries(test.search, account{}, data)
			if test.fails != "" {
				if err == nil || !strings.Contains(err.Error(), test.fails) {
					t.Errorf("got %q, %v; want an error with %q", got, err, test.fails)
				}
				return
			}
			if want := filepath.Join(base, test.want, "bin"); err != nil || got != want {
				t.Errorf("got %q, %v; want %q", got, err, want)
			}
		})
	}
}

func fakePostgres(t *testing.T, bin, version string) {
	t.Helper()
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	// A process forked while the script is open for writing would make it "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s'\n", version)
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
