package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"cairn/db"
	"cairn/internal/admin"
)

const aboutVersion = `
The version, revision and time come from the version control that it was built
in. Where there is none, in an archive or an image, they are "unknown" unless the
build names a version: go build -ldflags '-X main.version=1.2.3' ./cmd/server
`

// version names a build that has no version control to ask. The linker sets it: -ldflags '-X main.version=…'.
var version string

// build is what is known of this program.
type build struct {
	Version  string `json:"version"`  // the module's, or "unknown"
	Revision string `json:"revision"` // of the version control, or "unknown"
	Time     string `json:"time"`     // of that revision, RFC 3339; "" if that is unknown
	Modified bool   `json:"modified"` // something was changed after it
	Go       string `json:"go_version"`
	Schema   int64  `json:"schema_version"` // the newest that it knows
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

// name is short, for lists: the version, or else the revision.
func (b build) name() string {
	if b.Version == "unknown" && b.Revision != "unknown" {
		return b.Revision[:min(12, len(b.Revision))]
	}
	return b.Version
}

// labels are what the metric of the build has.
func (b build) labels() (version, revision, goVersion string) { return b.Version, b.Revision, b.Go }

func versionCommand(_ context.Context, e admin.Env, out io.Writer) error {
	asJSON, err := admin.ParseListing(e.Args)
	if err != nil {
		return err
	}
	b := readBuild()
	if asJSON {
		return json.NewEncoder(out).Encode(b)
	}
	_, err = fmt.Fprintln(out, b)
	return err
}
