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
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pinreset/infra/bundle"
)

// packaged is the zip that the tests look at and run.
var packaged string

const root = "../../.."

func TestMain(m *testing.M) {
	exit, err := withPackage(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		exit = 1
	}
	os.Exit(exit)
}

func withPackage(run func() int) (exit int, err error) {
	dir, err := os.MkdirTemp("", "pinreset-package-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	staged := filepath.Join(dir, "azure")
	if err := stage(context.Background(), root, staged); err != nil {
		return 0, err
	}
	packaged = staged + ".zip"
	if err := bundle.Zip(staged, packaged, executable); err != nil {
		return 0, err
	}
	return run(), nil
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

// TestLayout: the zip is as the host wants it: no directory at the top, a static program for its machine with its execute bit, made by
// Unix's rules, and each function's file in a child of the root.
func TestLayout(t *testing.T) {
	t.Parallel()
	sources(t)
	z, err := zip.OpenReader(packaged)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files, err := functionFiles(root)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"host.json", "pinreset"}
	for name := range maps.Keys(files) {
		want = append(want, name+"/function.json")
	}
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
		if made := f.CreatorVersion >> 8; made != 3 {
			t.Errorf("%s was made by system %d, not by Unix", f.Name, made)
		}
		mode := os.FileMode(0o644)
		if f.Name == "pinreset" {
			mode = 0o755
			program(t, f)
		}
		if f.Mode() != mode {
			t.Errorf("%s has mode %s", f.Name, f.Mode())
		}
	}
	slices.Sort(want)
	if slices.Sort(names); !slices.Equal(names, want) || len(files) < 12 {
		t.Errorf("the zip has %v\nwant %v", names, want)
	}
}

func program(t *testing.T, f *zip.File) {
	t.Helper()
	r, err := f.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	e, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	if e.Class != elf.ELFCLASS64 || e.Machine != elf.EM_X86_64 {
		t.Errorf("the program is for %s, %s", e.Machine, e.Class)
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is not static: it has %s", p.Type)
		}
	}
	if bytes.Contains(content, []byte(mustAbs(t, root))) {
		t.Error("the program tells where it was built")
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// TestSameBytes: the same files make the same zip, whenever and wherever they were staged.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.CopyFS(dir, os.DirFS(strings.TrimSuffix(packaged, ".zip"))); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "pinreset"), 0o600); err != nil {
		t.Fatal(err)
	}
	again := dir + ".zip"
	if err := bundle.Zip(dir, again, executable); err != nil {
		t.Fatal(err)
	}
	one, err := os.ReadFile(packaged)
	if err != nil {
		t.Fatal(err)
	}
	if other, err := os.ReadFile(again); err != nil || !bytes.Equal(one, other) {
		t.Errorf("%d and %d bytes differ: %v", len(one), len(other), err)
	}
}

// TestStageRefuses: a directory that is not the module's root makes no package.
func TestStageRefuses(t *testing.T) {
	t.Parallel()
	if err := stage(t.Context(), t.TempDir(), t.TempDir()); err == nil {
		t.Error("staged from nowhere")
	}
}
