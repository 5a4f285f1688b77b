package gpo

import (
	"archive/zip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// Backup describes an export. Its ids come from its name, domain and settings.
type Backup struct {
	Name     string    // display name of the Group Policy object
	Domain   string    // DNS name of the domain that is named as its origin
	At       time.Time // when it was made
	Settings []Entry   // for computers
}

// noDomain is the origin of an export that is of no domain; the name can't be one (RFC 2606).
const noDomain = "pinreset.invalid"

// ForPinRecovery is the export of the one setting.
func ForPinRecovery(on bool, at time.Time) Backup {
	return Backup{Name: nameOf(on), Domain: noDomain, At: at, Settings: []Entry{PinRecovery(on)}}
}

// File is one file of an export.
type File struct {
	Path string // with forward slashes, below the export's folder
	Data []byte
}

// ErrNotEmpty is of a directory that holds something already: an export is never mixed with another one.
var ErrNotEmpty = errors.New("the directory is not empty")

// Files returns the files of the export in the order of a reader: manifest first.
func (b Backup) Files() ([]File, error) {
	pol, err := EncodePol(b.Settings...)
	if err != nil {
		return nil, fmt.Errorf("encode settings of %s: %w", b.Name, err)
	}
	d := b.document(pol)
	files := []File{{Path: "manifest.xml"}, {Path: d.id + "/bkupInfo.xml"}, {Path: d.id + "/Backup.xml"}, {Path: d.id + "/gpreport.xml"}}
	for i, render := range []func() ([]byte, error){d.manifest, d.info, d.scheme, d.report} {
		if files[i].Data, err = render(); err != nil {
			return nil, fmt.Errorf("render %s of %s: %w", path.Base(files[i].Path), b.Name, err)
		}
	}
	return append(files, File{Path: d.id + "/" + machinePol, Data: pol}), nil
}

// Write makes the files below dir, which is made where it is not there and must be empty. What a failed run left is taken away.
func (b Backup) Write(dir string) (err error) {
	files, err := b.Files()
	if err != nil {
		return err
	}
	switch there, err := os.ReadDir(dir); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case len(there) > 0:
		return fmt.Errorf("export to %s: %w", dir, ErrNotEmpty)
	}
	var made []string
	defer func() {
		for i := len(made) - 1; err != nil && i >= 0; i-- {
			_ = os.RemoveAll(made[i])
		}
	}()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		first, _, _ := strings.Cut(f.Path, "/")
		made = append(made, filepath.Join(dir, first))
		at := filepath.Join(dir, filepath.FromSlash(f.Path))
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(at, f.Data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Zip writes the files as one archive.
func (b Backup) Zip(w io.Writer) error {
	files, err := b.Files()
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	for _, f := range files {
		into, err := z.CreateHeader(&zip.FileHeader{Name: f.Path, Method: zip.Deflate, Modified: b.At.UTC()})
		if err == nil {
			_, err = into.Write(f.Data)
		}
		if err != nil {
			return fmt.Errorf("archive %s: %w", f.Path, err)
		}
	}
	return z.Close()
}

// guid names something by what it is: version 8 of RFC 9562, so that it can't be taken for one that a directory gave out. It is
// in braces and upper case, as GPMC writes ids.
func guid(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	id := sum[:16]
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80
	return fmt.Sprintf("{%X-%X-%X-%X-%X}", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
