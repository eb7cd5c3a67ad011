package export

import (
	"bytes"
	"encoding/json"
	"io"
)

// file counts what is written to one file of the archive.
type file struct {
	w       io.Writer
	line    bytes.Buffer // of one record
	err     error        // the first one
	bytes   int64
	records int
}

func (f *file) text(p string) {
	if f.err == nil {
		var n int
		n, f.err = io.WriteString(f.w, p)
		f.bytes += int64(n)
	}
}

// open begins a list, and close ends it.
func (f *file) open() { f.text("[") }

func (f *file) close() error {
	f.text("\n]\n")
	return f.err
}

// item writes one record of a list, on a line of its own.
func (f *file) item(record any) error {
	if f.records > 0 {
		f.text(",")
	}
	f.text("\n")
	return f.json(record, "")
}

// record writes the only record of a file.
func (f *file) record(record any) error {
	if err := f.json(record, "  "); err != nil {
		return err
	}
	f.text("\n")
	return f.err
}

func (f *file) json(record any, indent string) error {
	f.line.Reset()
	lines := json.NewEncoder(&f.line)
	lines.SetEscapeHTML(false) // it is read by people, too, and not on a page
	lines.SetIndent("", indent)
	if err := lines.Encode(record); err != nil {
		return err
	}
	f.records++
	f.text(string(bytes.TrimSuffix(f.line.Bytes(), []byte("\n"))))
	return f.err
}
