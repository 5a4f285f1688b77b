package infra

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pinreset/infra/bundle"
)

var (
	fuzzList   = regexp.MustCompile(`(?s)- for: \[([^\]]*:Fuzz[^\]]*)\]`)
	fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(`)
)

// TestTaskFuzzesEveryTarget: the list in the Taskfile names each fuzz target there is, and no other.
func TestTaskFuzzesEveryTarget(t *testing.T) {
	t.Parallel()
	tasks, err := os.ReadFile(filepath.Join("..", "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	m := fuzzList.FindSubmatch(tasks)
	if m == nil {
		t.Fatal("no list of fuzz targets in the Taskfile")
	}
	listed := strings.FieldsFunc(string(m[1]), func(r rune) bool { return strings.ContainsRune(", \n", r) })
	slices.Sort(listed)
	var there []string
	for _, room := range []string{"events", "functions", "shared", "infra"} {
		root := os.DirFS(filepath.Join("..", room))
		err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
				return err
			}
			source, err := fs.ReadFile(root, name)
			for _, target := range fuzzTarget.FindAllSubmatch(source, -1) {
				there = append(there, path.Join(room, path.Dir(name))+":"+string(target[1]))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(there)
	if len(there) == 0 || !slices.Equal(listed, there) {
		t.Errorf("the Taskfile fuzzes\n%s\nthere are\n%s", strings.Join(listed, "\n"), strings.Join(there, "\n"))
	}
}

// TestTasksBuildWhatIsShipped: the Taskfile's builds leave out the same inlining as the packages do.
func TestTasksBuildWhatIsShipped(t *testing.T) {
	t.Parallel()
	tasks, err := os.ReadFile(filepath.Join("..", "Taskfile.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var flags []string
	for _, room := range bundle.Seldom {
		flags = append(flags, "-gcflags="+room+"=-l")
	}
	if want := "  SMALL: " + strings.Join(flags, " ") + "\n"; !strings.Contains(string(tasks), want) || strings.Count(string(tasks), "{{.SMALL}}") != 2 {
		t.Errorf("the Taskfile must say\n%s", want)
	}
}
