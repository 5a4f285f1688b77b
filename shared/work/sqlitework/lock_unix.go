//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlitework

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes the exclusive lock of the open file, or reports ErrInUse at once. The lock ends with the file, and with the
// process however that dies.
func lockFile(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrInUse
	}
	return err
}

// unlockFile ends the lock at once. Closing the file alone would not, while a child that this process is just starting has the file, too: until it
// runs its program.
func unlockFile(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }

// syncDir makes the directory's entries durable, so that a file created in it survives a power cut.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
