package secret

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// LocalKey is a key-encryption key in a file of this machine.
type LocalKey struct{ key []byte }

// OpenLocalKey reads the key at path, and makes it (mode 0600) when there is none. A file of another length is an error:
// with a wrong key every stored code would be lost without a word.
func OpenLocalKey(path string) (*LocalKey, error) {
	key, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key = newKey()
		err := createFile(path, key)
		if errors.Is(err, fs.ErrExist) {
			return OpenLocalKey(path) // somebody else was first, and both must have the same key
		}
		if err != nil {
			return nil, fmt.Errorf("make key-encryption key: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("read key-encryption key: %w", err)
	case len(key) != 32:
		return nil, fmt.Errorf("key-encryption key %s has %d bytes, want 32: restore the file, or move it away to start with a new key and lose the codes sealed under the old one", path, len(key))
	}
	return &LocalKey{key: key}, nil
}

// Wrap encrypts key; bound must be given to Unwrap again.
func (k *LocalKey) Wrap(_ context.Context, key, bound []byte) ([]byte, error) {
	aead, err := newGCM(k.key)
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return aead.Seal(nonce, nonce, key, bound), nil
}

// Unwrap is the inverse of Wrap.
func (k *LocalKey) Unwrap(_ context.Context, wrapped, bound []byte) ([]byte, error) {
	aead, err := newGCM(k.key)
	if err != nil {
		return nil, err
	}
	if len(wrapped) < aead.NonceSize() {
		return nil, ErrBinding
	}
	key, err := aead.Open(nil, wrapped[:aead.NonceSize()], wrapped[aead.NonceSize():], bound)
	if err != nil {
		return nil, ErrBinding
	}
	return key, nil
}

// Derive returns a key for another purpose, which tells nothing about this one. The same purpose gives the same key.
func (k *LocalKey) Derive(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, k.key, nil, "pinreset/"+purpose, 32)
}

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // crypto/rand never fails: it ends the program instead
	return key
}

// createFile writes data so that after a crash the file is there whole or not at all. A file that is there already stays as
// it is, and the error is fs.ErrExist.
func createFile(path string, data []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".key-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil { // not Rename, which would replace
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync() // some file systems can't sync a directory; the key is in place
	return nil
}
