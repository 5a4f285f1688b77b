//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sqlitework

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestClosedWhileAChildBegins: a child that was forked and has not begun its program has all files of this process, the lock's included. The
// directory is free all the same once the store is closed.
func TestClosedWhileAChildBegins(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "work")
	s, err := Open(dir, Options{Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	childs, err := syscall.Dup(int(s.lock.Fd())) // as fork does with each file
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Close(childs) }()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir, Options{Now: time.Now})
	if err != nil {
		t.Fatalf("open again: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
