package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pinreset/shared/graph/graphsim"
	"pinreset/shared/policy"
)

// holding counts the files below dir in which the text stands, and names them.
func holding(t *testing.T, dir, text string) (found []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestOffboardLeavesNothing offboards the sample tenant by the command line and looks through every file of the data directory
// of the server that runs.
func TestOffboardLeavesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startBinary(t, dir)
	waitProven(t, r.client())
	cli := func(args ...string) (string, string, int) {
		var stdout, stderr bytes.Buffer
		args = append(args, "--server", r.url, "--token-file", filepath.Join(r.data, "admin-token"))
		code := run(t.Context(), args, func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		return stdout.String(), stderr.String(), code
	}
	if _, errs, code := cli("device", "reset", "sales-pixel-12", "--reason", "forgot it", "--watch", "--yes"); code != exitDone {
		t.Fatalf("device reset: exit %d, %s", code, errs)
	}
	if _, errs, code := cli("device", "key", "add", "hr-laptop-11", "--reason", "an agent", "--save", filepath.Join(dir, "device.key")); code != exitDone {
		t.Fatalf("device key add: exit %d, %s", code, errs)
	}
	// A name of a device, one of the tenant, and the rows of a device's key.
	kept := []string{"sales-pixel-12", "Contoso (sample)", "devicekey|", "devicekeys|", "devicepub|"}
	for _, text := range kept {
		if len(holding(t, r.data, text)) == 0 {
			t.Fatalf("the scan does not find %s, which is there", text)
		}
	}

	export := filepath.Join(dir, "export.jsonl")
	if _, errs, code := cli("tenant", "offboard", graphsim.Contoso, "--reason", "contract ended", "--export", export); code != exitError || !strings.Contains(errs, "--yes") {
		t.Errorf("without --yes and nobody to ask: exit %d, %s", code, errs)
	}
	if _, err := os.Stat(export); err == nil {
		t.Error("there is an export of what was not confirmed")
	}
	out, errs, code := cli("tenant", "offboard", graphsim.Contoso, "--reason", "contract ended", "--export", export, "--yes", "-o", "json")
	var done struct{ Rows, Keys, Left int }
	if err := json.Unmarshal([]byte(out), &done); err != nil || code != exitDone || done.Rows == 0 || done.Keys != 1 || done.Left != 0 {
		t.Fatalf("offboard: exit %d, %s, %s (%v)", code, out, errs, err)
	}
	if !strings.Contains(errs, "nothing is written to the devices") {
		t.Errorf("it does not say what becomes of the devices: %s", errs)
	}
	for _, text := range kept {
		if found := holding(t, r.data, text); len(found) > 0 {
			t.Errorf("%s still stands in %v", text, found)
		}
	}

	info, err := os.Stat(export)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the export has mode %v", info.Mode())
	}
	data, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for line := range bytes.Lines(data) {
		var one map[string]json.RawMessage
		if err := json.Unmarshal(line, &one); err != nil || len(one) != 1 {
			t.Fatalf("line %s: %v", line, err)
		}
		for kind, value := range one {
			kinds[kind]++
			if bytes.Contains(value, []byte(`"sealed"`)) || bytes.Contains(value, []byte(`"nonce"`)) {
				t.Errorf("an envelope is exported: %s", value)
			}
		}
	}
	if kinds["tenant"] != 1 || kinds["reset"] != 1 || kinds["audit"] < 3 {
		t.Errorf("the export has %v", kinds)
	}
	if _, errs, code := cli("tenant", "show", graphsim.Contoso); code != exitError || !strings.Contains(errs, "not_found") {
		t.Errorf("afterwards: exit %d, %s", code, errs)
	}
}

// TestOffboardWritesFalseFirst offboards a tenant in which a rollout stands: false is written to its policy before anything is
// exported or erased, and the command says what it writes.
func TestOffboardWritesFalseFirst(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := startBinary(t, dir)
	waitProven(t, r.client())
	pin := func(args ...string) ended {
		t.Helper()
		var stdout, stderr bytes.Buffer
		args = append(args, "--server", r.url, "--token-file", filepath.Join(r.data, "admin-token"), "--no-input")
		exit := run(t.Context(), args, func(string) string { return "" }, strings.NewReader(""), &stdout, &stderr)
		return ended{exit, stdout.String(), stderr.String()}
	}
	pin("policy", "rollout", "--all-devices", "--reason", "PINs are forgotten", "--tenant", graphsim.Contoso).has(t, exitPending, "watching")
	export := filepath.Join(dir, "export.jsonl")
	gone := pin("tenant", "offboard", graphsim.Contoso, "--reason", "contract ended", "--export", export, "--yes", "-o", "json")
	gone.has(t, exitDone, "false is written first", "the policy says false", `"left"`)
	data, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, []byte("rollback")) {
		t.Error("the export does not tell of the rollback")
	}
	// Looked after again, its policy is there, assigned, and says false.
	pin("tenant", "add", graphsim.Contoso, "--name", "Contoso again", "--watch").has(t, exitDone, "proven")
	found, err := r.client().Policies(t.Context(), graphsim.Contoso)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(found.Policies, func(f policy.Found) bool { return f.Mine && f.Value == policy.Off && f.Assigned() }) {
		t.Errorf("no policy of ours is assigned and says false: %+v", found.Policies)
	}
}
