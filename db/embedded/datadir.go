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
	// clustersDir has root's clusters for a Dir that PostgreSQL's account cannot enter, as
	// clustersDir/cluster-<random>/{owner,postgres}. The file owner names the Dir whose link leads there.
	clustersDir = "/var/lib/cairn"

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
		return "", foreignOwner(link, dir)
	}
	return link, nil
}

// followLink returns the data directory behind a link: ours, or one that the user made, to another disk for example.
func followLink(dir, link string) (string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		return "", fmt.Errorf("find the data directory: %w", err)
	}
	ours := strings.HasPrefix(target, clustersDir+"/")
	data, err := filepath.EvalSymlinks(link)
	if errors.Is(err, fs.ErrNotExist) && ours {
		return "", os.Remove(link)
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", foreignOwner(link, dir)
	}
	if err != nil {
		return "", fmt.Errorf("%s leads nowhere: %w", link, err)
	}
	if ours {
		return data, changeOwner(filepath.Dir(target), dir, target)
	}
	return data, nil
}

// changeOwner makes dir the owner of a cluster after the directory with the link was moved. A copied link is refused:
// two directories must not run one cluster.
func changeOwner(clusterDir, dir, target string) error {
	file := filepath.Join(clusterDir, "owner")
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

// create makes a new cluster in Dir, or in clustersDir if the account can't enter Dir. The cluster gets its name when
// it is complete, so that an interrupted initdb leaves no half cluster.
func (c *cluster) create() error {
	home := c.Dir
	if !c.user.canEnter(home) {
		var err error
		if home, err = makeClusterDir(c.Dir); err != nil {
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

// makeClusterDir makes a directory below clustersDir for the cluster of dir.
func makeClusterDir(dir string) (string, error) {
	removeAbandoned(dir)
	if err := os.MkdirAll(clustersDir, 0o755); err != nil {
		return "", fmt.Errorf("make a data directory that PostgreSQL's account can enter: %w", err)
	}
	clusterDir, err := os.MkdirTemp(clustersDir, "cluster-")
	if err == nil {
		err = os.Chmod(clusterDir, 0o711)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(clusterDir, "owner"), []byte(dir), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("make a data directory that PostgreSQL's account can enter: %w", err)
	}
	return clusterDir, nil
}

// removeAbandoned removes clusters of an earlier dir of this name, and those of temporary directories that are gone.
// Any other directory that is missing may have been moved, or may be on a disk that is not mounted.
func removeAbandoned(dir string) {
	former, _ := filepath.Glob(filepath.Join(clustersDir, "cluster-*"))
	for _, clusterDir := range former {
		owner, err := os.ReadFile(filepath.Join(clusterDir, "owner"))
		if err != nil || running(filepath.Join(clusterDir, "postgres")) {
			continue
		}
		_, err = os.Stat(string(owner))
		gone := errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(string(owner), os.TempDir()+"/")
		if gone || string(owner) == dir {
			_ = os.RemoveAll(clusterDir)
		}
	}
}

// remove deletes the cluster's files.
func (c *cluster) remove() error {
	clusterDir := filepath.Dir(c.data)
	if filepath.Dir(clusterDir) == clustersDir {
		return errors.Join(os.RemoveAll(clusterDir), os.Remove(filepath.Join(c.Dir, "postgres")))
	}
	return os.RemoveAll(c.data)
}

// makeRunDir makes a directory with a short path for sockets. Root lets any account enter it, because PostgreSQL's is
// not known yet.
func makeRunDir() (string, error) {
	user := account{}
	if os.Geteuid() == 0 {
		user = anyUser
	}
	for _, parent := range []string{os.TempDir(), "/tmp", "/run"} {
		if len(parent) > runDirLimit || !user.canEnter(parent) {
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

// removeRunDir removes the files that we make, and no others: the directory's name may come from another user's link.
func removeRunDir(dir string) {
	for _, name := range []string{"pg/.s.PGSQL.5432", "pg/.s.PGSQL.5432.lock", "pg", "lease", "."} {
		_ = os.Remove(filepath.Join(dir, name))
	}
}
