// Package nodetest fetches programs of Node.js that tests run, once for a machine: a model of Table storage, a driver of browsers. They come
// by npm from a lock file, so that every machine has the same ones, and lie in the user's cache directory. It is for tests alone.
package nodetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// ErrMissing: Node.js, npm or what npm was to fetch is not on this machine.
var ErrMissing = errors.New("a program of Node.js can't be run here")

// Install fetches what the manifest and its lock file name, unless that was done before, and returns its directory. Its errors about the
// machine are ErrMissing.
func Install(ctx context.Context, name string, manifest, lock []byte) (dir string, err error) {
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("%w: Node.js is missing: %w", ErrMissing, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("%w: there is no cache directory: %w", ErrMissing, err)
	}
	sum := sha256.Sum256(lock)
	dir = filepath.Join(cache, "pinreset", name+"-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("%w: npm is missing: %w", ErrMissing, err)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", err
	}
	// Whoever else installs at this moment has a directory of his own, and the first to be ready gives it the name.
	own, err := os.MkdirTemp(filepath.Dir(dir), "installing-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(own)
	for file, data := range map[string][]byte{"package.json": manifest, "package-lock.json": lock} {
		if err := os.WriteFile(filepath.Join(own, file), data, 0o644); err != nil {
			return "", err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	command.Dir = own
	if out, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: npm could not fetch it: %w: %s", ErrMissing, err, out)
	}
	if err := os.Rename(own, dir); err != nil {
		if _, there := os.Stat(dir); there != nil {
			return "", err
		}
	}
	return dir, nil
}
