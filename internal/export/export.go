// Package export makes the archive in which a person downloads what is kept about them. It knows no table: each package
// reads its own, and package routes lists them as parts.
//
//	export.go   parts, and the archive that is made of them
//	file.go     one file of the archive
//	summary.go  the two files at its end: README.txt and manifest.json
//
// An archive is written while it is read, in pages: it takes the same memory however much a person has, and nothing of
// it is stored here. While its reader is slow, no statement runs and no connection to the database is held. So it is
// not a snapshot. The manifest comes last, so that an archive without one is known to have been cut off.
package export

import (
	"archive/zip"
	"context"
	"fmt"
	"io"
	"time"
)

// Part is one file of the archive. Make it with One or List.
type Part struct {
	File  string // "sessions.json"
	About string // what is in it, for README.txt
	write func(ctx context.Context, a *Archive, f *file) error
}

// One is a part with a single record.
func One[T any](name, about string, read func(ctx context.Context, userID int64) (T, error)) Part {
	return Part{name, about, func(ctx context.Context, a *Archive, f *file) error {
		var record T
		err := a.page(ctx, func(ctx context.Context) (err error) {
			record, err = read(ctx, a.UserID)
			return err
		})
		if err != nil {
			return err
		}
		return f.record(record)
	}}
}

// List is a part with any number of records. read returns a page of them, those that follow the key after, and the key
// that the next page follows. The zero key stands before the first page, and is returned with the last one.
func List[T any, K comparable](
	name, about string, read func(ctx context.Context, userID int64, after K) (records []T, next K, err error),
) Part {
	return Part{name, about, func(ctx context.Context, a *Archive, f *file) error {
		var first, after K
		f.open()
		for {
			var records []T
			err := a.page(ctx, func(ctx context.Context) (err error) {
				records, after, err = read(ctx, a.UserID, after)
				return err
			})
			if err != nil {
				return err
			}
			for _, record := range records {
				if err := f.item(record); err != nil {
					return err
				}
			}
			if after == first {
				return f.close()
			}
		}
	}}
}

// Archive is what is kept of one person.
type Archive struct {
	UserID int64
	Parts  []Part
	At     time.Time     // when it was asked for
	Read   time.Duration // the limit for one page
	// Allowed is asked before each page, and ends the archive with its error.
	Allowed func(context.Context) error
}

// page reads one page within the limit, if that is still allowed.
func (a *Archive) page(ctx context.Context, read func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, a.Read)
	defer cancel()
	if err := a.Allowed(ctx); err != nil {
		return err
	}
	return read(ctx)
}

// Write writes the archive. If it fails, what it has written is not whole, and has no manifest.
func (a *Archive) Write(ctx context.Context, w io.Writer) error {
	archive := zip.NewWriter(w)
	var files []entry
	for _, part := range a.Parts {
		done, err := a.add(archive, part.File, func(f *file) error { return part.write(ctx, a, f) })
		if err != nil {
			return err
		}
		files = append(files, done)
	}
	readme, err := a.add(archive, "README.txt", a.readme)
	if err != nil {
		return err
	}
	files = append(files, readme)
	_, err = a.add(archive, "manifest.json", func(f *file) error { return a.manifest(f, files) })
	if err != nil {
		return err
	}
	return archive.Close()
}

// add writes one file.
func (a *Archive) add(archive *zip.Writer, name string, write func(*file) error) (entry, error) {
	w, err := archive.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: a.At.UTC()})
	if err != nil {
		return entry{}, fmt.Errorf("export: begin %s: %w", name, err)
	}
	f := &file{w: w}
	if err := write(f); err != nil {
		return entry{}, fmt.Errorf("export: %s: %w", name, err)
	}
	return entry{Name: name, Bytes: f.bytes, Records: f.records}, nil
}
