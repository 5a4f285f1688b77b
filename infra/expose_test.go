package infra

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// exposers are the files in which a secret may become plain text: the encoder of the API's one answer that holds a code, and
// the functions of the page that shows one. The simulation and the suite of key rings judge the codes that they
// made up themselves.
var exposers = []string{"functions/web/api/resets.go", "functions/web/internal/view/text.go", "infra/simulation/people.go", "shared/secret/ringtest/ringtest.go"}

// TestSecretsLeaveInTwoPlaces finds every use of a method or function named Expose outside of tests.
func TestSecretsLeaveInTwoPlaces(t *testing.T) {
	t.Parallel()
	found := map[string]int{}
	files := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" || d.Name() == "dist"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel("..", path)
		if n := exposed(file); n > 0 {
			found[filepath.ToSlash(rel)] = n
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, n := range found {
		if !slices.Contains(exposers, path) {
			t.Errorf("%s exposes a secret %d times; only %q may", path, n, exposers)
		}
	}
	if len(found) < len(exposers) || files < 100 {
		t.Errorf("%d files were read, and Expose was found in %v: the check has lost its sight", files, found)
	}
}

// TestSecretsLeaveInTwoPlacesCatches proves that the check sees calls and method values.
func TestSecretsLeaveInTwoPlacesCatches(t *testing.T) {
	t.Parallel()
	const source = `package p
import "pinreset/shared/secret"
func f(t secret.Text) string { g := t.Expose; h := secret.Text.Expose; return g() + h(t) + t.Expose() }`
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n := exposed(file); n != 3 {
		t.Errorf("%d uses found, want 3", n)
	}
}

// exposed counts the uses of Expose in a file.
func exposed(file *ast.File) int {
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		if s, ok := node.(*ast.SelectorExpr); ok && s.Sel.Name == "Expose" {
			n++
		}
		return true
	})
	return n
}
