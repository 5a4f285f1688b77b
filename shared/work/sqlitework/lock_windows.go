package sqlitework

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes the exclusive lock of the open file, or reports ErrInUse at once. The lock ends with the file, and with the
// process however that dies.
func lockFile(f *os.File) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY,
		0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrInUse
	}
	return err
}

// unlockFile leaves it to the file's end: no child has the file.
func unlockFile(*os.File) error { return nil }

// syncDir does nothing: NTFS journals directory entries, and Windows can't flush a directory.
func syncDir(string) error { return nil }
