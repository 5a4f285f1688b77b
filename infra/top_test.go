package infra

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestTopLevel keeps the top level what it was agreed to be.
func TestTopLevel(t *testing.T) {
	t.Parallel()
	agreed := []string{"functions", "shared", "infra", "events", "host.json", "go.mod", "go.sum", "Taskfile.yml", "README.md", "LICENSE"}
	leftBehind := []string{"dist", "node_modules"} // by builds, ignored by git
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range entries {
		switch {
		case slices.Contains(agreed, e.Name()):
			found++
		case strings.HasPrefix(e.Name(), "."), slices.Contains(leftBehind, e.Name()):
		default:
			t.Errorf("%s has no room at the top level", e.Name())
		}
	}
	if found != len(agreed) {
		t.Errorf("%d of %d agreed entries are there", found, len(agreed))
	}
}
