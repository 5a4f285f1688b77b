package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pinreset/shared/gpo"
)

func TestPolicyExportNeedsNoServer(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	f.server.Close()
	for _, off := range []bool{false, true} {
		dir := filepath.Join(t.TempDir(), "export")
		args := []string{"policy", "export", "--gpo", dir}
		if off {
			args = append(args, "--off")
		}
		got := f.piped(args...)
		state, want := "Enabled", uint32(1)
		if off {
			state, want = "Disabled", 0
		}
		got.has(t, exitDone, "Use PIN Recovery", state, "Import Settings", `LGPO.exe /g "`+dir+`"`,
			"Computer Configuration > Administrative Templates > Windows Components > Windows Hello for Business")
		if !off {
			got.has(t, exitDone, "hybrid", "pinreset tenant consent")
		}
		found, err := filepath.Glob(filepath.Join(dir, "{*}", "DomainSysvol", "GPO", "Machine", "registry.pol"))
		if err != nil || len(found) != 1 {
			t.Fatalf("%v, %v", found, err)
		}
		raw, err := os.ReadFile(found[0])
		if err != nil {
			t.Fatal(err)
		}
		entries, err := gpo.ParsePol(raw)
		if err != nil || len(entries) != 1 {
			t.Fatalf("%v, %v", entries, err)
		}
		if n, ok := entries[0].Uint32(); !ok || n != want {
			t.Errorf("off %t: %+v", off, entries[0])
		}
		f.piped(args...).has(t, exitError, "is not empty", "--gpo DIR")
	}
	f.piped("policy", "export").has(t, exitError, "gpo")

	got := f.piped("policy", "export", "--gpo", filepath.Join(t.TempDir(), "x"), "-o", "json")
	var out struct{ Directory, Policy, State string }
	if err := json.Unmarshal([]byte(got.out), &out); err != nil || out.Policy != "Use PIN Recovery" || !strings.HasSuffix(out.Directory, "x") {
		t.Errorf("%v in %s", err, got.out)
	}
}
