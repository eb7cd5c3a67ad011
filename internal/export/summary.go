package export

import (
	"fmt"
	"time"
)

// format is the version of the files' shapes. Fields may be added in a version; a change of one makes a new version.
const format = 1

// entry is a file in the manifest.
type entry struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	Records int    `json:"records"`
}

// manifest is the last file, so an archive that has it is whole.
func (a *Archive) manifest(f *file, files []entry) error {
	return f.record(struct {
		Format    int       `json:"format"`
		CreatedAt time.Time `json:"created_at"`
		Complete  bool      `json:"complete"`
		Files     []entry   `json:"files"`
	}{format, a.At.UTC().Truncate(time.Second), true, files})
}

const readmeHead = `Your data from Cairn
====================

This is what Cairn keeps of you, as of %s.

`

const readmeFoot = `
The files are JSON in UTF-8. Times are in UTC, in the format of RFC 3339. The files were read one after another, so a
change during the download may be in some of them only.

Some things are left out because they only protect your account or give access to others: the hash of your password, the
tokens with which Cairn reads your accounts, and the hashes of cookies and private links. Unfinished sign-ins and other
work in progress are left out, too.

manifest.json is the last file. It lists the others with their sizes and numbers of records. If it is missing, the
download was cut off: please download your data again.
`

func (a *Archive) readme(f *file) error {
	f.text(fmt.Sprintf(readmeHead, a.At.UTC().Format("2 January 2006, 15:04 UTC")))
	width := 0
	for _, part := range a.Parts {
		width = max(width, len(part.File))
	}
	for _, part := range a.Parts {
		f.text(fmt.Sprintf("%-*s  %s\n", width, part.File, part.About))
	}
	f.text(readmeFoot)
	return f.err
}
