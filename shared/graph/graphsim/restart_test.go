package graphsim

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestStateSurvivesRestart stops the cloud properly and not at all; both times
// a second one goes on from the same directory.
func TestStateSurvivesRestart(t *testing.T) {
	t.Parallel()
	for _, graceful := range []bool{true, false} {
		dir := t.TempDir()
		first := start(t, Options{Dir: dir, Timing: stepped, Passcode: fixedPasscode("31337")})
		_, privileged := first.Apps()
		token := first.token(Contoso, privileged)
		first.must(first.Consent(Fabrikam, "service"))
		first.must(first.DeleteServicePrincipal(Contoso, "client"))
		first.must(first.AdjustTenant(Contoso, TenantKnobs{ReplicationLag: new(time.Minute)}))
		first.must(first.RegisterRedirect("https://pinreset.example/cb"))
		first.reset(Contoso, "sales-pixel-12")
		first.reset(Contoso, "field-pixel-offline")
		if graceful {
			first.must(first.Close())
		} else {
			cutShort(t, dir)
		}

		second := start(t, Options{Dir: dir, Now: first.clock.Now, Timing: stepped})
		if _, again := second.Apps(); again.Secret != privileged.Secret || second.CAFile() != first.CAFile() {
			t.Error("secrets or certificates changed")
		}
		second.tokens.Store(Contoso+privileged.ClientID, token) // signed before the restart
		first.clock.Advance(7 * time.Second)
		if got := second.state("v1.0", Contoso, "sales-pixel-12"); got != "done/31337/0" {
			t.Errorf("reset after restart: %s", got)
		}
		if got := second.state("v1.0", Contoso, "field-pixel-offline"); got != "pending//0" {
			t.Errorf("offline reset after restart: %s", got)
		}
		if got := second.Counters().Tenants[0].Resets["sales-pixel-12"]; got != 1 {
			t.Errorf("%d resets after restart", got)
		}
		for tenant, want := range map[string]string{Contoso: PinResetClient, Fabrikam: PinResetService} {
			info, err := second.Tenant(tenant)
			second.must(err)
			text, _ := json.Marshal(info.ServicePrincipals)
			if has := strings.Contains(string(text), want); has != (tenant == Fabrikam) {
				t.Errorf("%s after restart: %s", tenant, text)
			}
		}
		if _, ok := second.redirectTarget("https://pinreset.example/cb"); !ok {
			t.Error("the redirect URI is gone")
		}
		for _, name := range []string{"ca-key.pem", "token-signing-key.pem", "state.jsonl", "ca.pem"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v %v", name, info.Mode(), err)
			}
		}
	}
}

// cutShort leaves the half line of a write that the process did not survive.
func cutShort(t *testing.T, dir string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(dir, "state.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(`[{"k":"device/x`); err != nil {
		t.Fatal(err)
	}
}

// TestKilledProcess runs the cloud in a process of its own, kills it after an
// answered reset, and reads the state that is left.
func TestKilledProcess(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv("GRAPHSIM_TEST_CHILD"); dir != "" {
		s := start(t, Options{Dir: dir, Now: time.Now})
		if r := s.reset(Contoso, "sales-pixel-12"); r.status != 204 {
			t.Fatalf("status %d", r.status)
		}
		self, err := os.FindProcess(os.Getpid())
		s.must(err)
		s.must(self.Kill())
		<-t.Context().Done() // the signal arrives first
	}
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run", "^TestKilledProcess$")
	child.Env = append(os.Environ(), "GRAPHSIM_TEST_CHILD="+dir)
	if out, err := child.CombinedOutput(); child.ProcessState == nil || child.ProcessState.Success() || child.ProcessState.ExitCode() == 1 {
		t.Fatalf("the child was not killed: %v\n%s", err, out)
	}
	s := start(t, Options{Dir: dir, Now: time.Now})
	if got := s.Counters().Tenants[0].Resets["sales-pixel-12"]; got != 1 {
		t.Errorf("%d resets after kill -9, want 1", got)
	}
}

func TestJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, _, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		if err := j.append([]entry{{key, json.RawMessage(value)}}); err != nil {
			t.Fatal(err)
		}
	}
	put("a", "1")
	put("b", "2")
	put("a", "3")
	big, _ := json.Marshal(strings.Repeat("x", compactSlack/4))
	for range 8 { // more than the slack: compacted on the way
		put("big", string(big))
	}
	if info, _ := os.Stat(j.path); info.Size() > 7*int64(len(big)) {
		t.Errorf("journal has %d bytes after 8 values of %d for one key", info.Size(), len(big))
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	if j.append([]entry{{"a", json.RawMessage("9")}}) == nil {
		t.Error("a closed journal took a change")
	}
	_, values, err := openJournal(dir)
	if err != nil || len(values) != 3 || string(values["a"]) != "3" {
		t.Errorf("%d values, a = %s, %v", len(values), values["a"], err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state.jsonl"), []byte("[{\"k\":\n[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openJournal(dir); err == nil || !strings.Contains(err.Error(), "line 1") {
		t.Errorf("a damaged journal opened with %v", err)
	}
}
