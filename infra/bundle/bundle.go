// Package bundle makes what a platform runs: the program, built for where it runs, and a zip.
//
// The zip is made by Unix's rules wherever this runs, so that the program keeps its execute bit, and the same tree makes the same bytes.
package bundle

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// Seldom are the packages whose functions are not inlined in what is shipped: what they do is done once a request or less, and it takes
// two megabytes off the program.
var Seldom = []string{
	"github.com/...",
	"golang.org/x/...",
	"google.golang.org/...",
	"go.opentelemetry.io/...",
	"html/template",
	"text/template/...",
	"pinreset/functions/...",
	"pinreset/shared/client",
	"pinreset/shared/graph/graphsim",
	"pinreset/shared/host/...",
	"pinreset/shared/identity/...",
	"pinreset/shared/policy",
	"pinreset/shared/readiness",
	"encoding/xml",
	"crypto/x509/...",
	"crypto/tls",
	"encoding/asn1",
	"log/slog",
	"mime/...",
	"regexp/...",
	"archive/...",
	"os/...",
	"database/...",
	"crypto/ecdsa",
	"crypto/elliptic",
	"crypto/rsa",
	"crypto/ed25519",
	"crypto/internal/hpke",
	"crypto/internal/fips140/rsa",
	"crypto/internal/fips140/ecdsa",
	"crypto/internal/fips140/ecdh",
	"crypto/internal/fips140/tls12",
	"crypto/internal/fips140/tls13",
	"io/...",
	"path/...",
	"context",
	"errors",
	"math/big",
	"fmt",
	"net/...",
}

// Build builds the program of the module whose root is given, for the system and the architecture, static and stripped.
func Build(ctx context.Context, root, out, system, architecture string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	// As task build does it. aws-lambda-go leaves out the protocol of a runtime that is gone.
	args := []string{"build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w -funcalign=16"}
	for _, room := range Seldom {
		args = append(args, "-gcflags="+room+"=-l")
	}
	c := exec.CommandContext(ctx, "go", append(args, "-o", out, "./functions")...)
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+architecture)
	if said, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, said)
	}
	return nil
}

// when is every entry's time, so that the same files make the same zip. It is the first that a zip can tell.
var when = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// Zip zips the directory, files in the order of their names and without a directory at the top. The executable is a file at the top.
func Zip(dir, file, executable string) (err error) {
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
