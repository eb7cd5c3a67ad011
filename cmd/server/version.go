package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"cairn/internal/admin"
)

const aboutVersion = `
The version, revision and time come from version control. A build outside it, from
an archive or in an image, says "unknown", unless it is given a version:
go build -ldflags '-X main.version=1.2.3' ./cmd/server
`

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
