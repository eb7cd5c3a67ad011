//go:build unix

package embedded

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// account is the account that PostgreSQL runs under. The zero value is that of this process.
type account struct {
	name       string
	home       string
	credential *syscall.Credential // without supplementary groups
}

// anyUser has the rights of any user.
var anyUser = account{credential: &syscall.Credential{Uid: 1<<32 - 2, Gid: 1<<32 - 2}}

// accountFor returns the account for dir's cluster in data ("": a new one). PostgreSQL refuses to run as root, so root
// runs it as the data's owner, or as one of the usual accounts.
func accountFor(dir, data string) (account, error) {
	if os.Geteuid() != 0 {
		return account{}, checkOwner(dir, data)
	}
	if data != "" {
		info, err := os.Stat(data)
		if err != nil {
			return account{}, fmt.Errorf("find the data directory: %w", err)
		}
		uid, gid := ownerOf(info)
		if uid == 0 {
			return account{}, fmt.Errorf("%s belongs to root, which PostgreSQL refuses to run as: "+
				"chown it to the account that made it", data)
		}
		return accountOf(uid, gid), nil
	}
	for _, name := range []string{"postgres", "_postgres", "nobody"} {
		entry, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseInt(entry.Uid, 10, 64) // macOS has -2 for nobody
		gid, errGID := strconv.ParseInt(entry.Gid, 10, 64)
		if errUID == nil && errGID == nil {
			return accountOf(uint32(uid), uint32(gid)), nil
		}
	}
	return account{}, errors.New("PostgreSQL refuses to run as root, " +
		"and there is no user postgres or nobody to run it as")
}

func accountOf(uid, gid uint32) account {
	a := account{name: fmt.Sprint(uid), home: "/", credential: &syscall.Credential{Uid: uid, Gid: gid}}
	if entry, err := user.LookupId(a.name); err == nil {
		a.name, a.home = entry.Username, entry.HomeDir
	}
	return a
}

// checkOwner returns an error if this user may not run dir's cluster in data.
func checkOwner(dir, data string) error {
	if data == "" {
		return nil
	}
	info, err := os.Stat(data)
	if err != nil {
		return fmt.Errorf("find the data directory: %w", err)
	}
	if uid, _ := ownerOf(info); int(uid) != os.Geteuid() {
		return foreignOwner(data, dir)
	}
	return nil
}

// mayRun reports whether a user may run PostgreSQL for us in dir: this user, root, and the owner of dir.
func mayRun(dir string, uid uint32) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	owner, _ := ownerOf(info)
	return uid == 0 || uid == owner || int(uid) == os.Geteuid()
}

// isPrivate reports whether only users who may run PostgreSQL in dir can create a socket in the directory run.
func isPrivate(dir, run string) bool {
	info, err := os.Lstat(run)
	if err != nil || !info.IsDir() || info.Mode().Perm()&0o022 != 0 {
		return false
	}
	owner, _ := ownerOf(info)
	return mayRun(dir, owner)
}

// foreignOwner returns the error that name, in the data directory dir, belongs to another user.
func foreignOwner(name, dir string) error {
	info, err := os.Lstat(name)
	if err != nil { // it does not exist, so it is dir that can't be written to
		name = dir
		info, err = os.Stat(dir)
	}
	owner := "another user"
	if err == nil {
		uid, _ := ownerOf(info)
		owner = "user " + accountOf(uid, 0).name
	}
	return fmt.Errorf("%s belongs to %s, and this process runs as user %s: "+
		"run it as the same user, delete %s, or set DATA_DIR to another directory",
		name, owner, accountOf(uint32(os.Geteuid()), 0).name, dir)
}

// canEnter reports whether the account may enter dir, through all directories above it.
func (a account) canEnter(dir string) bool {
	if a.credential == nil {
		return true
	}
	dir, err := filepath.EvalSymlinks(dir)
	for err == nil {
		info, statErr := os.Stat(dir)
		if statErr != nil || !a.mayPass(info) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
		dir = filepath.Dir(dir)
	}
	return false
}

func (a account) mayPass(info fs.FileInfo) bool {
	uid, gid := ownerOf(info)
	switch {
	case uid == a.credential.Uid:
		return info.Mode()&0o100 != 0
	case gid == a.credential.Gid:
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}

// mkdir makes a directory that only the account can enter.
func (a account) mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil || a.credential == nil {
		return err
	}
	return os.Lchown(dir, int(a.credential.Uid), int(a.credential.Gid))
}

// command prepares a program of PostgreSQL. It runs under the account, in a directory that any account may enter,
// without our secrets and PG… variables, and ends with this process.
func (a account) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = "/"
	cmd.Env = []string{"LC_ALL=C", "HOME=" + cmp.Or(a.home, os.Getenv("HOME"), "/")}
	for _, name := range []string{"PATH", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"} {
		if value, set := os.LookupEnv(name); set {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: a.credential}
	killWithParent(cmd.SysProcAttr)
	return cmd
}

func ownerOf(info fs.FileInfo) (uid, gid uint32) {
	stat := info.Sys().(*syscall.Stat_t)
	return stat.Uid, stat.Gid
}
