//go:build unix

package main

import "golang.org/x/sys/unix"

// forbidDumps keeps the memory of this process out of core files: a code or a key in the clear may be in it.
func forbidDumps() error {
	return unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
}
