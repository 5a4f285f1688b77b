package main

import (
	"archive/zip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// when is every entry's time, so that the same files make the same zip. It is the first that a zip can tell.
var when = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// pack zips the directory, files in the order of their names and without a directory at the top.
func pack(dir, file string) (err error) {
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	w := zip.NewWriter(out)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: filepath.ToSlash(name), Method: zip.Deflate, Modified: when}
		h.SetMode(0o644) // also says that Unix made it, without which the execute bit means nothing
		if name == executable {
			h.SetMode(0o755)
		}
		return add(w, h, path)
	})
	if err != nil {
		return fmt.Errorf("zip %s: %w", dir, err)
	}
	return w.Close()
}

func add(w *zip.Writer, h *zip.FileHeader, path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	entry, err := w.CreateHeader(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(entry, in)
	return err
}
