//go:build unix

package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	// places is where root keeps the clusters of directories that PostgreSQL's account cannot enter:
	// places/cluster-<random>/{owner,postgres}. owner names the Dir whose link leads there.
	places = "/var/lib/cairn"

	// runDirLimit keeps socket paths under the 104 bytes that macOS allows.
	runDirLimit = 60
)

// findData returns the existing data directory of dir with links resolved, or "" if there is none yet.
func findData(dir string) (string, error) {
	link := filepath.Join(dir, "postgres")
	info, err := os.Lstat(link)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("find the data directory: %w", err)
	case info.Mode()&fs.ModeSymlink != 0:
		return followLink(dir, link)
	}
	if entries, err := os.ReadDir(link); err == nil && len(entries) == 0 {
		return "", os.Remove(link)
	}
	if _, err := os.Stat(filepath.Join(link, "PG_VERSION")); errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is not a PostgreSQL data directory: delete it to begin anew", link)
	} else if errors.Is(err, fs.ErrPermission) {
		return "", foreign(link, dir)
	}
	return link, nil
}

// followLink finds the data behind a link of ours, or of the person who made one to a roomier disk.
func followLink(dir, link string) (string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	ours := strings.HasPrefix(target, places+"/")
	data, err := filepath.EvalSymlinks(link)
	if errors.Is(err, fs.ErrNotExist) && ours {
		return "", os.Remove(link)
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", foreign(link, dir)
	}
	if err != nil {
		return "", fmt.Errorf("%s leads nowhere: %w", link, err)
	}
	if ours {
		return data, claim(filepath.Dir(target), dir, target)
	}
	return data, nil
}

// claim makes dir the owner of a place whose link came along when the directory was moved. A copied link is refused:
// two directories must not run one cluster.
func claim(place, dir, target string) error {
	file := filepath.Join(place, "owner")
	owner, err := os.ReadFile(file)
	if err != nil || string(owner) == dir {
		return err
	}
	if former, err := os.Readlink(filepath.Join(string(owner), "postgres")); err == nil && former == target {
		return fmt.Errorf("%s was copied from %s, and its link postgres leads to the same database: "+
			"delete the link to begin anew", dir, owner)
	}
	return os.WriteFile(file, []byte(dir), 0o600)
}

// create makes a new cluster in Dir, or where the account can reach it. It gets its name when it is complete, so that
// an interrupted initdb leaves nothing that looks like a cluster.
func (c *cluster) create() error {
	home := c.Dir
	if !c.user.canEnter(home) {
		var err error
		if home, err = makePlace(c.Dir); err != nil {
			return err
		}
	}
	unfinished := filepath.Join(home, "postgres.new")
	if err := errors.Join(os.RemoveAll(unfinished), c.user.mkdir(unfinished)); err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	if err := c.initdb(unfinished); err != nil {
		return err
	}
	c.data, c.made = filepath.Join(home, "postgres"), true
	if err := os.Rename(unfinished, c.data); err != nil {
		return fmt.Errorf("make a data directory: %w", err)
	}
	if home == c.Dir {
		return nil
	}
	return os.Symlink(c.data, filepath.Join(c.Dir, "postgres"))
}

// makePlace makes a place for dir.
func makePlace(dir string) (string, error) {
	removeAbandoned(dir)
	if err := os.MkdirAll(places, 0o755); err != nil {
		return "", fmt.Errorf("make a data directory that PostgreSQL's account can enter: %w", err)
	}
	place, err := os.MkdirTemp(places, "cluster-")
	if err == nil {
		err = os.Chmod(place, 0o711)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(place, "owner"), []byte(dir), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("make a data directory that PostgreSQL's account can enter: %w", err)
	}
	return place, nil
}

// removeAbandoned removes places that belonged to the dir which was here before, and to temporary ones that are gone.
// Any other that cannot be seen may have been moved, or be on a disk that is not mounted.
func removeAbandoned(dir string) {
	former, _ := filepath.Glob(filepath.Join(places, "cluster-*"))
	for _, place := range former {
		owner, err := os.ReadFile(filepath.Join(place, "owner"))
		if err != nil || running(filepath.Join(place, "postgres")) {
			continue
		}
		_, err = os.Stat(string(owner))
		gone := errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(string(owner), os.TempDir()+"/")
		if gone || string(owner) == dir {
			_ = os.RemoveAll(place)
		}
	}
}

// remove deletes the cluster's files.
func (c *cluster) remove() error {
	place := filepath.Dir(c.data)
	if filepath.Dir(place) == places {
		return errors.Join(os.RemoveAll(place), os.Remove(filepath.Join(c.Dir, "postgres")))
	}
	return os.RemoveAll(c.data)
}

// makeRunDir makes a short-named directory for sockets. Root's must be enterable for whichever account PostgreSQL gets.
func makeRunDir() (string, error) {
	anybody := account{}
	if os.Geteuid() == 0 {
		anybody = nobodyInParticular
	}
	for _, parent := range []string{os.TempDir(), "/tmp", "/run"} {
		if len(parent) > runDirLimit || !anybody.canEnter(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "cairn-")
		if err != nil {
			continue
		}
		if os.Geteuid() == 0 {
			err = os.Chmod(dir, 0o711)
		}
		return dir, err
	}
	return "", errors.New("make a directory for sockets: neither TMPDIR, /tmp nor /run can be used")
}

func (c *cluster) sockets() string { return filepath.Join(c.run, "pg") }

func (c *cluster) makeSocketDir() error {
	if err := c.user.mkdir(c.sockets()); err != nil {
		return fmt.Errorf("make a directory for sockets: %w", err)
	}
	return nil
}

// removeRunDir removes the names we know and nothing else: the directory may come from a link that somebody else wrote.
func removeRunDir(dir string) {
	for _, name := range []string{"pg/.s.PGSQL.5432", "pg/.s.PGSQL.5432.lock", "pg", "lease", "."} {
		_ = os.Remove(filepath.Join(dir, name))
	}
}
