package main

import (
	"archive/zip"
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"pinreset/shared/work/tables/tablestest"
)

// packaged is the zip for this machine's architecture, and bootstrap the program in it.
var packaged, bootstrap string

const root = "../../.."

func TestMain(m *testing.M) {
	exit, err := withPackage(func() int { return tablestest.Run(m) })
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit = 1
	}
	os.Exit(exit)
}

func withPackage(tests func() int) (exit int, err error) {
	dir, err := os.MkdirTemp("", "pinreset-lambda-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if packaged, err = run(context.Background(), root, dir, runtime.GOARCH); err != nil {
		return 0, err
	}
	if bootstrap, err = unpack(packaged, filepath.Join(dir, "task")); err != nil {
		return 0, err
	}
	return tests(), nil
}

// unpack writes the program where the platform would, with the mode that the zip gives it.
func unpack(file, dir string) (program string, err error) {
	z, err := zip.OpenReader(file)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			return "", err
		}
		content, err := io.ReadAll(in)
		if err := errors.Join(err, in.Close()); err != nil {
			return "", err
		}
		program = filepath.Join(dir, f.Name)
		if err := os.WriteFile(program, content, f.Mode()); err != nil {
			return "", err
		}
	}
	return program, nil
}

// sources looks at the program's source files. What is tested is a program that another process builds; by this go test learns what
// it rests on. Else a result that was kept would stand for a program that has changed since.
func sources(t *testing.T) {
	t.Helper()
	for _, room := range []string{"events", "functions", "shared"} {
		if err := filepath.WalkDir(filepath.Join(root, room), func(_ string, _ fs.DirEntry, err error) error { return err }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLayout: the zip has the one file that the runtime starts, static and executable, made by Unix's rules at a time that is always the same.
func TestLayout(t *testing.T) {
	t.Parallel()
	sources(t)
	z, err := zip.OpenReader(packaged)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if len(z.File) != 1 || z.File[0].Name != "bootstrap" {
		t.Fatalf("the zip has %d files, the first is %s", len(z.File), z.File[0].Name)
	}
	f := z.File[0]
	if f.Mode() != 0o755 || f.CreatorVersion>>8 != 3 || !f.Modified.Equal(time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("bootstrap has mode %s, made by system %d at %s", f.Mode(), f.CreatorVersion>>8, f.Modified)
	}
	content, err := os.ReadFile(bootstrap)
	if err != nil {
		t.Fatal(err)
	}
	e, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[runtime.GOARCH]
	if e.Class != elf.ELFCLASS64 || e.Machine != want {
		t.Errorf("the program is for %s, %s", e.Machine, e.Class)
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %s", p.Type)
		}
	}
	if bytes.Contains(content, []byte("net/rpc.")) {
		t.Error("the program was built without lambda.norpc")
	}
	if len(content) > 30_000_000 {
		t.Errorf("the program has %d bytes", len(content))
	}
}

// TestRefused: another system's architecture makes no package.
func TestRefused(t *testing.T) {
	t.Parallel()
	if _, err := run(t.Context(), root, t.TempDir(), "386"); err == nil {
		t.Error("packaged for 386")
	}
}
