package admin

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// tableRows is how many rows of a table are laid out together, so that a long one needs little memory.
const tableRows = 1000

// list returns a function that writes one row of a listing, and one that ends the listing. It writes a table under
// heading, with tabs between cells, or with asJSON one JSON object a line. The fields of these objects are a promise:
// docs/operations.md lists them.
func list[T any](
	out io.Writer, asJSON bool, heading string, cells func(T) string,
) (row func(T) error, end func() error) {
	if asJSON {
		return func(r T) error { return writeJSON(out, r) }, func() error { return nil }
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, heading)
	rows := 0
	return func(r T) error {
		if rows++; rows%tableRows == 0 {
			if err := table.Flush(); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintln(table, cells(r))
		return err
	}, table.Flush
}

// listAll writes a listing of rows.
func listAll[T any](out io.Writer, asJSON bool, heading string, rows []T, cells func(T) string) error {
	row, end := list(out, asJSON, heading, cells)
	for _, r := range rows {
		if err := row(r); err != nil {
			return err
		}
	}
	return end()
}

// writeJSON writes one object on a line of its own.
func writeJSON(out io.Writer, object any) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	return lines.Encode(object)
}

// IsTerminal reports whether a person reads what is written.
func IsTerminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// stamp returns a time as tables show it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
