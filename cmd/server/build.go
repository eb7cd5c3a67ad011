package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"cairn/db"
)

// version is the version of a build outside version control. The linker sets it: -ldflags '-X main.version=…'.
var version string

// build says which build of the program this is.
type build struct {
	Version  string `json:"version"`  // the module's, or "unknown"
	Revision string `json:"revision"` // in version control, or "unknown"
	Time     string `json:"time"`     // of the revision, in RFC 3339; "": unknown
	Modified bool   `json:"modified"` // files were changed after the revision
	Go       string `json:"go_version"`
	Schema   int64  `json:"schema_version"` // the newest that this program knows
}

func readBuild() build {
	b := build{Version: version, Go: runtime.Version(), Schema: db.Newest()}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "(devel)" {
			b.Version = cmp.Or(b.Version, info.Main.Version)
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Revision = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
	}
	b.Version, b.Revision = cmp.Or(b.Version, "unknown"), cmp.Or(b.Revision, "unknown")
	return b
}

func (b build) String() string {
	text := fmt.Sprintf("cairn %s, revision %s", b.Version, b.Revision)
	if b.Time != "" {
		text += " of " + b.Time
	}
	if b.Modified {
		text += ", modified"
	}
	return fmt.Sprintf("%s, schema version %d, %s %s/%s", text, b.Schema, b.Go, runtime.GOOS, runtime.GOARCH)
}

// name returns the version, or the short revision if there is no version.
func (b build) name() string {
	if b.Version == "unknown" && b.Revision != "unknown" {
		return b.Revision[:min(12, len(b.Revision))]
	}
	return b.Version
}

// labels returns the labels of cairn_build_info.
func (b build) labels() (version, revision, goVersion string) { return b.Version, b.Revision, b.Go }
